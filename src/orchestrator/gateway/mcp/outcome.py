"""What became of a run that a call started: its output, its error, or that it goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.client import Run, RunCancelled, RunFailed
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.mcp.tool import Call, Json

LARGEST_OUTPUT = 400_000
"""Bytes of JSON a result carries; an answer has it twice, once as text."""
_TICK_SECONDS = 2.0
_STATE_SECONDS = 2.0
_SHOWN_RUNNING = 5

Status = Literal["running", "waiting", "paused", "completed", "failed", "cancelled", "terminated", "timed_out"]


class RunAnswer(BaseModel):
    """A run as a call answers it."""

    run_id: str
    flow: str | None = None
    version: str | None = None
    status: Status
    output: Any = Field(None, description="Of a completed run")
    output_bytes: int | None = Field(None, description="Size of an output that is too large for an answer")
    error: dict[str, Any] | None = Field(None, description="Of a run that failed: `type`, `message`, `step` …")
    next: str | None = Field(None, description="What to do now")


class FailedRun(RunAnswer):
    """The answer of a call whose run came to nothing."""

    @property
    def told(self) -> str:
        """The failure in words."""
        error = self.error or {}
        step = error.get("step")
        at = f" at step '{step.get('path') or step.get('id')}'" if isinstance(step, dict) else ""
        what = f": {error.get('type')}: {error.get('message')}" if error else ""
        return f"run '{self.run_id}' {self.status.replace('_', ' ')}{at}{what}. {self.next}"


async def outcome(run: Run, wait: float, call: Call) -> RunAnswer:
    """The run's answer after at most ``wait`` seconds, told about meanwhile where the client asked for that. The run
    goes on whatever happens to the call. Raises NotFound, Unavailable."""
    about: dict[str, Json] = {"run_id": run.id, "flow": run.flow, "version": run.version}
    try:
        output = await _awaited(run, wait, call)
    except TimeoutError:
        asking = f'the run goes on; get_run {{"run_id": "{run.id}"}} tells how it stands'
        return RunAnswer(**about, status="running", next=asking)
    except RunCancelled:
        return FailedRun(**about, status="cancelled", next="get_run shows how far it came.")
    except RunFailed as failed:
        kind = str(failed.error.get("type"))
        status: Status = "terminated" if kind == "terminated" else "failed"
        # With a step it is that of a run inside this one, or what a step calls so.
        timed_out = kind in ("run_timeout", "timed_out") and "step" not in failed.error
        status = "timed_out" if timed_out else status
        return FailedRun(**about, status=status, error=failed.error, next="get_run shows its steps.")
    return RunAnswer(**about, status="completed", **fitting(output, run.id))


def fitting(output: Json, run_id: str) -> dict[str, Json]:
    """``output``, or its size and where to get it, where it is too large for an answer."""
    size = len(json.dumps(output, ensure_ascii=False).encode())
    if size <= LARGEST_OUTPUT:
        return {"output": output}
    where = f"the output has {size} bytes and an answer carries {LARGEST_OUTPUT}: get it from GET /v1/runs/{run_id}"
    return {"output_bytes": size, "next": where}


async def _awaited(run: Run, wait: float, call: Call) -> Json:
    if call.report is None or wait <= 0:
        return await run.result(wait)
    loop = asyncio.get_running_loop()
    began = loop.time()
    told = f"run '{run.id}' started"
    while True:
        elapsed = loop.time() - began
        await call.report(min(elapsed, wait), wait, told)
        try:
            return await run.result(min(_TICK_SECONDS, max(wait - elapsed, 0)))
        except TimeoutError:
            if loop.time() - began >= wait:
                raise
        told = await _told(run) or told


async def _told(run: Run) -> str | None:
    """How far a run is, in words; None where nobody tells."""
    try:
        async with asyncio.timeout(_STATE_SECONDS):
            state = await run.state()
    except (TimeoutError, OrchestratorError):
        return None
    steps: dict[str, Json] = state["steps"]
    over = sum(1 for record in steps.values() if record["status"] != "running")
    now = [path for path, record in steps.items() if record["status"] == "running"][-_SHOWN_RUNNING:]
    waits = [f"{wait['path']} ({wait['kind']})" for wait in state["waits"]]
    doing = f"waiting at {', '.join(waits)}" if waits else f"at {', '.join(now)}" if now else state["status"]
    return f"run '{run.id}': {over} steps over, {doing}"
