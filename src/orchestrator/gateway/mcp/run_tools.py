"""Tools about runs: start, look, list, cancel."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from orchestrator.client import Client, RunInfo
from orchestrator.errors import NotFound
from orchestrator.gateway.mcp.outcome import RunAnswer, Status, fitting, outcome
from orchestrator.gateway.mcp.tool import Arguments, BuiltIn, Call, Given, Json, Text
from orchestrator.gateway.runs import RunDetail, detail_of
from orchestrator.spec.findings import suggestion
from orchestrator.spec.flow import LONGEST_WAIT

RunId = Annotated[Given, Field(description="As start_run and list_runs give it")]


class StartRun(Arguments):
    """What a run is started with."""

    flow: Given = Field(description="Id of a published flow; list_flows shows them")
    inputs: dict[str, Any] = Field(default={}, description="One member per declared input; show_flow shows them")
    version: Text | None = Field(None, description="A published version; without it the current one")
    run_id: Given | None = Field(None, description="Made up without it")
    idempotency_key: Given | None = Field(None, description="The same key starts one run, however often it is sent")
    until: Text | None = Field(None, description="End after this step, with its output")
    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT, strict=False)] = Field(
        0, description="Seconds to wait for the output; 0 answers as soon as the run is started"
    )


class GetRun(Arguments):
    """Which run, and how much of it."""

    run_id: RunId
    step: Given | None = Field(None, description="Path of one step, to see it with its output and error")
    after: int = Field(0, ge=0, description="Steps to pass over: `steps_next` of the answer before")
    limit: int = Field(50, ge=0, le=500, description="Steps to show")


class ListRuns(Arguments):
    """Which runs."""

    flow: Text | None = Field(None, description="Only this flow's")
    status: Literal["running", "completed", "failed", "cancelled", "terminated", "timed_out", "paused"] | None = None
    limit: int = Field(20, ge=1, le=200)


class CancelRun(Arguments):
    """Which run, and why."""

    run_id: RunId
    reason: Text | None = None


class StepShown(BaseModel):
    """One step of a run."""

    path: str
    type: str
    status: str
    attempts: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    error: dict[str, Any] | None = None
    output: Any = Field(None, description="Where one step was asked for")
    output_bytes: int | None = Field(None, description="Size of an output that is too large to be shown")


class RunShown(RunAnswer):
    """A run with its steps."""

    status: Status | Literal["waiting"]
    started_at: datetime
    finished_at: datetime | None = None
    retry_of: str | None = Field(None, description="The run that this one goes on from")
    goes_on_as: str | None = Field(None, description="The newest run that goes on from this one")
    waits: list[dict[str, Any]] = Field(default=[], description="What it waits for; decide_task takes a `task_id`")
    warnings: list[Any] = Field(default=[])
    steps: list[StepShown] = Field(default=[], description="In the order they began")
    steps_total: int | None = None
    steps_next: int | None = Field(None, description="`after` for the steps that are not shown")
    state_problem: str | None = Field(None, description="Why there are no steps")


class RunListed(BaseModel):
    """A run in a list."""

    run_id: str
    flow: str
    version: str | None
    status: str
    started_at: datetime
    finished_at: datetime | None
    retry_of: str | None


class RunsListed(BaseModel):
    """Recent runs."""

    runs: list[RunListed]


class CancelAsked(BaseModel):
    """The run was told to stop."""

    run_id: str
    accepted: bool
    next: str


def tools(client: Client) -> list[BuiltIn]:
    """The tools about runs."""

    async def start(given: StartRun, call: Call) -> RunAnswer:
        run = await client.start(
            given.flow,
            given.inputs,
            version=given.version,
            run_id=given.run_id,
            until=given.until,
            idempotency_key=given.idempotency_key or call.key,
        )
        return await outcome(run, given.wait, call)

    async def get(given: GetRun, _: Call) -> RunShown:
        return _shown(await detail_of(client, given.run_id), given)

    async def listed(given: ListRuns, _: Call) -> RunsListed:
        return RunsListed(runs=[_listed(info) for info in await client.runs(given.flow, given.status, given.limit)])

    async def cancel(given: CancelRun, _: Call) -> CancelAsked:
        await client.run(given.run_id).cancel(given.reason)
        told = "it compensates and cleans up first; get_run shows when it is over"
        return CancelAsked(run_id=given.run_id, accepted=True, next=told)

    return [
        BuiltIn(
            "start_run",
            "Start a run",
            "Start a run of a published flow. Inputs are checked first; nothing starts when they do not match. With "
            "`wait` the answer has the output, else the run id to ask get_run with.",
            StartRun,
            RunAnswer,
            start,
            reads=False,
        ),
        BuiltIn(
            "get_run",
            "Look at a run",
            "Status, output or error of a run, what it waits for, and its steps page by page; with `step` one step "
            "with its output.",
            GetRun,
            RunShown,
            get,
        ),
        BuiltIn("list_runs", "List runs", "Recent runs, newest first.", ListRuns, RunsListed, listed),
        BuiltIn(
            "cancel_run",
            "Cancel a run",
            "Ask a run to stop. It undoes what its flow says it undoes, then ends as cancelled.",
            CancelRun,
            CancelAsked,
            cancel,
            reads=False,
            destroys=True,
        ),
    ]


def _listed(info: RunInfo) -> RunListed:
    return RunListed(
        run_id=info.id,
        flow=info.flow,
        version=info.version,
        status=info.status,
        started_at=info.started_at,
        finished_at=info.finished_at,
        retry_of=info.retry_of,
    )


def _shown(run: RunDetail, given: GetRun) -> RunShown:
    known: dict[str, Json] = {
        "run_id": run.id,
        "flow": run.flow,
        "version": run.version,
        "status": run.status,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
    }
    optional = {"retry_of": run.retry_of, "goes_on_as": run.goes_on_as, "state_problem": run.state_problem}
    known |= {name: value for name, value in optional.items() if value is not None}
    if run.error is not None:
        known["error"] = run.error
    elif run.status == "completed":
        known |= fitting(run.result, run.id)
    if run.state is None:
        return RunShown(**known)
    known |= {"waits": run.state["waits"], "warnings": run.state["warnings"]}
    return RunShown(**known, **_steps(run, run.state["steps"], given))


def _steps(run: RunDetail, records: dict[str, Json], given: GetRun) -> dict[str, Json]:
    if given.step is not None:
        if given.step not in records:
            near = suggestion(given.step, records) or "no step has begun"
            raise NotFound(f"run '{run.id}' has no record of a step '{given.step}': {near}")
        return {"steps": [_step(given.step, records[given.step], whole=True)], "steps_total": len(records)}
    paths = list(records)
    end = given.after + given.limit
    page: dict[str, Json] = {
        "steps": [_step(path, records[path], whole=False) for path in paths[given.after : end]],
        "steps_total": len(paths),
    }
    return page | ({"steps_next": end} if end < len(paths) else {})


def _step(path: str, record: dict[str, Json], *, whole: bool) -> StepShown:
    names = ["type", "status", "attempts", "started_at", "finished_at", "error", "output_bytes"]
    if whole:
        names.append("output")
    return StepShown(path=path, **{name: record[name] for name in names if name in record})
