"""A run's permit to go on, where its flow limits how many do (FLOW_FORMAT §7)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.engine.activities import LONG_PATIENCE
from orchestrator.engine.children import tell
from orchestrator.engine.failures import RunEnded, StepFailed, flow_failure
from orchestrator.engine.gate import shielded
from orchestrator.engine.run import Walk
from orchestrator.engine.waits import Wait
from orchestrator.expressions import ExpressionError, compile_value
from orchestrator.spec.call import ACQUIRE_PERMIT, EVENT, RELEASE
from orchestrator.spec.concurrency import desk_id, trigger_event
from orchestrator.spec.definition import Json

PLACE = "#permit"
"""Where its state stands in the journal."""


class Permit:
    """What one run knows of its permit."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._run = walk.run
        self._wanted = walk.program.definition.concurrency if walk.run.envelope.slice is None else None

    def told(self, answer: Json) -> None:
        """The desk has answered."""
        if isinstance(answer, dict):
            self._run.journal.state(PLACE)["answer"] = answer

    async def acquire(self) -> None:
        """Ask, and wait for the permit. Raises StepFailed ``concurrency_limit`` where the flow does not wait, and
        RunEnded where another run has taken over what this one was started for."""
        if self._wanted is None:
            return
        me, state = workflow.info().workflow_id, self._run.journal.state(PLACE)
        if state.get("run") != me:
            state.clear()
            state["desk"] = self._desk()
            await self._ask(state["desk"], me)
            state["run"] = me
        if "answer" not in state:
            with self._run.waits.open(Wait(PLACE, "permit", "permit")):
                await workflow.wait_condition(lambda: "answer" in state)
        answer = state["answer"]
        if "reject" in answer:
            raise StepFailed(self._refused(answer["reject"]))
        if "join" in answer:
            await self._hand_over(answer["join"])
            raise RunEnded({"joined": answer["join"]})

    async def release(self) -> None:
        """Let the next one go on, whatever happens to this one meanwhile."""
        state = self._run.journal.known_state(PLACE)
        if self._wanted is None or state is None or "run" not in state:
            return
        await shielded(tell(state["desk"], RELEASE, {"run": state["run"]}))

    def _desk(self) -> str:
        definition, key = self._walk.program.definition, (self._wanted or {}).get("key")
        try:
            value = compile_value(key, self._walk.program.names).render(self._run.frame.scope, self._run.meter).value
        except ExpressionError as error:
            raise flow_failure(definition, "concurrency.key", error) from error
        return desk_id(workflow.info().task_queue, definition.flow, value)

    async def _ask(self, desk: str, me: str) -> None:
        wanted = self._wanted or {}
        message = {"run": me, "limit": wanted["limit"], "when_full": wanted["when_full"]}
        # A run that is about to continue as new waits for it.
        self._run.budget.hold()
        try:
            await workflow.execute_local_activity(
                ACQUIRE_PERMIT,
                args=[desk, message],
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=LONG_PATIENCE,
            )
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            told = f"the permit to run could not be asked for: {error.cause or error}"
            raise StepFailed(self._error("unavailable", told)) from error
        finally:
            self._run.budget.release()

    async def _hand_over(self, holder: str) -> None:
        """The run that holds the permit gets what this one was started with, as an event."""
        event = trigger_event(self._run.envelope.trigger)
        me = workflow.info().workflow_id
        await tell(holder, EVENT, {"event": event, "signal_id": f"join {me}"})

    def _refused(self, holder: str) -> dict[str, Json]:
        limit = (self._wanted or {}).get("limit")
        return self._error("concurrency_limit", f"{limit} runs go on already, '{holder}' among them")

    def _error(self, kind: str, message: str) -> dict[str, Json]:
        source = self._walk.program.definition.file
        return {"type": kind, "message": message, "attempts": 1, "retryable": True, "source": source}
