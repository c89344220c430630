"""The http step against real servers on this machine."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.http import HttpConfig
from orchestrator.steps.web import network
from orchestrator.steps.web.http import run
from orchestrator.steps.web.network import is_public

from .conftest import Answer, MakeContext, Received, RecordingServer


def http(**config: Any) -> HttpConfig:
    return HttpConfig.model_validate(config)


def fixed(status: int, headers: dict[str, str]) -> Answer:
    return lambda _: Response(status_code=status, headers=headers)


async def test_the_output_is_status_headers_and_the_parsed_body(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    http_server.answer("/a", lambda _: JSONResponse({"이름": [1, 2.5, None]}, headers={"X-Request-Id": "r1"}))
    output = await run(http(url=f"{http_server.url}/a"), make_context())
    assert output["status"] == 200
    assert output["body"] == {"이름": [1, 2.5, None]}
    assert output["headers"]["x-request-id"] == "r1"
    assert http_server.last.method == "GET"
    assert http_server.last.headers["user-agent"].startswith("Orchestrator/")


async def test_null_query_and_header_members_are_not_sent(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    config = http(
        url=f"{http_server.url}/q?kept=1",
        query={"a": "x y", "none": None, "list": [1, None, True]},
        headers={"X-A": 5, "X-None": None},
    )
    await run(config, make_context())
    assert http_server.last.query == [("kept", "1"), ("a", "x y"), ("list", "1"), ("list", "true")]
    assert http_server.last.headers["x-a"] == "5"
    assert "x-none" not in http_server.last.headers


@pytest.mark.parametrize(
    ("config", "content_type", "body"),
    [
        ({"body": {"a": [1, None], "글": "자"}}, "application/json", '{"a": [1, null], "글": "자"}'.encode()),
        ({"body": 0}, "application/json", b"0"),
        ({"form": {"a": "1 2", "b": ["x", "y"], "c": None}}, "application/x-www-form-urlencoded", b"a=1+2&b=x&b=y"),
        ({"text": "안녕"}, "text/plain; charset=utf-8", "안녕".encode()),
        (
            {"body": {"a": 1}, "headers": {"content-TYPE": "application/vnd.x+json"}},
            "application/vnd.x+json",
            b'{"a": 1}',
        ),
    ],
)
async def test_each_kind_of_body_is_sent_with_its_type(
    make_context: MakeContext, http_server: RecordingServer, config: dict[str, Any], content_type: str, body: bytes
) -> None:
    await run(http(url=http_server.url, method="post", **config), make_context())
    assert http_server.last.method == "POST"
    assert http_server.last.headers["content-type"] == content_type
    assert http_server.last.body == body


async def test_a_file_is_sent_as_it_is_or_as_part_of_a_form(
    make_context: MakeContext, http_server: RecordingServer, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "report.csv").write_bytes(b"a,b\n1,2\n")
    await run(http(url=http_server.url, method="PUT", file="data/report.csv"), make_context())
    assert http_server.last.body == b"a,b\n1,2\n"
    assert http_server.last.headers["content-type"] == "text/csv"
    upload = {"path": "data/report.csv", "field": "doc"}
    await run(http(url=http_server.url, method="POST", file=upload, form={"title": "t"}), make_context())
    assert http_server.last.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="doc"; filename="report.csv"' in http_server.last.body
    assert b'name="title"\r\n\r\nt\r\n' in http_server.last.body


async def test_a_file_outside_the_roots_is_not_sent(make_context: MakeContext, http_server: RecordingServer) -> None:
    with pytest.raises(TerminalError, match="outside the folders") as caught:
        await run(http(url=http_server.url, method="POST", file="/etc/passwd"), make_context())
    assert caught.value.type == "path_refused"
    assert http_server.requests == []


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"bearer": "tok-1"}, "authorization", "Bearer tok-1"),
        (
            {"basic": {"username": "u", "password": "pä"}},
            "authorization",
            "Basic " + base64.b64encode("u:pä".encode()).decode(),
        ),
        ({"header": {"name": "X-Api-Key", "value": "key-1"}}, "x-api-key", "key-1"),
    ],
)
async def test_auth_becomes_the_header_it_stands_for(
    make_context: MakeContext, http_server: RecordingServer, auth: dict[str, Any], header: str, value: str
) -> None:
    context = make_context()
    await run(http(url=http_server.url, auth=auth), context)
    assert http_server.last.headers[header] == value
    assert context.secrets.mask_text(f"seen: {value}") != f"seen: {value}"


def _token_endpoint(server: RecordingServer, **extra: Any) -> None:
    count = iter(range(1, 100))

    def issue(received: Received) -> Response:
        return JSONResponse({"access_token": f"token-{next(count)}", "token_type": "bearer", **extra})

    server.answer("/token", issue)


def _oauth(server: RecordingServer, **more: Any) -> dict[str, Any]:
    return {"oauth2": {"token_url": f"{server.url}/token", "client_id": "id", "client_secret": "hush-hush", **more}}


async def test_an_oauth_token_is_fetched_once_and_shared_by_all_steps_of_the_worker(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    _token_endpoint(http_server, expires_in=3600)
    config = http(url=f"{http_server.url}/x", auth=_oauth(http_server, scope="read"))
    await asyncio.gather(*(run(config, make_context()) for _ in range(5)))
    asked = [received for received in http_server.requests if received.path == "/token"]
    assert len(asked) == 1
    assert asked[0].body == b"grant_type=client_credentials&scope=read"
    assert asked[0].headers["authorization"] == "Basic " + base64.b64encode(b"id:hush-hush").decode()
    assert {r.headers["authorization"] for r in http_server.requests if r.path == "/x"} == {"Bearer token-1"}


async def test_an_oauth_token_is_fetched_again_when_it_has_expired_or_was_refused(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    _token_endpoint(http_server, expires_in=0)
    config = http(url=f"{http_server.url}/x", auth=_oauth(http_server, credentials="body"))
    await run(config, make_context())
    await run(config, make_context())
    assert http_server.last.headers["authorization"] == "Bearer token-2"

    _token_endpoint(http_server, expires_in=3600)
    config = http(url=f"{http_server.url}/x", auth=_oauth(http_server))
    http_server.answer(
        "/x", lambda r: Response(status_code=401 if r.headers["authorization"] == "Bearer token-1" else 204)
    )
    assert (await run(config, make_context()))["status"] == 204


async def test_a_token_endpoint_that_refuses_names_itself_and_not_the_secret(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    http_server.answer("/token", lambda _: JSONResponse({"error": "invalid_client"}, status_code=400))
    with pytest.raises(TerminalError, match=r"/token answered 400 .*invalid_client") as caught:
        await run(http(url=f"{http_server.url}/x", auth=_oauth(http_server)), make_context())
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "type_", "retryable"),
    [
        (400, "http_400", False),
        (401, "http_401", False),
        (404, "http_404", False),
        (408, "http_408", True),
        (409, "http_409", False),
        (429, "rate_limit_exceeded", True),
        (500, "http_500", False),
        (502, "temporary_service_unavailable", True),
        (503, "temporary_service_unavailable", True),
        (504, "temporary_service_unavailable", True),
        (529, "temporary_service_unavailable", True),
    ],
)
async def test_a_bad_status_becomes_its_error_with_the_body_as_data(
    make_context: MakeContext, http_server: RecordingServer, status: int, type_: str, retryable: bool
) -> None:
    http_server.answer("/s", lambda _: JSONResponse({"code": "E1"}, status_code=status))
    with pytest.raises(StepError) as caught:
        await run(http(url=f"{http_server.url}/s?token=hidden"), make_context())
    error = caught.value
    assert (error.type, error.status, error.retryable) == (type_, status, retryable)
    assert error.data == {"body": {"code": "E1"}}
    assert f"/s answered {status}" in error.message
    assert "hidden" not in error.message


async def test_expect_decides_which_statuses_are_a_success(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    http_server.answer("/gone", lambda _: Response(status_code=404))
    http_server.answer("/made", lambda _: Response(status_code=201))
    assert (await run(http(url=f"{http_server.url}/gone", expect=[200, 404]), make_context()))["status"] == 404
    assert (await run(http(url=f"{http_server.url}/made", expect=["2xx"]), make_context()))["status"] == 201
    with pytest.raises(TerminalError) as caught:
        await run(http(url=f"{http_server.url}/made", expect=[200]), make_context())
    assert caught.value.type == "http_201"


async def test_retry_after_is_read_as_seconds_or_as_a_date(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    for header, expected in [
        ("7", 7.0),
        (format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True), 100.0),
        ("soon", None),
    ]:
        http_server.answer("/r", fixed(429, {"Retry-After": header}))
        with pytest.raises(StepError) as caught:
            await run(http(url=f"{http_server.url}/r"), make_context())
        assert caught.value.retry_after == (pytest.approx(expected, abs=3) if expected else None)


async def test_an_answer_over_the_limit_is_refused_without_reading_it_all(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 10_000
            await asyncio.sleep(0)

    http_server.answer("/big", lambda _: StreamingResponse(endless()))
    with pytest.raises(TerminalError, match="more than 50000 bytes") as caught:
        await run(http(url=f"{http_server.url}/big", max_response="50KB"), make_context())
    assert caught.value.type == "payload_too_large"


async def test_what_unpacks_to_more_than_the_limit_is_refused(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    packed = gzip.compress(b"0" * 5_000_000)
    http_server.answer("/bomb", lambda _: Response(packed, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TerminalError) as caught:
        await run(http(url=f"{http_server.url}/bomb", max_response="1MB"), make_context())
    assert caught.value.type == "payload_too_large"


async def test_the_body_of_an_error_is_bounded(make_context: MakeContext, http_server: RecordingServer) -> None:
    http_server.answer("/e", lambda _: Response("y" * 200_000, status_code=500, media_type="text/plain"))
    with pytest.raises(TerminalError) as caught:
        await run(http(url=f"{http_server.url}/e"), make_context())
    assert caught.value.data["truncated"] is True
    assert len(caught.value.data["body"]) == 65_536
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("parse", "content", "media", "expected"),
    [
        ("auto", b'{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
        ("auto", b"\xef\xbb\xbf[1]", "application/json", [1]),
        ("auto", b"", "application/json", None),
        ("auto", b"<a/>", "application/xml", "<a/>"),
        ("auto", "한글".encode("euc-kr"), "text/html; charset=euc-kr", "한글"),
        ("auto", b"\x89PNG\x00", "image/png", base64.b64encode(b"\x89PNG\x00").decode()),
        ("text", b'{"a": 1}', "application/json", '{"a": 1}'),
        ("bytes", b"abc", "text/plain", "YWJj"),
    ],
)
async def test_the_body_is_parsed_by_its_content_type(
    make_context: MakeContext, http_server: RecordingServer, parse: str, content: bytes, media: str, expected: Any
) -> None:
    http_server.answer("/p", lambda _: Response(content, headers={"Content-Type": media}))
    output = await run(http(url=f"{http_server.url}/p", parse=parse), make_context())
    assert output["body"] == expected


@pytest.mark.parametrize(
    ("content", "media"),
    [
        (b"{broken", "application/json"),
        (b"[NaN]", "application/json"),
        (rb'"\ud800"', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"\xff\xfe\xfa", "text/plain"),
    ],
)
async def test_a_body_that_is_not_what_it_claims_is_an_error_not_a_guess(
    make_context: MakeContext, http_server: RecordingServer, content: bytes, media: str
) -> None:
    http_server.answer("/p", lambda _: Response(content, headers={"Content-Type": media}))
    with pytest.raises(TerminalError) as caught:
        await run(http(url=f"{http_server.url}/p"), make_context())
    assert caught.value.type == "invalid_response"


async def test_an_idempotency_key_goes_with_everything_but_get_and_head(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    context = make_context(idempotency_key="root:pay:0")
    for method, expected in [("GET", None), ("HEAD", None), ("POST", "root:pay:0"), ("DELETE", "root:pay:0")]:
        await run(http(url=http_server.url, method=method), context)
        assert http_server.last.headers.get("idempotency-key") == expected
    await run(http(url=http_server.url, method="POST", headers={"idempotency-KEY": "mine"}), context)
    assert http_server.last.headers["idempotency-key"] == "mine"
    await run(http(url=http_server.url, method="POST", headers={"Idempotency-Key": None}), context)
    assert "idempotency-key" not in http_server.last.headers


async def test_redirects_are_followed_or_not_as_the_author_says(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    http_server.answer("/old", lambda _: RedirectResponse("/new", status_code=307))
    config = {"url": f"{http_server.url}/old", "method": "POST", "body": {"a": 1}, "auth": {"bearer": "tok-1"}}
    assert (await run(http(**config), make_context()))["body"] == {"ok": True}
    assert http_server.last.method == "POST"
    assert json.loads(http_server.last.body) == {"a": 1}
    assert http_server.last.headers["authorization"] == "Bearer tok-1"
    output = await run(http(**config, follow_redirects=False), make_context())
    assert (output["status"], output["headers"]["location"]) == (307, "/new")


async def test_another_origin_gets_no_credentials_after_a_redirect(
    make_context: MakeContext, http_server: RecordingServer, other_server: RecordingServer
) -> None:
    http_server.answer("/old", lambda _: RedirectResponse(f"{other_server.url}/new"))
    context = make_context(secrets={"API": "very-secret-value"})
    headers = {"X-Token": context.secrets.get("API"), "Cookie": "session=1", "X-Plain": "stays"}
    auth = {"header": {"name": "X-Api-Key", "value": "key-0001"}}
    await run(http(url=f"{http_server.url}/old", headers=headers, auth=auth), context)
    assert http_server.last.headers["x-token"] == "very-secret-value"
    assert other_server.last.headers["x-plain"] == "stays"
    for name in ("x-token", "cookie", "x-api-key"):
        assert name not in other_server.last.headers
    await run(http(url=f"{http_server.url}/old", auth={"bearer": "tok-1"}), context)
    assert "authorization" not in other_server.last.headers


async def test_a_secret_in_the_body_is_not_carried_to_another_origin(
    make_context: MakeContext, http_server: RecordingServer, other_server: RecordingServer
) -> None:
    http_server.answer("/old", lambda _: RedirectResponse(f"{other_server.url}/new", status_code=308))
    context = make_context(secrets={"API": "very-secret-value"})
    body = {"key": context.secrets.get("API")}
    with pytest.raises(TerminalError) as caught:
        await run(http(url=f"{http_server.url}/old", method="POST", body=body), context)
    assert caught.value.type == "redirect_refused"
    assert other_server.requests == []


async def test_redirects_end_and_leave_the_web_for_nothing(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    http_server.answer("/loop", lambda _: RedirectResponse("/loop"))
    http_server.answer("/ftp", lambda _: RedirectResponse("ftp://127.0.0.1/x"))
    for path, type_ in [("/loop", "too_many_redirects"), ("/ftp", "redirect_refused")]:
        with pytest.raises(TerminalError) as caught:
            await run(http(url=f"{http_server.url}{path}"), make_context())
        assert caught.value.type == type_


async def test_cookies_of_one_step_do_not_reach_the_next(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    http_server.answer("/login", lambda _: Response(headers={"Set-Cookie": "session=abc; Path=/"}))
    await run(http(url=f"{http_server.url}/login"), make_context())
    await run(http(url=f"{http_server.url}/next"), make_context())
    assert "cookie" not in http_server.last.headers


async def _raw_server(answer: bytes) -> asyncio.Server:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", b"not http at all\r\n\r\n"],
    ids=["closed", "cut", "garbage"],
)
async def test_a_connection_that_breaks_is_a_network_error_that_may_be_retried(
    make_context: MakeContext, answer: bytes
) -> None:
    async with await _raw_server(answer) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(StepError) as caught:
            await run(http(url=f"http://127.0.0.1:{port}/"), make_context())
    assert caught.value.type == "network_error"
    assert caught.value.retryable


async def test_a_server_that_is_not_there_is_a_network_error(make_context: MakeContext) -> None:
    async with await _raw_server(b"") as server:
        port = server.sockets[0].getsockname()[1]
    with pytest.raises(StepError, match=rf"GET http://127.0.0.1:{port}/x: ") as caught:
        await run(http(url=f"http://user:password@127.0.0.1:{port}/x"), make_context())
    assert caught.value.type == "network_error"
    assert "password" not in caught.value.message


async def test_a_name_that_does_not_resolve_is_a_network_error(make_context: MakeContext) -> None:
    for allowed in (True, False):
        context = make_context(settings={"allow_private_network": allowed})
        with pytest.raises(StepError) as caught:
            await run(http(url="http://no-such-host.invalid/"), context)
        assert caught.value.type == "network_error"
        await context.resources.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_private_addresses_are_refused_where_the_settings_say_so(
    make_context: MakeContext, http_server: RecordingServer, host: str
) -> None:
    port = http_server.url.rpartition(":")[2]
    context = make_context(settings={"allow_private_network": False})
    with pytest.raises(TerminalError, match="ORCHESTRATOR_ALLOW_PRIVATE_NETWORK") as caught:
        await run(http(url=f"http://{host}:{port}/"), context)
    assert caught.value.type == "address_refused"
    assert http_server.requests == []


async def test_a_redirect_does_not_lead_into_a_private_network(
    make_context: MakeContext, http_server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test has no public server, so 127.0.0.1 stands for one; everything else is judged as always.
    monkeypatch.setattr(network, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
    port = http_server.url.rpartition(":")[2]
    http_server.answer("/out", lambda _: RedirectResponse(f"http://127.0.0.2:{port}/in"))
    context = make_context(settings={"allow_private_network": False})
    with pytest.raises(TerminalError) as caught:
        await run(http(url=f"{http_server.url}/out"), context)
    assert caught.value.type == "address_refused"
    assert [received.path for received in http_server.requests] == ["/out"]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_an_address_is_judged_by_the_network_it_reaches(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"url": "ftp://a/b"}, "starts with http:// or https://"),
        ({"url": "/relative"}, "starts with http:// or https://"),
        ({"url": "http://a", "body": 1, "text": "x"}, "body and text"),
        ({"url": "http://a", "form": {}, "file": "data/x"}, "form and file"),
        (
            {"url": "http://a", "auth": {"bearer": "x", "basic": {"username": "u", "password": "p"}}},
            "exactly one of bearer",
        ),
        ({"url": "http://a", "max_response": "10 bananas"}, "write for example 10MB"),
        ({"url": "http://a", "method": "FETCH"}, "GET"),
        ({"url": "http://a", "expect": ["9xx"]}, "2xx"),
        ({"url": "http://a", "timeout": 3}, "Extra inputs"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_the_reason(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        http(**config)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"X-A": "a\r\nX-B: b"}, "line break"),
        ({"bad name": "x"}, "is no header name"),
        ({"Content-Length": "5"}, "sets header 'Content-Length' itself"),
    ],
)
async def test_headers_that_would_break_the_request_are_refused(
    make_context: MakeContext, http_server: RecordingServer, headers: dict[str, str], says: str
) -> None:
    with pytest.raises(TerminalError, match=says) as caught:
        await run(http(url=http_server.url, headers=headers), make_context())
    assert caught.value.type == "invalid_config"
    assert http_server.requests == []


async def test_credentials_of_the_url_become_the_header_they_stand_for(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    await run(http(url=http_server.url.replace("//", "//ada:p%40ss@") + "/a#part"), make_context())
    assert http_server.last.headers["authorization"] == f"Basic {base64.b64encode(b'ada:p@ss').decode()}"


async def test_long_headers_and_large_bodies_pass_both_ways(
    make_context: MakeContext, http_server: RecordingServer
) -> None:
    http_server.answer(
        "/large", lambda _: Response("x" * 3_000_000, media_type="text/plain", headers={"X-Long": "h" * 20_000})
    )
    output = await run(http(url=f"{http_server.url}/large", method="POST", text="자" * 1_000_000), make_context())
    assert (len(output["body"]), len(output["headers"]["x-long"])) == (3_000_000, 20_000)
    assert http_server.last.body == "자".encode() * 1_000_000
    assert http_server.last.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_body_that_cannot_be_unpacked_is_said(make_context: MakeContext, http_server: RecordingServer) -> None:
    http_server.answer("/broken", lambda _: Response(b"no gzip", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TerminalError, match="cannot be unpacked") as caught:
        await run(http(url=f"{http_server.url}/broken"), make_context())
    assert caught.value.type == "invalid_response"


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "PUT", "GET", b""),
        (303, "DELETE", "GET", b""),
        (303, "HEAD", "HEAD", b""),
        (301, "PUT", "PUT", b"{}"),
        (307, "POST", "POST", b"{}"),
        (308, "PATCH", "PATCH", b"{}"),
    ],
)
async def test_a_redirect_keeps_or_changes_the_method_as_http_says(
    make_context: MakeContext, http_server: RecordingServer, status: int, method: str, then: str, body: bytes
) -> None:
    http_server.answer("/from", fixed(status, {"Location": "to?a=1"}))
    sent: dict[str, Any] = {} if method in ("DELETE", "HEAD") else {"body": {}}
    await run(http(url=f"{http_server.url}/from", method=method, **sent), make_context())
    assert (http_server.last.method, http_server.last.path, http_server.last.body) == (then, "/to", body)
    assert http_server.last.query == [("a", "1")]
    assert ("content-type" in http_server.last.headers) == bool(body)


async def test_a_cancelled_step_stops_waiting(make_context: MakeContext, http_server: RecordingServer) -> None:
    reached = asyncio.Event()

    async def never(_: Received) -> Response:
        reached.set()
        await asyncio.sleep(60)
        return Response()

    http_server.answer("/slow", never)
    task = asyncio.create_task(run(http(url=f"{http_server.url}/slow"), make_context()))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
