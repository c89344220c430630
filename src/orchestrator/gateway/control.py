"""``/v1/runs/{id}/…``: ending a run, holding it, talking to it, and going on from one that is over."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.client import Client, Plan, Run
from orchestrator.errors import Refused
from orchestrator.gateway.bodies import read_body
from orchestrator.gateway.replies import Started
from orchestrator.gateway.sendable import check_sendable

Json = Any


Sendable = Annotated[Any, AfterValidator(check_sendable)]
Text = Annotated[str, AfterValidator(check_sendable), Field(max_length=1000)]
Pins = Annotated[
    dict[str, Any],
    AfterValidator(check_sendable),
    Field(description="Results by step (path, or id outside loops) that count instead of running it"),
]
Planned = Annotated[bool, Query(alias="plan", description="Only tell what would be kept and run again")]


class Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EndRun(Wish):
    reason: Text | None = None


class PauseRun(Wish):
    """How a run is held."""

    stop_clock: bool = Field(False, description="Stop the run's deadlines and waits meanwhile")
    by: Text | None = None


class ResumeRun(Wish):
    by: Text | None = None


class RetryRun(Wish):
    """How to go on with a run that failed or was stopped."""

    pins: Pins = Field(default={})
    by: Text | None = None


class RerunRun(RetryRun):
    """From where to run again."""

    from_: Text = Field(alias="from", description="A step: its path, or its id outside loops")


class RestartRun(RetryRun):
    """On which version to go on."""

    version: Text | None = Field(None, description="Without it the current one")


class Event(Wish):
    """What happened."""

    type: Text = Field(min_length=1, examples=["order.paid"])
    id: Text | None = Field(None, description="The same id is taken once; made up without it")
    source: Text | None = None
    time: Text | None = None
    data: Sendable = None


class Accepted(BaseModel):
    run_id: str
    accepted: bool = True


class EventAccepted(Accepted):
    event: dict[str, Any]


class Planning(BaseModel):
    """What would be done. Steps are named by path."""

    run_id: str = Field(description="The id that the new run would have")
    retry_of: str
    flow: str
    version: str
    kept: list[str] = Field(description="Completed steps whose results are taken over")
    again: list[str] = Field(description="Steps that had begun and run again")
    undone: list[str] = Field(description="Those of `again` that had been compensated: a new idempotency key")
    changed: list[str] = Field(description="Steps whose results the other version does not take over")
    left: list[str] = Field(description="Steps with an effect that the other version knows no compensation for")
    pinned: list[str] = Field(description="Steps that get a given result instead of running")


_PLANNED: dict[int | str, dict[str, Any]] = {
    200: {"model": Planning, "description": "With `plan`: what would be done; nothing was started"}
}


def router(client: Client) -> APIRouter:
    """The operations that act on a run."""
    api = APIRouter()
    _ending(api, client)
    _holding(api, client)
    _messages(api, client)
    _again(api, client)
    return api


def _ending(api: APIRouter, client: Client) -> None:
    @api.post(
        "/runs/{run_id:path}/cancel",
        status_code=202,
        operation_id="cancelRun",
        summary="Ask a run to stop; it compensates and cleans up first",
    )
    async def cancel(run_id: str, body: EndRun | None = None) -> Accepted:
        await client.run(run_id).cancel(body.reason if body else None)
        return Accepted(run_id=run_id)

    @api.post(
        "/runs/{run_id:path}/terminate",
        status_code=202,
        operation_id="terminateRun",
        summary="End a run at once; nothing is compensated or cleaned up",
    )
    async def terminate(run_id: str, body: EndRun | None = None) -> Accepted:
        await client.run(run_id).terminate(body.reason if body else None)
        return Accepted(run_id=run_id)


def _holding(api: APIRouter, client: Client) -> None:
    @api.post(
        "/runs/{run_id:path}/pause",
        status_code=202,
        operation_id="pauseRun",
        summary="Let no new step begin; what runs finishes",
    )
    async def pause(run_id: str, body: PauseRun | None = None) -> Accepted:
        given = body or PauseRun()
        await client.run(run_id).pause(stop_clock=given.stop_clock, by=given.by)
        return Accepted(run_id=run_id)

    @api.post("/runs/{run_id:path}/resume", status_code=202, operation_id="resumeRun", summary="Let a paused run go on")
    async def resume(run_id: str, body: ResumeRun | None = None) -> Accepted:
        await client.run(run_id).resume(by=body.by if body else None)
        return Accepted(run_id=run_id)


def _messages(api: APIRouter, client: Client) -> None:
    @api.post(
        "/runs/{run_id:path}/signals/{name}",
        status_code=202,
        operation_id="signalRun",
        summary="Send a signal; its data is the body",
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": {}}}}},
    )
    async def signal(
        run_id: str,
        name: str,
        request: Request,
        idempotency_key: Annotated[str | None, Header(description="The same key counts once")] = None,
    ) -> Accepted:
        if "." in name:
            raise Refused(f"'{name}' has a dot: such signals are Orchestrator's own; use pause, resume or events")
        body = await read_body(request, client.settings.max_body)
        data = body.value if body.raw else None
        if idempotency_key and isinstance(data, dict | None):
            data = {"signal_id": idempotency_key} | (data or {})
        await client.run(run_id).signal(name, data)
        return Accepted(run_id=run_id)

    @api.post(
        "/runs/{run_id:path}/events",
        status_code=202,
        operation_id="deliverEvent",
        summary="Hand a run an event; every wait it matches takes it",
    )
    async def deliver(run_id: str, body: Event) -> EventAccepted:
        event = await client.run(run_id).deliver(body.model_dump(exclude_none=True))
        return EventAccepted(run_id=run_id, event=event)


def _again(api: APIRouter, client: Client) -> None:
    @api.post(
        "/runs/{run_id:path}/retry",
        status_code=202,
        responses=_PLANNED,
        operation_id="retryRun",
        summary="Go on with a run that failed or was stopped, as a new run",
    )
    async def retry(
        run_id: str, response: Response, body: RetryRun | None = None, planned: Planned = False
    ) -> Started | Planning:
        given = body or RetryRun()
        if planned:
            return _planning(await client.plan_retry(run_id, pins=given.pins), response)
        return _started(await client.retry(run_id, pins=given.pins, by=given.by), response)

    @api.post(
        "/runs/{run_id:path}/rerun",
        status_code=202,
        responses=_PLANNED,
        operation_id="rerunRun",
        summary="Run a step and what comes after it again, as a new run",
    )
    async def rerun(run_id: str, response: Response, body: RerunRun, planned: Planned = False) -> Started | Planning:
        if planned:
            return _planning(await client.plan_rerun(run_id, body.from_, pins=body.pins), response)
        return _started(await client.rerun(run_id, body.from_, pins=body.pins, by=body.by), response)

    @api.post(
        "/runs/{run_id:path}/restart",
        status_code=202,
        responses=_PLANNED,
        operation_id="restartRun",
        summary="Go on with a run on another version of its flow, as a new run",
    )
    async def restart(
        run_id: str, response: Response, body: RestartRun | None = None, planned: Planned = False
    ) -> Started | Planning:
        given = body or RestartRun()
        if planned:
            return _planning(await client.plan_restart(run_id, given.version, pins=given.pins), response)
        return _started(await client.restart(run_id, given.version, pins=given.pins, by=given.by), response)


def _started(run: Run, response: Response) -> Started:
    response.headers["Location"] = f"/v1/runs/{quote(run.id)}"
    response.headers["X-Run-Id"] = quote(run.id)
    return Started(run_id=run.id, flow=run.flow or "", version=run.version)


def _planning(plan: Plan, response: Response) -> Planning:
    response.status_code = 200
    return Planning(**asdict(plan))
