"""A gateway over real parts: Temporal dev server, worker, SQLite store, HTTP socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import temporalio.client
import uvicorn
from tests.stores import open_store

from orchestrator import admission
from orchestrator.client import Client
from orchestrator.gateway.app import create_app
from orchestrator.gateway.protocol import BoundedProtocol
from orchestrator.settings import Settings
from orchestrator.spec.project import Project, load_project
from orchestrator.store.database import Store
from orchestrator.store.flows import PublishedVersion
from orchestrator.worker import FlowWorker


@dataclass
class Door:
    """Everything a test of the gateway needs."""

    http: httpx.AsyncClient
    client: Client
    store: Store
    settings: Settings
    project: Project

    async def publish(self, text: str) -> PublishedVersion:
        published, _ = await admission.publish_text(self.store, self.project, text)
        return published

    async def waiting_task(self, run_id: str) -> dict[str, Any]:
        """The run's open task, once it is there."""
        for _ in range(200):
            answer = await self.http.get("/v1/tasks", params={"run_id": run_id, "status": "open"})
            tasks = answer.json()["tasks"]
            if tasks:
                return dict(tasks[0])
            await asyncio.sleep(0.05)
        raise AssertionError(f"run {run_id} opened no task")


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """The app on a socket of its own; gives its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=BoundedProtocol, log_level="critical", lifespan="on"))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


@asynccontextmanager
async def open_door(
    temporal: temporalio.client.Client, folder: Path, *, working: bool = True, **changes: Any
) -> AsyncIterator[Door]:
    """A gateway with its own store and task queue. Without ``working`` no worker takes its runs."""
    settings = Settings(
        project_dir=folder,
        store_url=f"sqlite:///{folder / 'store.db'}",
        temporal_address=temporal.service_client.config.target_host,
        task_queue=f"orchestrator-{uuid4().hex[:8]}",
    )
    settings = replace(settings, **changes)
    project = load_project(folder)
    store = await open_store(settings.store)
    try:
        client = await Client.connect(settings, store=store, temporal=temporal, project=lambda: project, eager=working)
        app = create_app(client, store, project, settings)
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
            door = Door(http, client, store, settings, project)
            if working:
                async with FlowWorker(settings, temporal, store, lambda: project):
                    yield door
            else:
                yield door
    finally:
        await store.aclose()


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    """A gateway with a worker."""
    async with open_door(temporal, tmp_path) as opened:
        yield opened


@pytest.fixture
async def idle(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    """A gateway without a worker: runs start and stay where they are."""
    async with open_door(temporal, tmp_path, working=False) as opened:
        yield opened
