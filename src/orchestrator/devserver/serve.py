"""The gateway's HTTP server, run inside a process that has other things to do as well."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import uvicorn

from orchestrator.errors import Unavailable
from orchestrator.gateway.protocol import BoundedProtocol

_STOP_SECONDS = 5
_KEPT_SECONDS = 65
"""A connection nobody uses is kept longer than clients and proxies keep it (5 to 60 s): where the server closes first,
a request may be on its way, and clients that cannot repeat it fail."""
_POLL_SECONDS = 0.01


class _QuietServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has one place that decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer:
    """``async with HttpServer(app, host, port)``: accepts connections when entered. Raises Unavailable when the port
    is taken; port 0 takes a free one, ``port`` then says which."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._app = app
        self._server: _QuietServer | None = None
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        listener = self._listen()
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            self._app,
            http=BoundedProtocol,
            lifespan="on",
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=_STOP_SECONDS,
            timeout_keep_alive=_KEPT_SECONDS,
        )
        self._server = _QuietServer(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="gateway")
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise Unavailable("the gateway ended while it was starting; the reason is in the log above")
            await asyncio.sleep(_POLL_SECONDS)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None and self._serving is not None
        self._server.should_exit = True
        await self._serving

    async def exited(self) -> None:
        """Waits until the server ends by itself, then raises Unavailable."""
        assert self._serving is not None
        await asyncio.shield(self._serving)
        raise Unavailable("the gateway stopped by itself; the reason is in the log above")

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError as error:
            listener.close()
            raise Unavailable(
                f"the gateway cannot listen on {self.host}:{self.port} ({error.strerror}): stop what listens there, or "
                "set ORCHESTRATOR_HOST and ORCHESTRATOR_PORT to something else"
            ) from error
        return listener


async def first_of(*works: Awaitable[object]) -> None:
    """Wait for the first to end, stop waiting for the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
