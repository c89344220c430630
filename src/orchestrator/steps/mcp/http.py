"""MCP over HTTP: statuses remembered per call, answers bounded while they arrive, both transports of the protocol."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from orchestrator.spec.acts.mcp import McpServer
from orchestrator.steps.mcp.call import CALL, ServerGone, TooLarge

_PLAIN = {"", "identity"}
_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_LONGEST_END = 4
_SSE_EVENT = 1_000_000
"""Bytes: the SDK ends the whole connection at a few more."""


class Unfinished(httpx2.StreamError):
    """An answer is not read to its end. A StreamError, so that the SDK ends this request alone."""


class Compressed(httpx2.StreamError):
    """An answer is compressed: what it holds could be of any size."""


@contextlib.asynccontextmanager
async def http_transport(
    server: McpServer, auth: httpx2.Auth | None, limit: int, lost: Callable[[Exception], None]
) -> AsyncIterator[Any]:
    """The SDK's transport for a server with ``url``; answers end at ``limit`` bytes. ``lost`` hears why the
    connection cannot go on, where no call does."""
    url = server.url or ""
    sse = server.transport == "sse"

    async def arrived(response: httpx2.Response) -> None:
        _remember(response, sse=sse)
        most = min(limit, _SSE_EVENT) if sse else limit
        response.stream = _Counted(response, most, lost if sse else None)

    def client() -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers={**server.headers, "accept-encoding": "identity"},
            auth=auth,
            # Every call is bounded as a whole. What times out here, or waits here for its turn, ends all calls.
            timeout=httpx2.Timeout(30.0, read=None, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            event_hooks={"response": [arrived]},
        )

    if sse:

        def factory(
            headers: dict[str, str] | None = None,
            timeout: httpx2.Timeout | None = None,
            auth: httpx2.Auth | None = None,
        ) -> httpx2.AsyncClient:
            return client()

        yield sse_client(url, httpx_client_factory=factory)
        return
    async with client() as http:
        yield streamable_http_client(url, http_client=http, max_sse_event_size=None)


def _remember(response: httpx2.Response, *, sse: bool) -> None:
    call = CALL.get()
    if call is None:
        return
    call.status = response.status_code
    call.in_session = "mcp-session-id" in response.request.headers
    call.headers = {name.lower(): value for name, value in response.headers.items()}
    if sse and response.status_code >= 400 and response.request.method == "POST":
        # Nobody else learns of it: the answer would be waited for on the other stream.
        call.stop(httpx2.HTTPStatusError("refused", request=response.request, response=response))


class _Counted(httpx2.AsyncByteStream):
    """A body that may have ``limit`` bytes; of a stream of events, each event may."""

    def __init__(self, response: httpx2.Response, limit: int, lost: Callable[[Exception], None] | None) -> None:
        self._stream: Any = response.stream
        self._limit = limit
        self._lost = lost
        self._packed = response.headers.get("content-encoding", "") not in _PLAIN
        self._events = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        self._size = 0
        self._end = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._packed:
            raise self._end_with(Compressed("the answer is compressed, though nobody asked for that"))
        try:
            async for chunk in self._stream:
                self._count(chunk)
                yield chunk
        except httpx2.TransportError as error:
            if self._events:
                # The SDK takes a stream of events up again where it broke off.
                raise
            self._end_with(ServerGone(error, unsent=False))
            raise Unfinished("the answer broke off") from error

    def _count(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._events:
            seen = self._end + chunk
            last = max(seen.rfind(end) for end in _ENDS)
            if last >= 0:
                self._size = len(seen) - last
            self._end = seen[-_LONGEST_END + 1 :]
        if self._size > self._limit:
            self._end_with(TooLarge(self._limit))
            raise Unfinished("the answer is too large")

    def _end_with(self, reason: Exception) -> Exception:
        call = CALL.get()
        if call is not None:
            call.stop(reason)
        if self._lost is not None and self._events:
            self._lost(reason)
        return reason

    async def aclose(self) -> None:
        await self._stream.aclose()
