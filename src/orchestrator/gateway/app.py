"""The gateway as one ASGI app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.client import Client
from orchestrator.client.queues import QueueDesk
from orchestrator.client.transcript import forget_old
from orchestrator.dispatch.alerts import AlertSender
from orchestrator.dispatch.ended import EndedRuns
from orchestrator.dispatch.events import EventRouter
from orchestrator.dispatch.files import FolderWatcher
from orchestrator.dispatch.loops import Dispatcher
from orchestrator.dispatch.queues import QueueConsumer
from orchestrator.dispatch.schedules import ScheduleKeeper
from orchestrator.dispatch.subscriptions import Subscriptions
from orchestrator.errors import Unavailable
from orchestrator.gateway import (
    callbacks,
    docs,
    events,
    files,
    flows,
    health,
    hooks,
    pages,
    problems,
    queues,
    runs,
    schedules,
    tasks,
    transcripts,
)
from orchestrator.gateway.bodies import BodyLimit
from orchestrator.gateway.codec import codec_app
from orchestrator.gateway.mcp.door import Door
from orchestrator.gateway.mcp.server import create_server
from orchestrator.gateway.openapi import describe
from orchestrator.gateway.routes import Routes
from orchestrator.gateway.straight import StraightToWebhooks
from orchestrator.gateway.webhooks import Webhooks
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.store.database import Store

_LOGGER = logging.getLogger("orchestrator.gateway")
_PURGE_SECONDS = 3600.0
_DAY = 86400.0


def create_app(client: Client, store: Store, project: Project | Callable[[], Project], settings: Settings) -> FastAPI:
    """The gateway over a connected client and an open store, which stay the caller's to close.

    ``project`` may be a function where ``orchestrator.yaml`` can change.
    """

    def current_project() -> Project:
        return project if isinstance(project, Project) else project()

    mcp_door = Door(create_server(client, store, current_project, settings), settings)
    subscriptions = Subscriptions(store)
    desk = QueueDesk(store, current_project, settings)
    alerts = AlertSender(store, current_project, settings)
    dispatcher = _behind_the_doors(client, subscriptions, desk, alerts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        purging = asyncio.create_task(_purge(client, store, settings), name="purge the store")
        async with mcp_door.open(), aclosing(desk), aclosing(alerts), dispatcher:
            yield
        purging.cancel()
        await asyncio.wait([purging])

    app = FastAPI(
        title="Orchestrator",
        version=health.release(),
        description="Flows, runs and tasks. Webhooks live at the paths that published flows declare.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses=problems.RESPONSES,
    )
    routes = Routes(store)
    problems.install(app)
    docs.install(app)
    webhooks = Webhooks(client, routes, settings)
    for router in (
        *_api(client, store, current_project, settings),
        events.router(client, current_project, settings, subscriptions),
        queues.router(desk),
        hooks.router(store, routes, settings, webhooks.counts),
        pages.router(client, current_project, settings),
    ):
        app.include_router(router)
    # A route like the others: whatever middleware guards the API guards it too.
    app.router.routes += [Route(path, mcp_door, include_in_schema=False) for path in ("/mcp", "/mcp/")]
    if settings.codec_origins:
        app.mount("/codec", codec_app(client.temporal.data_converter, settings.codec_origins))
    app.router.default = webhooks
    describe(app, routes)
    app.add_middleware(BodyLimit, limit=settings.max_body, prefix="/v1/", seconds=settings.body_timeout)
    app.add_middleware(StraightToWebhooks, webhooks=webhooks, routes=routes)
    app.add_middleware(PlainPaths)
    return app


def _api(client: Client, store: Store, project: Callable[[], Project], settings: Settings) -> list[APIRouter]:
    """The doors that need nothing but a client."""
    return [
        health.router(client),
        flows.router(store, project, settings),
        transcripts.router(client),
        runs.router(client),
        tasks.router(client),
        callbacks.router(client, settings),
        schedules.router(client),
        files.router(client),
    ]


def _behind_the_doors(client: Client, subscriptions: Subscriptions, desk: QueueDesk, alerts: AlertSender) -> Dispatcher:
    """What goes on as long as the gateway is up."""
    return Dispatcher(
        [
            EventRouter(client, subscriptions),
            QueueConsumer(client, desk),
            ScheduleKeeper(client),
            FolderWatcher(client),
            EndedRuns(client),
            alerts,
        ]
    )


class PlainPaths:
    """ASGI middleware: a NUL in a path or query is refused once, here; no store could look it up."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\x00" in scope["path"] or b"%00" in scope["query_string"]):
            answer: Any = problems.problem(400, "the path or query holds a NUL character")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _purge(client: Client, store: Store, settings: Settings) -> None:
    while True:
        try:
            await store.deliveries.purge(settings.idempotency_window)
            await store.cache.purge()
            await store.events.purge(settings.idempotency_window)
            await store.files.purge()
            await store.queues.purge(settings.idempotency_window)
            await store.state.purge(settings.idempotency_window)
            await store.responses.purge(settings.idempotency_window)
            await store.uploads.purge()
            await store.audit.purge(settings.audit_days * _DAY)
            await store.ledger.purge(settings.ledger_days * _DAY)
            await store.alerts.purge(settings.ledger_days * _DAY)
            await forget_old(store, client.temporal)
        except Unavailable as error:
            _LOGGER.warning("what is old was not purged from the store: %s", error)
        await asyncio.sleep(_PURGE_SECONDS)
