"""Connections to MCP servers, one per server and worker, shared by all steps that call it.

A client must be entered and left by the same task, and the death of an HTTP server cancels that task. So
every connection has an owner task of its own: calls run beside it, learn from it that the server is gone,
and are never cancelled by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import hashlib
import importlib.metadata
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types import (
    CONNECTION_CLOSED,
    ElicitRequestParams,
    ElicitResult,
    Implementation,
    Prompt,
    Tool,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.spec.acts.mcp import McpServer
from orchestrator.steps.mcp.auth import SignIn, sign_in
from orchestrator.steps.mcp.call import CALL, Asked, Call, ServerGone, TooLarge
from orchestrator.steps.mcp.elicit import question
from orchestrator.steps.mcp.http import http_transport
from orchestrator.steps.mcp.stdio import TOO_LARGE, Stderr, command_transport

T = TypeVar("T")
Named = TypeVar("Named", Tool, Prompt)

_PAGES = 100
_MOST_TOOLS = 2_000
_MOST_OPEN = 64
"""Connections of one worker; beyond, those that nobody uses are closed, the longest unused first."""
_LAST_WORDS = 1.0
_FAREWELL = 10.0
"""Seconds a server has to take its leave."""
_FIRST = asyncio.FIRST_COMPLETED
_LISTEN_AGAIN = 30.0
"""Seconds until a stream of changes that broke off is opened again."""

# The SDK logs whole messages, answers of authorization servers among them. What matters is in the step's error.
for _name in ("client", "mcp.client"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class Connection:
    """One server. Opened by ``open``, ended by ``aclose``, by idleness, or by the server."""

    def __init__(self, name: str, server: McpServer, root: Path, sign_in: SignIn | None = None) -> None:
        self.name = name
        self.server = server
        self.last_used = time.monotonic()
        self._root = root
        self._sign_in = sign_in
        # Its text may hold everything twice, as text and as structure, with escapes; and lists of tools are long.
        self._limit = 4 * server.max_result + 1_000_000
        self._stop = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: dict[Call, None] = {}
        self._client: Client | None = None
        self._owner: asyncio.Task[None] | None = None
        self._cause: BaseException | None = None
        self._stderr = Stderr()
        self._tools: dict[str, Tool] | None = None
        self._listing = asyncio.Lock()

    @property
    def alive(self) -> bool:
        """Whether a call can be tried."""
        return self._client is not None and not self._ended.done()

    @property
    def busy(self) -> bool:
        """Whether a call is running."""
        return bool(self._running)

    @property
    def legacy(self) -> bool:
        """Whether the server speaks a version with sessions, in which it asks while a call is running."""
        return self._client is not None and _has_sessions(self._client)

    @property
    def closed(self) -> bool:
        """Whether nothing of it is left."""
        return self._owner is None or self._owner.done()

    @property
    def credentials(self) -> list[str]:
        """Secret texts that signing in has brought."""
        return self._sign_in.credentials if self._sign_in is not None else []

    async def open(self, call: Call) -> None:
        """Connect. Raises ServerGone."""
        connected: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        # Of its own: a connection outlives the step that opens it.
        context = contextvars.Context()
        context.run(CALL.set, call)
        self._owner = asyncio.create_task(self._own(connected), name=f"mcp {self.name}", context=context)
        try:
            waited: set[asyncio.Future[Any]] = {connected, self._owner}
            await asyncio.wait(waited, timeout=self.server.connect_timeout, return_when=_FIRST)
            if not connected.done():
                cause = call.reason or self._cause if self._owner.done() else TimeoutError()
                raise ServerGone(cause, unsent=False, said=str(self._stderr))
            self._client = connected.result()
        finally:
            if self._client is None:
                await self.aclose()

    async def call(self, use: Callable[[Client], Awaitable[T]], call: Call) -> T:
        """What ``use`` returns or raises. Raises ServerGone when the connection ends meanwhile, TimeoutError after the
        server's ``timeout``, and what stopped the call; is cancelled only when the caller is."""
        if self._client is None or self._ended.done():
            raise ServerGone(self._cause, unsent=True)
        call.begin()
        context = contextvars.copy_context()
        context.run(CALL.set, call)
        calling = asyncio.create_task(_plain(use, self._client), context=context)
        self._running[call] = None
        try:
            waited: set[asyncio.Future[Any]] = {calling, self._ended, call.stopped}
            done, _ = await asyncio.wait(waited, timeout=self.server.timeout, return_when=_FIRST)
            if not done:
                raise TimeoutError
            if not calling.done() and not call.stopped.done():
                # The answer may have arrived just before the end.
                await asyncio.wait({calling}, timeout=_LAST_WORDS)
            if call.reason is not None:
                raise self._stopped(call.reason)
            if calling.done() and not calling.cancelled():
                return self._answered(calling, call)
            raise self._gone()
        finally:
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            self._running.pop(call, None)
            self.last_used = time.monotonic()

    def _stopped(self, reason: Exception) -> Exception:
        if isinstance(reason, httpx2.HTTPStatusError):
            # Over SSE nothing can be sent any more.
            self.retire()
        return reason

    def _answered(self, calling: asyncio.Future[T], call: Call) -> T:
        failure = calling.exception()
        if isinstance(failure, MCPError) and call.session_lost:
            self.retire()
            raise ServerGone(failure, unsent=True) from failure
        if isinstance(failure, MCPError) and failure.code == CONNECTION_CLOSED:
            self.retire()
            raise self._gone() from failure
        if isinstance(failure, MCPError) and failure.code == TOO_LARGE:
            raise TooLarge(self._limit) from failure
        return calling.result()

    def _gone(self) -> ServerGone:
        # Only a refused connection is sure not to have reached the server.
        return ServerGone(self._cause, unsent=isinstance(self._cause, httpx2.ConnectError), said=str(self._stderr))

    def retire(self) -> None:
        """Take no more calls, and close."""
        if not self._ended.done():
            self._ended.set_result(None)
        self._stop.set()

    def _lost(self, cause: Exception | None = None) -> None:
        self._cause = self._cause or cause
        self.retire()

    async def tools(self, call: Call, *, refresh: bool = False) -> dict[str, Tool]:
        """The server's tools by name, remembered until the server says that they changed, unless ``refresh``."""
        seen = self._tools
        async with self._listing:
            tools = self._tools
            # Whoever waited here for somebody else's list has a new one.
            if tools is None or (refresh and tools is seen):
                self._tools = tools = await self.call(_list_tools, call)
        return tools

    async def aclose(self) -> None:
        """End the connection; running calls raise ServerGone."""
        self._stop.set()
        if self._owner is not None:
            if self._client is None:
                self._owner.cancel()
            await asyncio.wait({self._owner}, timeout=_FAREWELL)
            self._owner.cancel()

    async def _own(self, connected: asyncio.Future[Client]) -> None:
        try:
            async with (
                self._transport() as transport,
                Client(
                    transport,
                    mode="legacy" if self.server.transport == "sse" else "auto",
                    cache=None,
                    client_info=Implementation(name="orchestrator", version=importlib.metadata.version("orchestrator")),
                    elicitation_callback=self._asked,
                    message_handler=self._heard,
                ) as client,
            ):
                self.last_used = time.monotonic()
                connected.set_result(client)
                following = asyncio.create_task(self._follow(client))
                try:
                    await self._until_idle()
                finally:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
        except BaseException as error:  # noqa: BLE001 - whatever ends a connection is told to its callers
            self._cause = self._cause or leaf(error)
        finally:
            self.retire()

    def _transport(self) -> contextlib.AbstractAsyncContextManager[Any]:
        if self.server.url is not None:
            return http_transport(self.server, self._sign_in, self._limit, self._lost)
        # The Client enters it.
        return contextlib.nullcontext(command_transport(self.server, self._root, self._limit, self._stderr, self._lost))

    async def _until_idle(self) -> None:
        while not self._stop.is_set():
            rest = self.last_used + self.server.idle - time.monotonic()
            if rest <= 0 and not self._running:
                # No call may begin while the connection is being closed.
                self.retire()
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), max(rest, 0.5))

    async def _asked(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """A question of a server of the years when it asked in the middle of a call. Its answer may take weeks: the
        call ends here, and is made again with the answer."""
        # Over HTTP the question comes on the stream of its call; over stdio nothing tells whose it is.
        call = CALL.get()
        if call not in self._running:
            call = next(iter(self._running)) if len(self._running) == 1 else None
        asked = question(params)
        if call is not None and asked.same in call.answers:
            return ElicitResult.model_validate(call.answers[asked.same])
        if call is not None:
            call.stop(Asked([asked]))
            # The server hears first that the call is over.
            await asyncio.sleep(_LAST_WORDS)
        return ElicitResult(action="cancel")

    async def _heard(self, message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._tools = None

    async def _follow(self, client: Client) -> None:
        """Forget the tools when a server without sessions says that they changed."""
        offered = client.server_capabilities.tools
        if _has_sessions(client) or offered is None or not offered.list_changed:
            return
        while True:
            with contextlib.suppress(MCPError, SubscriptionLost, TimeoutError):
                try:
                    async with client.listen(tools_list_changed=True) as changes:
                        self._tools = None
                        async for _ in changes:
                            self._tools = None
                except ListenNotSupportedError:
                    return
            self._tools = None
            await asyncio.sleep(_LISTEN_AGAIN)


class McpPool:
    """The connections of one worker."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, Connection] = {}
        self._others: dict[Connection, None] = {}
        """Those of one call, and those that are leaving."""
        self._sign_ins: dict[str, SignIn | None] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def connection(self, name: str, server: McpServer, call: Call, run: str = "") -> Connection:
        """A live connection, opened when there is none: everybody's, or where the server is not ``shared`` that of
        ``run``. Raises as ``Connection.open``."""
        key = _key(name, server) + ("" if server.shared else f":{run}")
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            found = self._open.get(key)
            if found is not None and found.alive:
                return found
            if found is not None:
                del self._open[key]
                await found.aclose()
            made = self._made(name, server)
            await made.open(call)
            self._open[key] = made
            self._tidy()
            return made

    @contextlib.asynccontextmanager
    async def alone(self, name: str, server: McpServer, call: Call) -> AsyncIterator[Connection]:
        """A connection for one call. Raises as ``Connection.open``."""
        made = self._made(name, server)
        await made.open(call)
        self._others[made] = None
        try:
            yield made
        finally:
            await made.aclose()
            self._others.pop(made, None)

    def _made(self, name: str, server: McpServer) -> Connection:
        key = _key(name, server)
        if key not in self._sign_ins:
            self._sign_ins[key] = sign_in(server, self._root)
        return Connection(name, server, self._root, self._sign_ins[key])

    def _tidy(self) -> None:
        for key in [key for key, connection in self._open.items() if not connection.alive]:
            del self._open[key]
        idle = sorted(
            (key for key, connection in self._open.items() if not connection.busy),
            key=lambda key: self._open[key].last_used,
        )
        # The newest has just been asked for.
        for key in idle[: max(0, min(len(self._open) - _MOST_OPEN, len(idle) - 1))]:
            leaving = self._open.pop(key)
            leaving.retire()
            self._others[leaving] = None
        for gone in [connection for connection in self._others if connection.closed]:
            del self._others[gone]

    async def aclose(self) -> None:
        """End all connections."""
        connections = [*self._open.values(), *self._others]
        self._open.clear()
        await asyncio.gather(*(connection.aclose() for connection in connections))


def _key(name: str, server: McpServer) -> str:
    # Flows may declare their own servers, and secrets may change: the same name is not always the same server.
    return f"{name}:{hashlib.sha256(server.model_dump_json().encode()).hexdigest()}"


def leaf(error: BaseException | None) -> BaseException | None:
    """The first real error inside exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _has_sessions(client: Client) -> bool:
    return client.protocol_version not in MODERN_PROTOCOL_VERSIONS


async def _plain(use: Callable[[Client], Awaitable[T]], client: Client) -> T:
    return await use(client)


async def _list_tools(client: Client) -> dict[str, Tool]:
    async def page(cursor: str | None) -> tuple[list[Tool], str | None]:
        listed = await client.list_tools(cursor=cursor)
        return listed.tools, listed.next_cursor

    return await _by_name(page)


async def list_prompts(client: Client) -> dict[str, Prompt]:
    """The prompts of a server, by name."""

    async def page(cursor: str | None) -> tuple[list[Prompt], str | None]:
        listed = await client.list_prompts(cursor=cursor)
        return listed.prompts, listed.next_cursor

    return await _by_name(page)


async def _by_name(page: Callable[[str | None], Awaitable[tuple[list[Named], str | None]]]) -> dict[str, Named]:
    """All that a server lists, page by page, within bounds."""
    found: dict[str, Named] = {}
    cursor: str | None = None
    for _ in range(_PAGES):
        entries, cursor = await page(cursor)
        found |= {entry.name: entry for entry in entries}
        if not cursor or len(found) >= _MOST_TOOLS:
            break
    return found
