"""Everything in one process: embedded Temporal, store, worker and gateway on one Temporal connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from orchestrator import admission
from orchestrator.client import Client
from orchestrator.devserver.connect import Parts, connected
from orchestrator.devserver.serve import HttpServer, first_of
from orchestrator.devserver.temporal import LOOPBACK, TemporalServer
from orchestrator.devserver.watch import look, watch
from orchestrator.errors import FlowInvalid, OrchestratorError, Problem
from orchestrator.gateway.app import create_app
from orchestrator.settings import Settings
from orchestrator.telemetry import SEARCH_ATTRIBUTES
from orchestrator.worker import FlowWorker


class Teller(Protocol):
    """Where a running stack says what happens."""

    def note(self, text: str) -> None:
        """Something went as it should."""

    def problems(self, problems: Sequence[Problem]) -> None:
        """Findings in flow files or orchestrator.yaml; the stack goes on with what it had."""


class Stack:
    """``async with Stack(settings, teller) as stack``: runs are accepted and executed when entered. Without
    ``TEMPORAL_ADDRESS`` a Temporal server is embedded. Raises OrchestratorError."""

    def __init__(self, settings: Settings, teller: Teller, *, watch_files: bool = True) -> None:
        self._settings = settings
        self._teller = teller
        self._watch_files = watch_files
        self._stack = AsyncExitStack()
        self._exits: list[Callable[[], Awaitable[None]]] = []
        self._stop = asyncio.Event()
        self.temporal_ui: str | None = None
        """URL of the embedded server's Web UI; None where Temporal is somewhere else."""
        self.parts: Parts

    @property
    def client(self) -> Client:
        """A client of this stack."""
        return self.parts.client

    @property
    def gateway_url(self) -> str:
        """Where the gateway listens."""
        return self._settings.gateway_url

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await self._stack.aclose()

    async def wait(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set. Raises Unavailable when a part ended by itself."""
        await first_of(*(ended() for ended in (*self._exits, stop.wait)))

    async def _open(self) -> None:
        settings = self._settings
        if not settings.temporal_address:
            server = await self._stack.enter_async_context(_embedded(settings))
            self._exits.append(server.exited)
            self.temporal_ui = server.ui_url
            origins = settings.codec_origins or (server.ui_url, server.ui_url.replace(LOOPBACK, "localhost"))
            settings = replace(
                settings,
                temporal_address=server.address,
                # With an address the settings cannot tell any more that the server is ours.
                temporal_ui_url=settings.temporal_ui_url or server.ui_url,
                codec_origins=origins,
            )
        parts = await self._stack.enter_async_context(connected(settings, eager=True))
        self.parts = parts
        worker = await self._stack.enter_async_context(
            FlowWorker(settings, parts.client.temporal, parts.store, parts.project)
        )
        # Shielded: whoever stops waiting for the worker must not stop the worker itself.
        self._exits.append(lambda: asyncio.shield(worker.wait()))
        known = look(settings.project_dir)
        await self.publish(settings.project_dir / "workflows")
        app = create_app(parts.client, parts.store, parts.project, settings)
        gateway = await self._stack.enter_async_context(HttpServer(app, settings.host, settings.port))
        self._exits.append(gateway.exited)
        self._settings = replace(settings, port=gateway.port)
        if self._watch_files:
            following = watch(settings.project_dir, known, self._changed, self._stop)
            watching = asyncio.create_task(following, name="watch")
            self._stack.push_async_callback(self._end_watch, watching)
            self._exits.append(lambda: asyncio.shield(watching))

    async def _end_watch(self, watching: asyncio.Task[None]) -> None:
        self._stop.set()
        await watching

    async def _changed(self, files: list[Path]) -> None:
        root = self._settings.project_dir
        try:
            if any(file.suffix == ".py" for file in files):
                self._teller.note("activities/ changed: start again to use the new functions")
            if any(file.name == "orchestrator.yaml" and file.parent == root for file in files):
                self.parts.project.read_again()
                self._teller.note("orchestrator.yaml was read again")
            await self.publish(root / "workflows")
        except FlowInvalid as error:
            self._teller.problems(error.problems)
        except OrchestratorError as error:
            self._teller.problems([Problem(str(error), str(files[0]))])

    async def publish(self, folder: Path) -> None:
        """Publish the folder's flows as edits and tell what changed; a file with problems is told and skipped."""
        for result in await admission.publish_folder(
            self.parts.store, self.parts.project(), folder, as_edit=True, settings=self._settings
        ):
            if result.problems:
                self._teller.problems(result.problems)
            if result.published is not None and result.published.created:
                self._teller.note(f"published flow {result.published.flow} {result.published.version}")


def _embedded(settings: Settings) -> TemporalServer:
    """The server, its Web UI told where this gateway will serve stored values, where that can be known already."""
    host = LOOPBACK if settings.host in ("0.0.0.0", "::") else settings.host
    gateway = settings.public_url or (f"http://{host}:{settings.port}" if settings.port else None)
    return TemporalServer(
        settings.state,
        settings.temporal_port,
        settings.temporal_ui_port,
        SEARCH_ATTRIBUTES,
        codec_url=gateway and f"{gateway.rstrip('/')}/codec",
    )
