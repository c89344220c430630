"""``/v1/flows/{id}/runs`` and ``/v1/runs``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.admission import now_text
from orchestrator.client import OVER, Client, RunCancelled, RunFailed, RunInfo
from orchestrator.client.triggers import Triggers
from orchestrator.dispatch.debounce import Held, hold
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import Unavailable
from orchestrator.gateway import control
from orchestrator.gateway.replies import HeldBack, Started
from orchestrator.gateway.sendable import check_sendable, showable

Status = Literal["running", "completed", "failed", "cancelled", "terminated", "timed_out", "paused"]
_RESULT_SECONDS = 5.0


class StartRun(BaseModel):
    """What a run is started with."""

    model_config = ConfigDict(extra="forbid")

    inputs: Annotated[dict[str, Any], AfterValidator(check_sendable)] = Field(
        default={}, description="One member per declared input"
    )
    version: str | None = Field(None, description="A published version; without it the current one")
    run_id: str | None = Field(None, min_length=1, max_length=500, description="Made up without it")
    until: str | None = Field(None, description="End after this step, with its output")


class RunSummary(BaseModel):
    """A run in a list."""

    id: str
    flow: str
    version: str | None = Field(description="Null for a run that another Temporal client started bare")
    status: str
    started_at: datetime
    finished_at: datetime | None
    retry_of: str | None = Field(description="The run that this one goes on from")
    root: str | None = Field(description="The first run of the chain; null where this is it")
    attempt: int = Field(description="1, and one more for every retry, re-run or restart in the chain")
    trigger: str | None = Field(description="Type of the trigger that started it; null for a run started bare")
    by: str | None = Field(description="Who asked for it, as far as they said")


class RunList(BaseModel):
    runs: list[RunSummary]


class RunDetail(RunSummary):
    """A run with what its worker tells."""

    state: dict[str, Any] | None = Field(
        None, description="Records by step path, vars, open waits, warnings; null while no worker answers"
    )
    state_problem: str | None = Field(None, description="Why there is no state")
    result: Any = Field(None, description="The output of a completed run")
    error: dict[str, Any] | None = Field(None, description="The error record of a failed run")
    goes_on_as: str | None = Field(None, description="The newest run that goes on from this one")


def router(client: Client) -> APIRouter:
    """The operations on runs."""
    api = APIRouter(prefix="/v1", tags=["runs"])
    triggers = Triggers(client.store, "api")

    @api.post(
        "/flows/{flow}/runs",
        status_code=202,
        operation_id="startRun",
        summary="Start a run",
    )
    async def start(
        flow: str,
        response: Response,
        body: StartRun | None = None,
        idempotency_key: Annotated[str | None, Header(description="The same key starts one run")] = None,
    ) -> Started | HeldBack:
        given = body or StartRun()
        held = await _held(client, triggers, flow, given, idempotency_key or None)
        if held is not None:
            response.headers["X-Run-Id"] = quote(held.run_id)
            return HeldBack(run_id=held.run_id, flow=held.flow, version=held.version, held_for=held.wait)
        run = await client.start(
            flow,
            given.inputs,
            version=given.version,
            run_id=given.run_id,
            until=given.until,
            idempotency_key=idempotency_key or None,
        )
        response.headers["Location"] = f"/v1/runs/{quote(run.id)}"
        response.headers["X-Run-Id"] = quote(run.id)
        return Started(run_id=run.id, flow=run.flow or flow, version=run.version)

    @api.get("/runs", operation_id="listRuns", summary="List recent runs, newest first")
    async def list_runs(
        flow: str | None = None,
        status: Status | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> RunList:
        return RunList(runs=[_summary(info) for info in await client.runs(flow, status, limit)])

    @api.get(
        "/runs/{run_id:path}/steps",
        operation_id="getStep",
        summary="Read what is recorded of one step, its output however large",
    )
    async def step(
        run_id: str, path: Annotated[str, Query(min_length=1, description="As in `state.steps`")]
    ) -> dict[str, Any]:
        return dict(showable(await client.run(run_id).record(path)))

    @api.get("/runs/{run_id:path}", operation_id="getRun", summary="Look at a run, step by step")
    async def show(run_id: str) -> RunDetail:
        return await detail_of(client, run_id)

    api.include_router(control.router(client))
    return api


async def _held(client: Client, triggers: Triggers, flow: str, given: StartRun, key: str | None) -> Held | None:
    """The start kept back, where the flow's api trigger has ``debounce``; one that asks for more than inputs is made at
    once. Raises what ``hold`` does."""
    if given.run_id is not None or given.until is not None or given.version is not None:
        return None
    for declared in await triggers.all():
        if declared.flow == flow and declared.trigger.get("debounce"):
            trigger = {"type": "api", "id": declared.id, "time": now_text(), "body": given.inputs}
            rules = Rules(declared)
            return await hold(client, declared, trigger, rules.inputs(trigger), key=rules.key(trigger) or key)
    return None


async def detail_of(client: Client, run_id: str) -> RunDetail:
    """A run with its state, as far as a worker tells it, and its end. Raises NotFound, Unavailable."""
    run = client.run(run_id)
    info = await run.info()
    detail = RunDetail(**asdict(info))
    try:
        detail.state = showable(await run.state())
        detail.status = _refined(info.status, detail.state)
    except Unavailable as error:
        detail.state_problem = str(error)
    if info.status in OVER:
        following = await client.next_of(info)
        detail.goes_on_as = following.id if following else None
    if info.status in ("completed", "failed"):
        try:
            detail.result = showable(await run.result(_RESULT_SECONDS))
        except RunFailed as error:
            detail.error = showable(error.error)
        except (RunCancelled, TimeoutError):
            pass
    return detail


def _summary(info: RunInfo) -> RunSummary:
    return RunSummary(**asdict(info))


def _refined(status: str, state: dict[str, Any]) -> str:
    """The run's own word where it says more than Temporal's: waiting, paused, timed_out."""
    told = state.get("status")
    if (status, told) in (("running", "waiting"), ("running", "paused"), ("failed", "timed_out")):
        return str(told)
    return status
