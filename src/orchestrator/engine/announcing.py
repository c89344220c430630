"""The engine's own events: that a run waits, has completed, has failed. Told only where somebody subscribes."""

from __future__ import annotations

import asyncio

from temporalio import workflow

from orchestrator.engine.activities import PERSISTENT, Call
from orchestrator.engine.failures import StepFailed
from orchestrator.engine.gate import shielded
from orchestrator.engine.run import Run
from orchestrator.engine.together import outlast
from orchestrator.engine.waits import Wait
from orchestrator.spec.call import ANNOUNCE
from orchestrator.spec.definition import Json, Node, Timeout

COMPLETED = "run.completed"
FAILED = "run.failed"
WAITING = "run.waiting"
_ENDS = {"completed": COMPLETED, "failed": FAILED, "timed_out": FAILED}
_TOLD_OF_ERROR = ("type", "message", "step", "status", "source")


class Announcer:
    """What one run tells of itself. The same is told once, also by the execution that goes on from this one: an event
    is known by its run and place."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._wanted = run.envelope.announce
        self._told: dict[str, asyncio.Task[None]] = {}

    def waits(self, open_waits: list[Wait]) -> None:
        """These waits are open: tell of those for a person or an event, beside what goes on."""
        if WAITING not in self._wanted:
            return
        for wait in open_waits:
            if wait.kind != "wait" and wait.path not in self._told:
                about = {"wait": wait.to_json()}
                self._told[wait.path] = asyncio.create_task(self._tell(WAITING, f"waiting/{wait.path}", about))

    async def ended(self, status: str, error: Json) -> None:
        """The run is over, compensated and cleaned up."""
        await outlast(list(self._told.values()))
        kind = _ENDS.get(status)
        if kind is None or kind not in self._wanted:
            return
        about: dict[str, Json] = {"status": status}
        if isinstance(error, dict):
            about["error"] = {name: error[name] for name in _TOLD_OF_ERROR if name in error}
        await shielded(self._tell(kind, "ended", about))

    async def _tell(self, kind: str, place: str, about: dict[str, Json]) -> None:
        definition, run = self._run.envelope.definition, self._run
        node = Node("announce", ANNOUNCE, definition.file, timeout=Timeout(attempt=30.0))
        data = {
            "run_id": workflow.info().workflow_id,
            "flow": definition.flow,
            "version": definition.version,
            "started_at": run.frame.scope["run"]["started_at"],
        } | about
        args = [kind, data, run.event_depth]
        try:
            await run.activities.run(Call(node, f"#announce/{place}", ANNOUNCE, args, retry=PERSISTENT))
        except StepFailed as failure:
            run.warnings.append(f"'{kind}' could not be told: {failure.error['message']}")
