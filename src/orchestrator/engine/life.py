"""The life of a run: the walk under its deadline, then what has to be undone, the fallback, ``finally``, the report to
a parent, the ledger. Cancelling, pausing and continuing as new act on it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import is_cancelled_exception

from orchestrator.engine.announcing import Announcer
from orchestrator.engine.children import report_to
from orchestrator.engine.constructs.saga import seen_from, undo
from orchestrator.engine.constructs.slices import run_slice
from orchestrator.engine.failures import ErrorRecord, RunEnded, StepFailed, flow_failure
from orchestrator.engine.fitting import fitting_error, fitting_output
from orchestrator.engine.frame import Frame
from orchestrator.engine.interpreter import Interpreter
from orchestrator.engine.monitor import Monitor
from orchestrator.engine.permit import Permit
from orchestrator.engine.together import CLEANED_UP_AFTER, settle
from orchestrator.expressions import ExpressionError
from orchestrator.spec.definition import Definition, Json, Node
from orchestrator.spec.filters import ended_a_run

STAGES = ("compensate", "fallback", "finally", "report")
CANCELLED: ErrorRecord = {"type": "cancelled", "message": "the run was cancelled", "attempts": 1, "retryable": False}
"""The `error` that compensations of a cancelled run see."""


@dataclass(slots=True)
class Ending:
    """How the walk ended, and how far the clean-up after it has come."""

    status: str
    """``completed``, ``failed``, ``cancelled`` or ``timed_out``."""
    output: Json = None
    error: ErrorRecord | None = None
    stage: str = STAGES[0]

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new carries on."""
        return {"status": self.status, "output": self.output, "error": self.error, "stage": self.stage}


