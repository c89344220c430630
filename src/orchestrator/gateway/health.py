"""``/health`` (this process) and ``/ready`` (what it needs)."""

from __future__ import annotations

import asyncio
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from temporalio.service import RPCError

from orchestrator.client import Client
from orchestrator.errors import OrchestratorError
from orchestrator.telemetry import stuck_runs

_SECONDS = 3.0


class Health(BaseModel):
    status: str = "ok"
    version: str


class Part(BaseModel):
    """One thing the gateway needs."""

    ok: bool
    problem: str | None = None


class Ready(BaseModel):
    ready: bool
    store: Part
    temporal: Part
    search_attributes: bool = Field(description="Whether the namespace knows our search attributes")
    stuck_runs: list[str] | None = Field(
        description="Runs that cannot go on, such as after a bad deploy; null where Temporal does not tell"
    )


def release() -> str:
    """The installed release."""
    try:
        return version("orchestrator")
    except PackageNotFoundError:
        return "0"


def router(client: Client) -> APIRouter:
    """The two probes."""
    api = APIRouter(tags=["health"])

    @api.get("/health", operation_id="health", summary="Is this process alive")
    async def health() -> Health:
        return Health(version=release())

    @api.get(
        "/ready",
        operation_id="ready",
        summary="Can runs be started now",
        responses={503: {"description": "Something is missing", "model": Ready}},
    )
    async def ready(response: Response) -> Ready:
        store, temporal = await asyncio.gather(_store(client), _temporal(client))
        stuck = await _stuck(client) if temporal.ok else None
        both = store.ok and temporal.ok
        response.status_code = 200 if both else 503
        return Ready(
            ready=both,
            store=store,
            temporal=temporal,
            search_attributes=client.search_attributes,
            stuck_runs=stuck,
        )

    return api


async def _store(client: Client) -> Part:
    try:
        async with asyncio.timeout(_SECONDS):
            await client.store.check()
    except TimeoutError:
        return Part(ok=False, problem=f"the store has not answered in {_SECONDS:g} s")
    except OrchestratorError as error:
        return Part(ok=False, problem=str(error))
    return Part(ok=True)


async def _temporal(client: Client) -> Part:
    try:
        async with asyncio.timeout(_SECONDS):
            await client.check()
    except TimeoutError:
        return Part(ok=False, problem=f"Temporal has not answered in {_SECONDS:g} s")
    except OrchestratorError as error:
        return Part(ok=False, problem=str(error))
    return Part(ok=True)


async def _stuck(client: Client) -> list[str] | None:
    try:
        async with asyncio.timeout(_SECONDS):
            return await stuck_runs(client.temporal)
    except (TimeoutError, RPCError):
        return None
