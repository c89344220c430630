"""A run under the eyes of its flow's ``monitoring``: alerts while it goes on and at its end, and its line in the
ledger.

A run keeps its alerts in the store and waits for nothing else: whoever is behind the doors sends them. A flow without
``monitoring`` has none of this. With it, a run costs one local activity at its end, by which alerts are kept too, one
timer at a time where an alert names ``execution_time``, and one activity for each alert that is raised before the end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.engine.activities import Call
from orchestrator.engine.clock import now_text
from orchestrator.engine.failures import StepFailed
from orchestrator.engine.gate import shielded
from orchestrator.engine.run import Run
from orchestrator.engine.tally import Tally
from orchestrator.engine.together import outlast, settle
from orchestrator.spec.call import ALERT, RECORD_RUN
from orchestrator.spec.definition import Json, Node, Retry, Timeout
from orchestrator.spec.monitoring import Condition, described, from_json, holds, moments, while_running

PLACE = "#monitoring"
"""Where its state stands in the journal."""
RECORDING = RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=6)
"""How often a run tries to be written down. Bounded by attempts: while a local activity waits for its next one, its
total time does not end it (tested)."""
_POLICY = Retry(max_attempts=5, max_interval=10.0, on=("*",))
_TIMEOUT = Timeout(attempt=10.0, total=30.0)
"""For the store to keep an alert."""


@dataclass(frozen=True, slots=True)
class _Alert:
    place: int
    told: dict[str, Json]
    condition: Condition


class Monitor:
    """Watches one run. What it has told stands in the journal: each alert is raised at most once per run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        monitoring = run.envelope.definition.monitoring
        self._on = monitoring is not None and run.envelope.slice is None and not run.envelope.test
        given = monitoring["alerts"] if monitoring is not None else ()
        self._alerts = [_Alert(place, told, from_json(told["any"])) for place, told in enumerate(given)]
        self._watching: asyncio.Task[None] | None = None
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._state: dict[str, Json] = {}

    def begin(self) -> None:
        """Count what steps take from now on, and look when the run has gone on for as long as an alert says."""
        if not self._on:
            return
        me = workflow.info().workflow_id
        self._state = state = self._run.journal.state(PLACE)
        if state.get("run") != me:
            # Also where a retry brought along what the run before it had counted.
            state.clear()
            state.update(run=me, begun=self._run.clock.now(), at=now_text(), told=[], tally=Tally.fresh())
        self._run.journal.ended = Tally(self._run.journal, state["tally"]).add
        if any(moments(alert.condition) for alert in self._alerts):
            self._watching = asyncio.create_task(self._watch())

    def admitted(self) -> None:
        """The run has its turn."""
        if self._on and "queued" not in self._state:
            self._state["queued"] = self._run.clock.now() - self._state["begun"]

    async def ended(self, status: str, error: Json) -> None:
        """The run is over: write it down with the alerts that hold of it. Nobody waits until they are sent."""
        if not self._on:
            return
        if self._watching is not None:
            await settle([self._watching])
        await outlast(list(self._sending.values()))
        self._sending.clear()
        for alert, values in await self._record(status, error):
            self._raise(alert, values, status)
        await outlast(list(self._sending.values()))

    # -- while the run goes on --------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """A strict ``>`` begins to hold a millisecond later than ``>=``: both are looked at then."""
        due = sorted((moment, alert.place) for alert in self._alerts for moment in moments(alert.condition))
        for moment, place in due:
            instant = self._state["begun"] + round(moment * 1000) + 1
            await self._run.clock.until(instant, f"alert after {moment:g}s")
            values = self._values()
            if holds(while_running(self._alerts[place].condition), values):
                self._raise(self._alerts[place], values, "running")

    def _values(self) -> dict[str, float | None]:
        """What is known of the run so far."""
        so_far = self._run.clock.now() - self._state["begun"]
        tally = self._state["tally"]
        return {
            "execution_time": so_far / 1000,
            "queue_time": self._state.get("queued", so_far) / 1000,
            "step_duration": tally["step_duration"],
            "attempts": tally["attempts"],
            "tokens": tally["tokens"],
            "cost": tally["cost"],
        }

    # -- its end ----------------------------------------------------------------------------------------------

    async def _record(self, status: str, error: Json) -> list[tuple[_Alert, dict[str, float | None]]]:
        """Write the run into the ledger and keep the alerts that hold, rates over recent runs included. Where the
        store cannot be reached the run's warnings say so, and what the run knows itself holds is left to be raised."""
        left = [alert for alert in self._alerts if alert.place not in self._state["told"]]
        values = self._values()
        asked = [{"alert": one.place, **one.told} for one in left]
        # A run that is about to continue as new waits for it.
        self._run.budget.hold()
        try:
            await workflow.execute_local_activity(
                RECORD_RUN,
                args=[self._line(status, error, values), asked],
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=timedelta(minutes=2),
                retry_policy=RECORDING,
            )
        except (ActivityError, ApplicationError) as failed:
            if is_cancelled_exception(failed):
                raise asyncio.CancelledError from failed
            self._run.warnings.append(f"the run is missing from its flow's metrics: {failed.cause or failed}")
            return [(one, values) for one in left if holds(one.condition, values)]
        finally:
            self._run.budget.release()
        return []

    def _line(self, status: str, error: Json, values: dict[str, float | None]) -> dict[str, Json]:
        definition, envelope = self._run.envelope.definition, self._run.envelope
        line: dict[str, Json] = {
            "execution": workflow.info().first_execution_run_id,
            "flow": definition.flow,
            "version": definition.version,
            "status": status,
            "trigger": envelope.trigger.get("type"),
            "started_at": self._state["at"],
            "finished_at": now_text(),
            "steps": self._state["tally"]["steps"],
        }
        if isinstance(error, dict):
            line["error"] = error.get("type")
        return line | values

    # -- raising ----------------------------------------------------------------------------------------------

    def _raise(self, alert: _Alert, values: dict[str, float | None], status: str) -> None:
        if alert.place not in self._state["told"] and alert.place not in self._sending:
            sending = shielded(self._send(alert, values, status))
            self._sending[alert.place] = asyncio.create_task(sending)

    async def _send(self, alert: _Alert, values: dict[str, float | None], status: str) -> None:
        definition, first = self._run.envelope.definition, workflow.info().first_execution_run_id
        node = Node("alert", ALERT, definition.file, timeout=_TIMEOUT)
        told = {"condition": alert.told["condition"], "message": alert.told["message"], "status": status}
        told |= {"found": described(alert.condition, values), "values": values}
        args = [alert.place, first, alert.told["channel"], told]
        try:
            await self._run.activities.run(Call(node, f"#alert/{alert.place}", ALERT, args, retry=_POLICY))
        except StepFailed as failure:
            # Before the run's end it is only put off until then.
            if status != "running":
                message = failure.error["message"]
                self._run.warnings.append(f"alert '{alert.told['condition']}' is told to nobody: {message}")
        else:
            self._state["told"].append(alert.place)
