"""What the step tests share: a context as the worker would build it, and a real HTTP server that records."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.project import load_project
from orchestrator.steps.context import Resources, StepContext

Answer = Callable[["Received"], Response | Awaitable[Response]]


class MakeContext(Protocol):
    """``settings`` and ``secrets`` are given as plain members; everything else is a field of StepContext."""

    def __call__(
        self, *, settings: dict[str, Any] | None = None, secrets: dict[str, str] | None = None, **fields: Any
    ) -> StepContext: ...


@pytest.fixture
async def make_context(tmp_path: Path) -> AsyncIterator[MakeContext]:
    """Contexts of one worker: they share their resources, which are closed after the test."""
    resources = Resources()

    def make(
        *, settings: dict[str, Any] | None = None, secrets: dict[str, str] | None = None, **fields: Any
    ) -> StepContext:
        made = Settings(**{"project_dir": tmp_path, **(settings or {})})
        values: dict[str, Any] = {
            "path": "the-step",
            "step_id": "the-step",
            "step_type": "http",
            "source": "workflows/test.yaml:7:5",
            "flow": "test-flow",
            "version": "1",
            "run_id": "run-1",
            "root_id": "run-1",
            "attempt": 1,
            "idempotency_key": "run-1:the-step:0",
            "settings": made,
            "secrets": Secrets(secrets or {}),
            "resources": resources,
        }
        if "project" not in fields:
            values["project"] = load_project(made.project_dir)
        return StepContext(**(values | fields))

    yield make
    await resources.aclose()


@dataclass(frozen=True)
class Received:
    """One request as it reached the server."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes
    raw_path: str


@dataclass
class RecordingServer:
    """Answers by path; keeps every request."""

    url: str
    requests: list[Received] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def answer(self, path: str, with_: Answer) -> None:
        """Use ``with_`` for requests of ``path`` from now on."""
        self.answers[path] = with_

    @property
    def last(self) -> Received:
        return self.requests[-1]

    async def handle(self, request: Request) -> Response:
        received = Received(
            method=request.method,
            path=request.url.path,
            query=request.query_params.multi_items(),
            headers=dict(request.headers),
            body=await request.body(),
            raw_path=request.scope["raw_path"].decode(),
        )
        self.requests.append(received)
        make = self.answers.get(received.path)
        if make is None:
            return JSONResponse({"ok": True})
        made = make(received)
        return made if isinstance(made, Response) else await made


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@dataclass
class _Running:
    recording: RecordingServer
    server: _Server
    task: asyncio.Task[None]


async def _serve() -> _Running:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    recording = RecordingServer(url=f"http://127.0.0.1:{sock.getsockname()[1]}")
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    app = Starlette(routes=[Route("/{path:path}", recording.handle, methods=methods)])
    server = _Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    await server.ready.wait()
    return _Running(recording, server, task)


async def _stop(running: _Running) -> None:
    running.server.should_exit = True
    await running.task


@pytest.fixture
async def http_server() -> AsyncIterator[RecordingServer]:
    """A real HTTP server on a free port."""
    running = await _serve()
    yield running.recording
    await _stop(running)


@pytest.fixture
async def other_server() -> AsyncIterator[RecordingServer]:
    """A second one: another origin."""
    running = await _serve()
    yield running.recording
    await _stop(running)
