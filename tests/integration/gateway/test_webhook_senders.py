"""Webhooks that are open to the internet: who may send, what is let through, and what it may cost."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import temporalio.client

from orchestrator import admission
from orchestrator.gateway.protocol import LARGEST_HEAD, MOST_HEADERS
from orchestrator.settings import Settings
from orchestrator.spec.loading import load_flow

from .conftest import Door, open_door

SECRETS = {"HOOK": "It's a Secret to Everybody", "PASSWORD": "open sesame", "NEW": "newer"}
FLOW = """
id: {id}
triggers: [{{type: webhook, path: /hook, {more}}}]
steps: [{{id: all, type: transform, config: {{value: "{{{{ trigger.headers }}}}"}}}}]
"""


@pytest.fixture
async def guarded(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    """A gateway with secrets and without a worker."""
    async with open_door(temporal, tmp_path, working=False, secrets=SECRETS, body_timeout=0.5) as opened:
        yield opened


def flow(more: str, name: str = "guarded") -> str:
    return FLOW.format(id=name, more=more)


def github(body: bytes, secret: str = SECRETS["HOOK"]) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


async def counts(door: Door, name: str = "guarded") -> dict[str, int]:
    [hook] = (await door.http.get(f"/v1/flows/{name}/webhooks")).json()["webhooks"]
    found: dict[str, int] = hook["counts"]
    return found


async def test_a_request_that_is_not_signed_is_401_starts_nothing_and_is_counted(guarded: Door) -> None:
    await guarded.publish(flow("verify: {scheme: github, secret: [NEW, HOOK]}", "signed-only"))
    body = b'{"a": 1}'
    wrong: list[dict[str, str]] = [{}, github(b"other"), github(body, "guess"), {"X-Hub-Signature-256": "sha256="}]
    for headers in wrong:
        answer = await guarded.http.post("/hook", content=body, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:orchestrator:problem:unverified")
        assert answer.headers["www-authenticate"]
    assert await guarded.client.runs(flow="signed-only") == []
    for secret in ("HOOK", "NEW"):
        right = await guarded.http.post("/hook", content=body, headers=github(body, SECRETS[secret]))
        assert right.status_code == 202
    assert await counts(guarded, "signed-only") == {"started": 2, "unverified": 4}


async def test_the_signature_is_over_the_bytes_and_comes_before_what_they_say(guarded: Door) -> None:
    await guarded.publish(flow("verify: {scheme: github, secret: HOOK}"))
    spaced = b'{ "a":\n1 }'
    assert (await guarded.http.post("/hook", content=spaced, headers=github(spaced))).status_code == 202
    broken = b'{"a": '
    assert (await guarded.http.post("/hook", content=broken)).status_code == 401
    assert (await guarded.http.post("/hook", content=broken, headers=github(broken) | JSON)).status_code == 400


JSON = {"Content-Type": "application/json"}


async def test_a_token_in_a_header_of_any_name_never_reaches_the_run(guarded: Door) -> None:
    await guarded.publish(flow("verify: {scheme: token, secret: HOOK, header: X-Door}"))
    answer = await guarded.http.post("/hook", headers={"X-Door": SECRETS["HOOK"], "X-Other": "shown"})
    history = (await guarded.client.run(answer.json()["run_id"]).handle.fetch_history()).to_json()
    assert "shown" in history or "c2hvd24" in history
    assert SECRETS["HOOK"] not in history
    assert "x-door" not in history


async def test_what_stands_in_a_header_is_refused_before_the_body_is_read(guarded: Door) -> None:
    await guarded.publish(flow("verify: {scheme: basic, username: Aladdin, secret: PASSWORD}, max_body: 100"))
    answer = await guarded.http.post("/hook", content=b"x" * 5000)
    assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert (await guarded.http.post("/hook", auth=("Aladdin", "open sesame"))).status_code == 202


async def test_slack_and_github_are_greeted_and_start_nothing(guarded: Door) -> None:
    await guarded.publish(flow("verify: {scheme: slack, secret: HOOK}", "slacked"))
    body = b'{"type": "url_verification", "challenge": "3eZbrw1a"}'
    moment = str(int(time.time()))
    mac = hmac.new(SECRETS["HOOK"].encode(), b"v0:" + moment.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Signature": f"v0={mac}", "X-Slack-Request-Timestamp": moment} | JSON
    answer = await guarded.http.post("/hook", content=body, headers=headers)
    assert (answer.status_code, answer.text) == (200, "3eZbrw1a")
    assert (await guarded.http.post("/hook", content=body, headers=JSON)).status_code == 401
    await guarded.publish(flow("verify: {scheme: github, secret: HOOK}", "octo").replace("/hook", "/octo"))
    ping = await guarded.http.post("/octo", content=b"{}", headers=github(b"{}") | {"X-GitHub-Event": "ping"})
    assert (ping.status_code, ping.json()["started"]) == (200, False)
    assert await guarded.client.runs(flow="slacked") == await guarded.client.runs(flow="octo") == []


async def test_stripe_sends_an_event_again_and_it_starts_one_run(guarded: Door, key: str) -> None:
    await guarded.publish(flow("verify: {scheme: stripe, secret: HOOK}", "striped"))

    async def send(event: str, pending: int) -> httpx.Response:
        body = b'{"id": "%s", "pending_webhooks": %d}' % (event.encode(), pending)
        moment = str(int(time.time()) - pending)
        mac = hmac.new(SECRETS["HOOK"].encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        return await guarded.http.post(
            "/hook", content=body, headers={"Stripe-Signature": f"t={moment},v1={mac}"} | JSON
        )

    answers = [await send(f"evt_{key}", pending) for pending in (2, 1)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    assert (await send(f"evt_{key}_other", 1)).json()["run_id"] != answers[0].json()["run_id"]


async def test_a_missing_secret_is_said_when_publishing_and_refuses_everybody(guarded: Door) -> None:
    text = flow("verify: {scheme: token, secret: FORGOTTEN}")
    answer = await guarded.http.post("/v1/flows", content=text, headers={"Content-Type": "application/yaml"})
    [warning] = answer.json()["warnings"]
    assert "FORGOTTEN" in warning["message"]
    assert (warning["line"], warning["severity"]) == (3, "warning")
    refused = await guarded.http.post("/hook", headers={"X-Webhook-Token": ""})
    assert refused.status_code == 503
    assert "FORGOTTEN" not in refused.text


def test_one_of_two_secrets_is_enough_and_nothing_is_said(tmp_path: Path) -> None:
    from orchestrator.spec.project import Project

    loaded = load_flow(flow("verify: {scheme: github, secret: [NEW, OLD]}"), "f.yaml", Project(root=tmp_path))
    assert admission.missing_secrets(loaded, Settings(secrets={"OLD": "x"})) == ()
    assert len(admission.missing_secrets(loaded, Settings())) == 1


async def test_a_filter_lets_through_what_it_says(guarded: Door) -> None:
    await guarded.publish(flow("if: trigger.body.action == 'opened'", "filtered"))
    taken = await guarded.http.post("/hook", json={"action": "opened"})
    assert taken.status_code == 202
    left = await guarded.http.post("/hook", json={"action": "closed"})
    assert (left.status_code, left.json()["started"], "if" in left.json()["reason"]) == (200, False, True)
    unclear = await guarded.http.post("/hook", json={"event": "x"})
    assert (unclear.status_code, unclear.json()["errors"][0]["field"]) == (422, "if")
    assert await counts(guarded, "filtered") == {"filtered": 1, "invalid_inputs": 1, "started": 1}


async def test_pages_of_allowed_origins_may_call_and_read_also_errors(guarded: Door) -> None:
    await guarded.publish(flow("cors: {origins: ['https://app.example'], headers: [X-Tenant], max_age: 1h}"))
    page = {"Origin": "https://app.example"}
    asked = await guarded.http.options("/hook", headers=page | {"Access-Control-Request-Method": "POST"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "https://app.example"
    assert "X-Tenant" in asked.headers["access-control-allow-headers"]
    assert (asked.headers["access-control-max-age"], asked.headers["vary"]) == ("3600", "Origin")
    for content in (b"{}", b"{"):
        answer = await guarded.http.post("/hook", content=content, headers=JSON | page)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
    stranger = {"Origin": "https://evil.example"}
    refused = await guarded.http.options("/hook", headers=stranger | {"Access-Control-Request-Method": "POST"})
    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)
    assert "access-control-allow-origin" not in (await guarded.http.post("/hook", headers=stranger)).headers


async def test_without_cors_no_browser_is_told_anything(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted"))
    asked = await guarded.http.options(
        "/hook", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    )
    assert (asked.status_code, asked.headers["allow"]) == (405, "POST")


async def test_a_disabled_trigger_is_nowhere(guarded: Door) -> None:
    await guarded.publish(flow("enabled: false"))
    assert (await guarded.http.post("/hook")).status_code == 404
    assert (await guarded.http.post("/hook/test")).status_code == 404


# -- what a request may cost --------------------------------------------------------------------------------


async def raw(door: Door, *pieces: bytes, pause: float = 0.0) -> bytes:
    """What comes back for bytes on a bare connection."""
    url = httpx.URL(str(door.http.base_url))
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        for piece in pieces:
            writer.write(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(pause)
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_body_that_comes_too_slowly_is_408(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted", "sent-too-slowly"))
    head = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\nContent-Type: text/plain\r\n\r\n"
    answer = await raw(guarded, head, b"a", b"b", pause=0.2)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer
    assert await guarded.client.runs(flow="sent-too-slowly") == []


async def test_headers_are_bounded_in_size_and_number_also_where_they_never_end(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted", "bombed"))
    start = b"POST /hook HTTP/1.1\r\nHost: x\r\n"
    many = b"".join(b"X-%d: a\r\n" % number for number in range(MOST_HEADERS + 1))
    for bomb in (
        [start + b"X-Large: " + b"a" * LARGEST_HEAD + b"\r\n\r\n"],
        [start + many + b"\r\n"],
        [b"POST /" + b"a" * (LARGEST_HEAD + 1) + b" HTTP/1.1\r\n\r\n"],
    ):
        answer = await raw(guarded, *bomb, pause=0.001)
        assert answer.startswith(b"HTTP/1.1 431"), answer[:200]
        assert b"headers_too_large" in answer
    # Whoever sends on after the answer may find the connection gone before the answer.
    endless = await raw(guarded, start + b"X-Endless: ", *[b"a" * 16_000 for _ in range(200)], pause=0.001)
    assert endless == b"" or endless.startswith(b"HTTP/1.1 431")
    fits = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 300) for number in range(MOST_HEADERS - 20))
    taken = await raw(guarded, start + fits + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    assert taken.startswith(b"HTTP/1.1 202")
    assert await counts(guarded, "bombed") == {"started": 1}


async def test_headers_that_follow_a_body_are_bounded_too(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted", "trailed"))
    start = (
        b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
    )
    for kept in (b"0\r\nX-Endless: ", b"1;extension="):
        answer = await raw(guarded, start + kept, *[b"a" * 16_000 for _ in range(5)], pause=0.01)
        # As above: the answer may be gone with the connection.
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431"), (kept, answer[:100])
    chunks = b"4e20\r\n" + b"a" * 20_000 + b"\r\n"
    fits = await raw(guarded, start.replace(b"Host: x", b"Connection: close"), *[chunks] * 8, b"0\r\nX-Sum: 1\r\n\r\n")
    assert fits.startswith(b"HTTP/1.1 202"), fits[:100]


async def test_the_api_waits_for_no_body_that_comes_too_slowly(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted", "slow-api"))
    for path in (b"/v1/flows/slow-api/runs", b"/v1/queues/slow/messages", b"/v1/tasks/none/decision"):
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\nContent-Type: application/json\r\n\r\n{" % path
        answer = await raw(guarded, head, pause=0.1)
        assert answer.startswith(b"HTTP/1.1 408"), (path, answer[:100])
        assert b"request_timeout" in answer


async def test_one_connection_carries_many_requests_of_bounded_heads(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted"))
    padding = {"X-Padding": "a" * 30_000}
    async with httpx.AsyncClient(base_url=guarded.http.base_url, limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(4):
            assert (await client.post("/hook", content=b"x" * 100_000, headers=padding)).status_code == 202


TRICKS = [
    b"POST //hook HTTP/1.1", b"POST /hook/ HTTP/1.1", b"POST /x/../hook HTTP/1.1", b"POST /hook%00 HTTP/1.1",
    b"POST /HOOK HTTP/1.1", b"POST /hook/test/test HTTP/1.1", b"POST /%2e%2e/hook HTTP/1.1",
    b"POST /hook%ff HTTP/1.1", b"POST http://evil.example/other HTTP/1.1", b"TRACE /hook HTTP/1.1",
    b"POST /hook HTTP/9.9", b"NONSENSE", b"POST /hook;x=1 HTTP/1.1", b"post /hook HTTP/1.1", b"POST /hook\xff HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
]  # fmt: skip


async def test_tricks_with_the_path_lead_nowhere(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted", "tricked"))
    for line in TRICKS:
        answer = await raw(guarded, line + b"\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert 400 <= int(answer.split()[1]) < 500, (line, answer)
    assert "started" not in await counts(guarded, "tricked")


async def test_a_charset_that_is_not_what_the_body_has_is_400(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted"))
    for charset in ("klingon", "utf-16", "base64", "utf-7", "idna", "\xff", "'", "zlib", "undefined", "x" * 5000):
        kind = f"application/json; charset={charset}".encode("latin-1")
        answer = await guarded.http.post("/hook", content=b'{"a": "\xff\xfe"}', headers=[(b"Content-Type", kind)])
        assert answer.status_code == 400, charset


async def test_what_two_lengths_or_codings_say_is_not_guessed(guarded: Door) -> None:
    await guarded.publish(flow("respond: accepted", "smuggled"))
    start = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
    for bad in (
        b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        assert (await raw(guarded, start + bad)).startswith(b"HTTP/1.1 400"), bad
    await asyncio.sleep(0.1)
    assert await guarded.client.runs(flow="smuggled") == []
