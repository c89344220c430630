"""Connections to MCP servers, one per server and worker, shared by all steps that call it.

A client must be entered and left by the same task, and the death of an HTTP server cancels that task. So
every connection has an owner task of its own: calls run beside it, learn from it that the server is gone,
and are never cancelled by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import get_default_environment, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CONNECTION_CLOSED, Tool

from orchestrator.spec.acts.mcp import McpServer

T = TypeVar("T")

_STDERR_KEPT = 1_000_000
_PAGES = 100
_LAST_WORDS = 1.0
_FAREWELL = 10.0
"""Seconds a server has to take its leave."""
_FIRST = asyncio.FIRST_COMPLETED


@dataclass(slots=True)
class HttpAnswer:
    """The last HTTP answer one call received: the SDK keeps neither status nor headers."""

    status: int = 0
    headers: dict[str, str] | None = None
    in_session: bool = False
    """Whether the request named a session that an earlier answer had opened."""

    @property
    def session_lost(self) -> bool:
        """Whether the server has forgotten the session, and so refused the call."""
        return self.status == 404 and self.in_session


_ANSWER: ContextVar[HttpAnswer | None] = ContextVar("orchestrator_mcp_answer", default=None)
"""The SDK sends each request in the context of the call that made it, so the hook finds that call's record
here."""


class ServerGone(Exception):
    """The connection ended. ``cause`` is why, as far as known; ``unsent`` when no server can have seen the
    call; ``said`` is the end of what a command wrote to stderr."""

    def __init__(self, cause: BaseException | None, *, unsent: bool, said: str = "") -> None:
        super().__init__(str(cause) if cause else "the connection closed")
        self.cause = cause
        self.unsent = unsent
        self.said = said


class Connection:
    """One server. Opened by ``open``, ended by ``aclose``, by idleness, or by the server."""

    def __init__(self, name: str, server: McpServer, root: Path) -> None:
        self.name = name
        self.server = server
        self._root = root
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._calls = 0
        self._last_used = time.monotonic()
        self._client: Client | None = None
        self._owner: asyncio.Task[None] | None = None
        self._cause: BaseException | None = None
        self._stderr: IO[str] | None = None
        self._tools: dict[str, Tool] | None = None

    @property
    def alive(self) -> bool:
        """Whether a call can be tried."""
        return self._client is not None and not self._ended.is_set()

    async def open(self, answer: HttpAnswer) -> None:
        """Connect. Raises ServerGone (``unsent``), or TimeoutError after the server's timeout."""
        connected: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        token = _ANSWER.set(answer)
        try:
            self._owner = asyncio.create_task(self._own(connected), name=f"mcp {self.name}")
        finally:
            _ANSWER.reset(token)
        try:
            waited: set[asyncio.Future[Any]] = {connected, self._owner}
            await asyncio.wait(waited, timeout=self.server.timeout, return_when=_FIRST)
            if not connected.done():
                if not self._owner.done():
                    raise TimeoutError
                raise ServerGone(self._cause, unsent=True, said=self._said())
            self._client = connected.result()
        finally:
            if self._client is None:
                await self.aclose()

    async def call(self, use: Callable[[Client], Awaitable[T]], answer: HttpAnswer) -> T:
        """What ``use`` returns or raises. Raises ServerGone when the connection ends meanwhile; is cancelled
        only when the caller is."""
        if self._client is None or self._ended.is_set():
            raise ServerGone(self._cause, unsent=True)
        self._calls += 1
        token = _ANSWER.set(answer)
        try:
            calling = asyncio.ensure_future(_plain(use, self._client))
        finally:
            _ANSWER.reset(token)
        ending = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({calling, ending}, return_when=_FIRST)
            if not calling.done():
                # The answer may have arrived just before the end.
                await asyncio.wait({calling}, timeout=_LAST_WORDS)
            if calling.done() and not calling.cancelled():
                return self._answered(calling, answer)
            raise self._gone()
        finally:
            for task in (calling, ending):
                task.cancel()
            await asyncio.gather(calling, ending, return_exceptions=True)
            self._calls -= 1
            self._last_used = time.monotonic()
            self._trim_stderr()

    def _answered(self, calling: asyncio.Future[T], answer: HttpAnswer) -> T:
        failure = calling.exception()
        if isinstance(failure, MCPError) and answer.session_lost:
            self._lost()
            raise ServerGone(failure, unsent=True) from failure
        if isinstance(failure, MCPError) and failure.code == CONNECTION_CLOSED:
            self._lost()
            raise self._gone() from failure
        return calling.result()

    def _gone(self) -> ServerGone:
        # Only a refused connection is sure not to have reached the server.
        return ServerGone(self._cause, unsent=isinstance(self._cause, httpx2.ConnectError), said=self._said())

    def _lost(self) -> None:
        self._ended.set()
        self._stop.set()

    async def tools(self, answer: HttpAnswer, *, refresh: bool = False) -> dict[str, Tool]:
        """The server's tools by name, remembered as long as the connection lives unless ``refresh``."""
        if self._tools is None or refresh:
            self._tools = await self.call(_list_tools, answer)
        return self._tools

    def _said(self) -> str:
        if self._stderr is None or self._stderr.closed:
            return ""
        self._stderr.seek(0)
        return self._stderr.read()[-500:].strip()

    async def aclose(self) -> None:
        """End the connection; running calls raise ServerGone."""
        self._stop.set()
        if self._owner is not None:
            if self._client is None:
                self._owner.cancel()
            await asyncio.wait({self._owner}, timeout=_FAREWELL)
            self._owner.cancel()
        if self._stderr is not None:
            self._stderr.close()

    async def _own(self, connected: asyncio.Future[Client]) -> None:
        try:
            async with (
                self._transport() as transport,
                Client(transport, read_timeout_seconds=self.server.timeout, cache=None) as client,
            ):
                self._last_used = time.monotonic()
                connected.set_result(client)
                await self._until_idle()
        except BaseException as error:  # noqa: BLE001 - whatever ends a connection is told to its callers
            self._cause = leaf(error)
        finally:
            self._ended.set()

    async def _until_idle(self) -> None:
        while not self._stop.is_set():
            rest = self._last_used + self.server.idle - time.monotonic()
            if rest <= 0 and self._calls == 0:
                # No call may begin while the connection is being closed.
                self._lost()
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), max(rest, 0.5))

    @contextlib.asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        if self.server.url is None:
            yield self._command()
            return
        # The session bounds each call; a read timeout here would end the whole connection with it.
        timeout = httpx2.Timeout(30.0, read=None)
        hooks = {"response": [_remember]}
        async with httpx2.AsyncClient(headers=self.server.headers, timeout=timeout, event_hooks=hooks) as http:
            yield streamable_http_client(self.server.url, http_client=http)

    def _command(self) -> Any:
        server = self.server
        self._stderr = tempfile.TemporaryFile("a+", encoding="utf-8", errors="replace")  # noqa: SIM115
        parameters = StdioServerParameters(
            command=server.command or "",
            args=server.args,
            env=_beside_us() | server.env,
            cwd=self._root / server.cwd if server.cwd else self._root,
            encoding_error_handler="replace",
        )
        return _watched(stdio_client(parameters, errlog=self._stderr), self._lost)

    def _trim_stderr(self) -> None:
        if self._stderr is not None and not self._stderr.closed and self._stderr.tell() > _STDERR_KEPT:
            self._stderr.truncate(0)


