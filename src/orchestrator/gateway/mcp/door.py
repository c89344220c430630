"""``/mcp``: the server over streamable HTTP. Every request stands for itself; no session is kept."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from mcp.server.lowlevel import Server
from mcp.server.streamable_http import check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import INVALID_REQUEST, PARSE_ERROR
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from orchestrator.gateway.bodies import parse_json, read_raw
from orchestrator.settings import Settings

_LOCAL = ("localhost", "127.0.0.1", "::1")
_DRAIN_BYTES = 64_000_000
"""Of a body that is refused. A connection closed while a client of the protocol still writes ends that client."""
_EVERYWHERE = ("0.0.0.0", "::", "")


class Door:
    """The ASGI app at ``/mcp``. Answers are JSON; a call that asks for progress is answered by an event stream, which
    can carry it. Refusals are the protocol's errors, which clients show."""

    def __init__(self, server: Server[Any], settings: Settings) -> None:
        self._limit = settings.max_body
        self._hosts = Hosts(settings)
        # The limit is kept before either sees a body.
        self._plain = StreamableHTTPSessionManager(
            server, stateless=True, json_response=True, max_request_body_size=settings.max_body + 1
        )
        self._streaming = StreamableHTTPSessionManager(
            server, stateless=True, json_response=False, max_request_body_size=settings.max_body + 1
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """While this is entered, requests are answered. Once per instance."""
        async with self._plain.run(), self._streaming.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        problem = self._hosts.problem(request) or _unusable(request)
        if problem is not None:
            await problem(scope, receive, send)
            return
        try:
            body = await read_raw(request, self._limit, _DRAIN_BYTES)
            message = parse_json(body.decode())
        except HTTPException as error:
            code = PARSE_ERROR if error.status_code == HTTPStatus.BAD_REQUEST else INVALID_REQUEST
            await _error(error.status_code, error.detail, code)(scope, receive, send)
            return
        except UnicodeDecodeError:
            await _error(400, "the body is not UTF-8 text", PARSE_ERROR)(scope, receive, send)
            return
        if not isinstance(message, dict):
            await _error(400, "the body is one JSON-RPC message, an object; there are no batches")(scope, receive, send)
            return
        streams = _asks_for_progress(message) and check_accept_headers(request)[1]
        manager = self._streaming if streams else self._plain
        await manager.handle_request(scope, _again(body, receive), send)


class Hosts:
    """Under which names the door may be reached. A page of another site can have its name lead to this machine (DNS
    rebinding) and would then send its own name."""

    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.gateway_url).hostname or ""
        names = (*_LOCAL, settings.host.lower(), public, *settings.allowed_hosts)
        self._names = frozenset(name for name in names if name not in _EVERYWHERE)
        self._any_address = settings.host in _EVERYWHERE

    def problem(self, request: Request) -> JSONResponse | None:
        """Why a request is not answered; None where it is."""
        host = _hostname(f"//{request.headers.get('host', '')}")
        if not self._allows(host):
            return _error(
                421,
                f"/mcp is not reached as '{host[:200]}'; set ORCHESTRATOR_PUBLIC_URL to how clients reach the gateway, "
                "or add the name to ORCHESTRATOR_ALLOWED_HOSTS",
            )
        origin = request.headers.get("origin")
        if origin and _hostname(origin) not in {*self._names, host}:
            return _error(
                403,
                f"pages of '{origin[:200]}' may not use /mcp; add its host to ORCHESTRATOR_ALLOWED_HOSTS if they are "
                "yours",
            )
        return None

    def _allows(self, host: str) -> bool:
        if host in self._names:
            return True
        # A rebound name is a name: who sends an address of this machine was told that address.
        return self._any_address and _is_address(host)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unusable(request: Request) -> JSONResponse | None:
    """Why a request cannot be one of the protocol's, whatever its body says."""
    if request.method != "POST":
        response = _error(405, "/mcp takes POST: there are no sessions, and no stream beside the answers")
        response.headers["Allow"] = "POST"
        return response
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return _error(415, "send the message with Content-Type: application/json")
    if not check_accept_headers(request)[0]:
        return _error(406, "answers are application/json; send Accept: application/json, text/event-stream")
    return None


def _error(status: int, message: str, code: int = INVALID_REQUEST) -> JSONResponse:
    headers = {"Connection": "close"} if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return JSONResponse(error, status, headers)


def _asks_for_progress(message: dict[str, Any]) -> bool:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return isinstance(meta, dict) and meta.get("progressToken") is not None


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` with the body that was read put back in front of it."""
    first = True

    async def replayed() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed
