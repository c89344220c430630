"""The mcp step over HTTP, against a server that signs in its clients, and one that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.responses import JSONResponse, Response, StreamingResponse
from tests.integration.steps.mcp_lab import Call

from orchestrator.steps.context import StepContext

TOOL = {"name": "t", "inputSchema": {"type": "object"}}
DONE = {"content": [{"type": "text", "text": "done"}]}
SECRETS = {"ID": "client-1", "SECRET": "s3cr3t-value", "REFRESH": "refresh-0000"}


class Service:
    """A tiny MCP server of the years with a handshake, and the authorization server beside it."""

    def __init__(self, http: Any) -> None:
        self.http = http
        self.tokens: list[str] = []
        """Given out, the newest last; only that one is accepted."""
        self.grants: list[dict[str, str]] = []
        self.life = 3600
        self.signed_in = True
        self.refuse: Response | None = None
        """What the authorization server says instead of giving a token."""
        self.result: Callable[[int], Response] | None = None
        """What answers a call instead of ``done``."""
        http.answer("/mcp", self._mcp)
        http.answer("/token", self._token)
        http.answer("/.well-known/oauth-protected-resource/mcp", self._resource)
        http.answer("/.well-known/oauth-authorization-server", self._metadata)

    def _resource(self, request: Any) -> Response:
        return JSONResponse({"resource": f"{self.http.url}/mcp", "authorization_servers": [self.http.url]})

    def _metadata(self, request: Any) -> Response:
        url = self.http.url
        return JSONResponse(
            {"issuer": url, "authorization_endpoint": f"{url}/authorize", "token_endpoint": f"{url}/token"}
        )

    def _token(self, request: Any) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        basic = request.headers.get("authorization", "").removeprefix("Basic ")
        self.grants.append(form | {"client": base64.b64decode(basic).decode()})
        if self.refuse is not None:
            return self.refuse
        self.tokens.append(f"token-{len(self.tokens)}-abcdef")
        given = {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": self.life}
        if form["grant_type"] == "refresh_token":
            given["refresh_token"] = f"refresh-{len(self.tokens)}-abcdef"
        return JSONResponse(given)

    def _mcp(self, request: Any) -> Response:
        sent = request.headers.get("authorization", "")
        if self.signed_in and (not self.tokens or sent != f"Bearer {self.tokens[-1]}"):
            return Response("sign in", 401)
        if request.method != "POST":
            return Response(status_code=405)
        message = json.loads(request.body)
        if "id" not in message:
            return Response(status_code=202)
        return self._answer(message)

    def _answer(self, message: Any) -> Response:
        number, method = message["id"], message["method"]
        if method == "tools/call" and self.result is not None:
            return self.result(number)
        known = {
            "initialize": {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"},
            },
            "tools/list": {"tools": [TOOL]},
            "tools/call": DONE,
        }
        if method not in known:
            return JSONResponse({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no"}})
        return JSONResponse({"jsonrpc": "2.0", "id": number, "result": known[method]})


@pytest.fixture
def service(http_server: Any) -> Service:
    return Service(http_server)


@pytest.fixture
def call(make_context: Callable[..., StepContext], service: Service) -> Call:
    made = Call(make_context)
    made.secrets = dict(SECRETS)
    made.entry = {"url": f"{service.http.url}/mcp"}
    return made


def machine(issuer: str) -> dict[str, Any]:
    given = {"client_id": "{{ secrets.ID }}", "client_secret": "{{ secrets.SECRET }}", "issuer": issuer}
    return {"client_credentials": given}


async def test_a_machine_signs_in_once_and_again_when_its_token_is_refused(call: Call, service: Service) -> None:
    call.entry["auth"] = machine(service.http.url)
    assert (await call("t"))["text"] == "done"
    assert (await call("t"))["text"] == "done"
    assert [grant["client"] for grant in service.grants] == ["client-1:s3cr3t-value"]
    service.tokens.append("revoked")
    assert (await call("t"))["text"] == "done"
    assert len(service.grants) == 2
    assert call.last is not None
    assert set(service.tokens[:1] + service.tokens[2:]) & call.last.secrets.used


async def test_calls_side_by_side_share_one_new_token_and_wait_for_nothing_else(call: Call, service: Service) -> None:
    for auth in (machine(service.http.url), {"refresh_token": refresh(service)}):
        call.entry["auth"] = auth
        service.result = None
        await call("t")
        service.tokens.append("revoked")
        service.result, before = slow, len(service.grants)
        began = time.monotonic()
        await asyncio.gather(*(call("t") for _ in range(20)))
        assert len(service.grants) == before + 1
        assert time.monotonic() - began < 20 * 0.5 / 2


async def test_a_token_that_is_used_up_is_fetched_again(call: Call, service: Service) -> None:
    call.entry["auth"] = machine(service.http.url)
    service.life = 31
    await call("t")
    before = len(service.grants)
    # Half a minute before its end a token counts as used up.
    await asyncio.sleep(1.1)
    await call("t")
    assert len(service.grants) == before + 1


async def test_credentials_are_never_given_to_another_issuer(call: Call, service: Service) -> None:
    call.entry["auth"] = machine("https://auth.example")
    error = await call.fails("t")
    assert (error.type, error.retryable) == ("sign_in_failed", False)
    assert "auth.example" in error.message
    assert service.grants == []


async def test_a_refused_connection_is_asked_for_once(call: Call, service: Service) -> None:
    error = await call.fails("t")
    assert error.type == "http_401"
    assert len(service.http.requests) <= 2


@pytest.mark.parametrize(
    ("answer", "type_", "retryable"),
    [
        (JSONResponse({"error": "invalid_client"}, 401), "sign_in_failed", False),
        (Response("try later", 503), "temporary_service_unavailable", True),
    ],
)
async def test_what_the_authorization_server_says_is_told(
    call: Call, service: Service, answer: Response, type_: str, retryable: bool
) -> None:
    service.refuse = answer
    for auth in (machine(service.http.url), {"refresh_token": refresh(service)}):
        call.entry["auth"] = auth
        error = await call.fails("t")
        assert (error.type, error.retryable) == (type_, retryable)
        assert "signing in to mcp.s" in error.message


def refresh(service: Service) -> dict[str, Any]:
    return {
        "token_url": f"{service.http.url}/token",
        "refresh_token": "{{ secrets.REFRESH }}",
        "client_id": "{{ secrets.ID }}",
        "client_secret": "{{ secrets.SECRET }}",
    }


async def test_a_refresh_token_brings_access_tokens(call: Call, service: Service) -> None:
    call.entry["auth"] = {"refresh_token": refresh(service)}
    assert (await call("t"))["text"] == "done"
    service.tokens.append("revoked")
    assert (await call("t"))["text"] == "done"
    assert [grant["refresh_token"] for grant in service.grants] == ["refresh-0000", "refresh-1-abcdef"]


async def test_stored_tokens_are_used_refreshed_and_stored_again(call: Call, service: Service, tmp_path: Path) -> None:
    service.tokens = ["stored-token"]
    file = tmp_path / "tokens.json"
    given = {"access_token": "stored-token", "refresh_token": "stored-refresh", "client_id": "c"}
    file.write_text(json.dumps(given | {"token_url": f"{service.http.url}/token", "client_secret": "client-secret"}))
    call.entry["auth"] = {"token_file": "tokens.json"}
    await call("t")
    assert service.grants == []
    service.tokens.append("revoked")
    await call("t")
    kept = json.loads(file.read_text())
    assert (kept["access_token"], kept["refresh_token"]) == (service.tokens[-1], "refresh-3-abcdef")
    assert kept["expires_at"] > time.time()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # Another worker has refreshed them meanwhile.
    service.tokens.append("by-another")
    file.write_text(json.dumps(kept | {"access_token": "by-another"}))
    await call("t")
    assert len(service.grants) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot be read"), ("[]", "must hold an object"), ('{"access_token": "old"}', "sign in again")],
)
async def test_a_token_file_that_is_of_no_use_says_so(
    call: Call, tmp_path: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "tokens.json").write_text(content)
    call.entry["auth"] = {"token_file": "tokens.json"}
    error = await call.fails("t")
    assert (error.type, error.retryable) == ("sign_in_failed", False)
    assert says in error.message


def large(number: int) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"' % number
        for _ in range(50):
            yield b"x" * 1_000_000
        yield b'"}]}}'

    return StreamingResponse(body(), media_type="application/json")


def large_event(number: int) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"event: message\ndata: "
        for _ in range(50):
            yield b"x" * 1_000_000

    return StreamingResponse(body(), media_type="text/event-stream")


@pytest.mark.parametrize("result", [large, large_event])
async def test_fifty_megabytes_are_refused_while_they_arrive(
    call: Call, service: Service, result: Callable[[int], Response]
) -> None:
    service.signed_in = False
    await call("t")
    service.result = result
    error = await call.fails("t")
    assert (error.type, error.retryable) == ("payload_too_large", False)
    service.result = None
    assert (await call("t"))["text"] == "done"
    assert sum(b"initialize" in request.body for request in service.http.requests) == 2


def broken_off(number: int) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"jsonrpc":'
        raise ConnectionError("the server's own machine is on fire")

    return StreamingResponse(body(), media_type="application/json")


async def test_an_answer_that_breaks_off_fails_its_call_and_none_beside_it(call: Call, service: Service) -> None:
    service.signed_in = False
    await call("t")
    service.result = slow
    before = len(service.http.requests)
    beside = asyncio.create_task(call("t"))
    async with asyncio.timeout(15):
        while len(service.http.requests) == before:
            await asyncio.sleep(0.01)
    service.result = broken_off
    error = await call.fails("t")
    assert (error.type, error.retryable) == ("network_error", True)
    assert (await beside)["text"] == "done"


def slow(number: int) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b" "
        await asyncio.sleep(0.5)
        yield json.dumps({"jsonrpc": "2.0", "id": number, "result": DONE}).encode()

    return StreamingResponse(body(), media_type="application/json")


async def test_a_hundred_and_fifty_calls_run_side_by_side(call: Call, service: Service) -> None:
    service.signed_in = False
    await call("t")
    service.result = slow
    results = await asyncio.gather(*(call("t") for _ in range(150)))
    assert {result["text"] for result in results} == {"done"}


def packed(number: int) -> Response:
    body = json.dumps({"jsonrpc": "2.0", "id": number, "result": DONE}).encode()
    return Response(gzip.compress(body), media_type="application/json", headers={"content-encoding": "gzip"})


@pytest.mark.parametrize(
    ("result", "type_"),
    [
        (packed, "mcp_protocol_error"),
        (lambda number: Response("<html>", media_type="text/html"), "mcp_protocol_error"),
        (lambda number: Response("{", media_type="application/json"), "mcp_protocol_error"),
        (lambda number: JSONResponse({"jsonrpc": "2.0", "id": number, "result": {"content": 1}}), "mcp_protocol_error"),
        (lambda number: Response("no", 404), "http_404"),
        (lambda number: Response("no", 500), "http_500"),
        (lambda number: Response("wait", 429, {"retry-after": "9"}), "rate_limit_exceeded"),
        (lambda number: Response(status_code=307, headers={"location": "http://other.example/"}), "mcp_protocol_error"),
    ],
    ids=["compressed", "html", "half", "sloppy", "404", "500", "429", "redirect"],
)
async def test_what_is_wrong_with_one_call_leaves_the_next_alone(
    call: Call, service: Service, result: Callable[[int], Response], type_: str
) -> None:
    service.signed_in = False
    await call("t")
    service.result = result
    error = await call.fails("t")
    assert error.type == type_
    assert len(error.message) < 700
    service.result = None
    assert (await call("t"))["text"] == "done"