class Life:
    """One run from its first step to its end."""

    def __init__(self, walk: Interpreter) -> None:
        self._walk = walk
        self._run = walk.run
        self.announcer = Announcer(walk.run)
        self.permit = Permit(walk)
        self.monitor = Monitor(walk.run)
        self._walking: asyncio.Task[Json] | None = None
        self._cancelled = False
        self._failure: ErrorRecord | None = None
        self.deadline: int | None = None
        self.ending: Ending | None = None
        self._sent: Payload | None = None

    @property
    def _definition(self) -> Definition:
        return self._walk.program.definition

    def cancel(self) -> None:
        """The run is to stop: a pause ends, nothing new begins, and what has begun is stopped."""
        self._cancelled = True
        self._run.resume()
        if self._walking is not None and self.ending is None:
            self._run.gate.reopen()
            self._walking.cancel()

    def fail(self, error: ErrorRecord) -> None:
        """The run cannot go on: stop what has begun and end as failed, compensating."""
        self._failure = error
        self._run.resume()
        if self._walking is not None:
            self._walking.cancel()

    async def live(self) -> Ending:
        """Everything. What went wrong is in the answer, not raised."""
        self.monitor.begin()
        if self.ending is None:
            self.ending = await self._walked()
            self._run.gate.stopped()
        else:
            # Continued as new after the walk, which is not done again: the handlers still name its steps.
            self._run.frame.steps.update(seen_from(self._walk, ""))
        await self._wind_down(self.ending)
        return self.ending

    # -- the walk ---------------------------------------------------------------------------------------------

    async def _walked(self) -> Ending:
        self._walking = asyncio.create_task(self._work())
        if self._cancelled:
            self._walking.cancel()
        limit = self._definition.timeout
        if limit is not None and self.deadline is None and self._run.envelope.slice is None:
            self.deadline = self._run.clock.after(limit)
        in_time = self.deadline is None or await self._run.clock.first(
            self._walking, self.deadline, "timeout of the run"
        )
        # What takes long to stop was to stop for another reason.
        if not in_time and not self._cancelled and self._failure is None:
            self._run.resume()
            self._run.gate.reopen()
            await settle([self._walking])
            await self._run.strays.stop()
            return Ending("timed_out", error=_run_timeout(limit or 0.0))
        try:
            return await self._walked_to_end(self._walking)
        finally:
            self._walking = None

    async def _walked_to_end(self, walking: asyncio.Task[Json]) -> Ending:
        try:
            return Ending("completed", self._fitting(await walking))
        except RunEnded as ended:
            await self._run.strays.stop()
            try:
                return Ending(ended.status, self._fitting(ended.output))
            except StepFailed as failure:
                return Ending("failed", error=failure.error)
        except StepFailed as failure:
            await self._run.strays.stop()
            was_cancelled = failure.error["type"] == "cancelled" and ended_a_run(failure.error)
            status = "cancelled" if was_cancelled else "failed"
            return Ending(status, error=failure.error)
        except CLEANED_UP_AFTER as error:
            await self._run.strays.stop()
            if self._failure is not None:
                return Ending("failed", error=self._failure)
            if is_cancelled_exception(error):
                return Ending("cancelled")
            # ENGINE §3: a bare exception would leave the run retrying its workflow task for ever.
            return Ending("failed", error=internal_error(error))

    def _fitting(self, output: Json) -> Json:
        self._sent = fitting_output(output, self._run.envelope.largest_payload)
        return output

    def result(self, ending: Ending) -> Json | RawValue:
        """What a completed run gives Temporal: its output, written already where this execution saw it made."""
        return ending.output if self._sent is None else RawValue(self._sent)

    async def _work(self) -> Json:
        if self._run.envelope.slice is not None:
            return await run_slice(self._walk, self._run.envelope.slice)
        await self.permit.acquire()
        self.monitor.admitted()
        output = await self._walk.run_list(self._definition.steps, self._run.frame)
        for error in await self._run.strays.finish():
            self._run.warnings.append(f"a branch that was left to finish failed: {error}")
        if not self._definition.has_output:
            return output
        try:
            return self._walk.program.output.render(self._run.frame.scope, self._run.meter).value
        except ExpressionError as error:
            raise flow_failure(self._definition, "output", error) from error

    # -- after it ---------------------------------------------------------------------------------------------

    async def _wind_down(self, ending: Ending) -> None:
        """Compensations, then ``fallback``, then ``finally`` (FLOW_FORMAT §6). None hides the original error."""
        for stage in STAGES[STAGES.index(ending.stage) :]:
            ending.stage = stage
            match stage:
                case "compensate":
                    await self._compensate(ending)
                case "fallback" if ending.status in ("failed", "timed_out"):
                    await self._handler(ending, "fallback")
                case "finally":
                    await self._handler(ending, "finally")
                case "report":
                    await self._report(ending)
                case _:
                    pass

    async def _compensate(self, ending: Ending) -> None:
        if ending.status == "completed":
            return
        await undo(self._walk, ending.error or CANCELLED)
        done = self._run.compensations.undone
        if ending.error is not None and done:
            ending.error["compensations"] = list(done)

    async def _handler(self, ending: Ending, name: str) -> None:
        nodes: Sequence[Node] = self._definition.handlers.get(name, ())
        if not nodes or self._run.envelope.slice is not None:
            return
        root = self._run.frame
        frame = Frame(root.scope | {"error": ending.error}, root.steps, f"#{name}/")
        try:
            await self._walk.run_list(nodes, frame)
        except StepFailed as failure:
            if ending.error is not None:
                ending.error.setdefault("errors", []).append(failure.error)
            elif ending.status == "completed":
                ending.status, ending.error, ending.output = "failed", failure.error, None
        except RunEnded:
            self._run.warnings.append(f"`return` in `{name}` ended it: the run was over already")

    async def _report(self, ending: Ending) -> None:
        if ending.error is not None:
            ending.error = fitting_error(ending.error, self._run.envelope.largest_payload)
        parent = self._run.envelope.parent
        if parent is not None and parent.get("wait"):
            await report_to(parent, ending.status, ending.output, ending.error)
        await self.permit.release()
        await self.announcer.ended(ending.status, ending.error)
        await self.monitor.ended(ending.status, ending.error)


def _run_timeout(limit: float) -> ErrorRecord:
    message = f"the run took longer than its timeout of {limit:g}s, waits included"
    return {"type": "run_timeout", "message": message, "attempts": 1, "retryable": False}


def journal_too_large(size: int, limit: int) -> ErrorRecord:
    """What a long run keeps does not fit into the start of its next execution (ENGINE §2)."""
    message = (
        f"the run has grown long enough to continue as new, and what it keeps has {size} bytes of the {limit} that one "
        "payload may have: return less from steps, use `collect: none`, or configure external storage for payloads"
    )
    return {"type": "payload_too_large", "message": message, "attempts": 1, "retryable": False}


def internal_error(error: BaseException) -> ErrorRecord:
    """What the engine did not expect, told as a failure of the run."""
    return {
        "type": "internal_error",
        "message": (
            f"the engine met {type(error).__name__}: {error}; this is a defect of Orchestrator, not of the flow"
        ),
        "attempts": 1,
        "retryable": False,
    }
