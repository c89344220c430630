"""Gathers events until there are enough of them, or the first has waited long enough, and has one run started for all.

One workflow per trigger and key: what it was given outlives every crash.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.spec.call import COLLECT, COLLECTOR, FLUSH
from orchestrator.spec.definition import Json
from orchestrator.spec.patterns import signal_id

LINGER = timedelta(minutes=10)
"""How long an empty collector stays open: so long it knows an event that is brought again."""
REMEMBERED = 10_000
LONGEST_HISTORY = 2_000


@workflow.defn(name=COLLECTOR)
class CollectorWorkflow:
    """Batches of one trigger for one value of its key."""

    def __init__(self) -> None:
        self._events: list[dict[str, Json]] = []
        self._since: list[float] = []
        """When each of them came, in seconds of workflow time."""
        self._seen: OrderedDict[str, None] = OrderedDict()

    @workflow.run
    async def run(self, told: dict[str, Any], carried: dict[str, Any] | None = None) -> None:
        """``told`` is ``{"flow", "trigger", "size", "max_wait"}``. Until nothing has come for some time."""
        self._restore(carried or {})
        while True:
            if self._is_due(told):
                await self._flush(told)
            elif workflow.info().get_current_history_length() > LONGEST_HISTORY and workflow.all_handlers_finished():
                workflow.continue_as_new(args=[told, self._to_json()])
            elif not await self._more(told) and not self._events:
                return

    @workflow.signal(name=COLLECT)
    def collect(self, event: dict[str, Any]) -> None:
        """One event; the same again, by source and id, counts once."""
        key = signal_id(event)
        if key in self._seen:
            return
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._events.append(event)
        self._since.append(workflow.time())

    def _is_due(self, told: dict[str, Any]) -> bool:
        if not self._events:
            return False
        left = self._left(told)
        return len(self._events) >= told["size"] or (left is not None and left <= 0)

    def _left(self, told: dict[str, Any]) -> float | None:
        """Seconds that the first event may still wait; None without a limit."""
        return None if told["max_wait"] is None else self._since[0] + told["max_wait"] - workflow.time()

    async def _more(self, told: dict[str, Any]) -> bool:
        """Wait until another event comes, or its time is over; whether one came."""
        count = len(self._events)
        left = self._left(told) if self._events else LINGER.total_seconds()
        timeout = None if left is None else timedelta(seconds=max(0.001, left))
        try:
            await workflow.wait_condition(lambda: len(self._events) != count, timeout=timeout)
        except TimeoutError:
            return False
        return True

    async def _flush(self, told: dict[str, Any]) -> None:
        batch = self._events[: told["size"]]
        try:
            await workflow.execute_activity(
                FLUSH,
                args=[told["flow"], told["trigger"], batch],
                start_to_close_timeout=timedelta(seconds=60),
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            # It can never start a run: the activity has said why.
        del self._events[: len(batch)]
        del self._since[: len(batch)]

    def _to_json(self) -> dict[str, Json]:
        return {"events": self._events, "since": self._since, "seen": list(self._seen)}

    def _restore(self, carried: dict[str, Any]) -> None:
        known = OrderedDict.fromkeys(carried.get("seen", ()))
        new = [index for index, event in enumerate(self._events) if signal_id(event) not in known]
        # Signals may have come before what was carried along is taken up.
        self._events = carried.get("events", []) + [self._events[index] for index in new]
        self._since = carried.get("since", []) + [self._since[index] for index in new]
        self._seen = known | self._seen