class McpPool:
    """The connections of one worker."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, Connection] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def connection(self, name: str, server: McpServer, answer: HttpAnswer) -> Connection:
        """A live connection, opened when there is none. Raises as ``Connection.open``."""
        # Flows may declare their own servers, and secrets may change: the same name is not always the same
        # server.
        key = f"{name}:{hashlib.sha256(server.model_dump_json().encode()).hexdigest()}"
        async with self._locks.setdefault(key, asyncio.Lock()):
            found = self._open.get(key)
            if found is not None and found.alive:
                return found
            if found is not None:
                del self._open[key]
                await found.aclose()
            made = Connection(name, server, self._root)
            await made.open(answer)
            self._open[key] = made
            return made

    async def aclose(self) -> None:
        """End all connections."""
        connections = list(self._open.values())
        self._open.clear()
        await asyncio.gather(*(connection.aclose() for connection in connections))


def leaf(error: BaseException | None) -> BaseException | None:
    """The first real error inside exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _beside_us() -> dict[str, str]:
    """Commands are found beside the worker's Python first: ``python`` is the one with the project's packages, whether
    or not its environment was activated."""
    found = [str(Path(sys.executable).parent), get_default_environment().get("PATH", os.defpath)]
    return {"PATH": os.pathsep.join(found)}


async def _plain(use: Callable[[Client], Awaitable[T]], client: Client) -> T:
    return await use(client)


async def _list_tools(client: Client) -> dict[str, Tool]:
    tools: dict[str, Tool] = {}
    cursor: str | None = None
    for _ in range(_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools |= {tool.name: tool for tool in page.tools}
        cursor = page.next_cursor
        if not cursor:
            break
    return tools


async def _remember(response: httpx2.Response) -> None:
    answer = _ANSWER.get()
    if answer is not None:
        answer.status = response.status_code
        answer.in_session = "mcp-session-id" in response.request.headers
        answer.headers = {name.lower(): value for name, value in response.headers.items()}


@contextlib.asynccontextmanager
async def _watched(transport: Any, lost: Callable[[], None]) -> AsyncIterator[Any]:
    """The transport, calling ``lost`` as soon as the command's output ends: the SDK itself notices at the
    next call only, when nobody can say any more whether the server has seen it."""
    async with transport as (reading, writing):
        yield _Watched(reading, lost), writing


class _Watched:
    """A stream of messages whose end is told."""

    def __init__(self, stream: Any, lost: Callable[[], None]) -> None:
        self._stream = stream
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *details: Any) -> Any:
        return await self._stream.__aexit__(*details)

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._lost()
            raise
