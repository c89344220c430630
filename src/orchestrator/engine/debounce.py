"""Keeps the last of several deliveries until no other has come for some time, and has its run started.

One workflow per trigger and key: what it was given outlives every crash.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.spec.call import DEBOUNCER, HOLD, START_HELD
from orchestrator.spec.definition import Json

LINGER = timedelta(minutes=10)
"""How long it stays open with nothing to keep: so long it knows a delivery that is brought again."""
REMEMBERED = 10_000
LONGEST_HISTORY = 2_000


@workflow.defn(name=DEBOUNCER)
class DebounceWorkflow:
    """The deliveries of one trigger for one value of its key."""

    def __init__(self) -> None:
        self._held: dict[str, Any] | None = None
        self._first = 0.0
        """When the first of those came that this one stands for, in seconds of workflow time."""
        self._last = 0.0
        self._count = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._early: list[dict[str, Any]] | None = []
        """What came before the workflow had taken up what was carried along."""

    @workflow.run
    async def run(self, carried: dict[str, Any] | None = None) -> None:
        """Until nothing has come for some time."""
        self._restore(carried or {})
        while True:
            if self._held is not None and self._left(self._held) <= 0:
                await self._start(self._held)
            elif workflow.info().get_current_history_length() > LONGEST_HISTORY and workflow.all_handlers_finished():
                workflow.continue_as_new(args=[self._to_json()])
            elif not await self._more() and self._held is None:
                return

    @workflow.signal(name=HOLD)
    def hold(self, delivery: dict[str, Any]) -> None:
        """A delivery takes the place of the one before it; the same again, by its id, changes nothing."""
        if self._early is not None:
            self._early.append(delivery)
        elif delivery["id"] not in self._seen:
            self._take(delivery)

    def _take(self, delivery: dict[str, Any]) -> None:
        self._seen[delivery["id"]] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._last = workflow.time()
        if self._held is None:
            self._first = self._last
        self._held = delivery
        self._count += 1

    def _left(self, held: dict[str, Any]) -> float:
        """Seconds until its run is due."""
        due = self._last + float(held["wait"])
        if held.get("max_wait") is not None:
            due = min(due, self._first + float(held["max_wait"]))
        return due - workflow.time()

    async def _more(self) -> bool:
        """Wait until another delivery comes, or its time is over; whether one came."""
        count = self._count
        left = LINGER.total_seconds() if self._held is None else self._left(self._held)
        try:
            await workflow.wait_condition(
                lambda: self._count != count, timeout=timedelta(seconds=max(0.001, left)), timeout_summary="debounce"
            )
        except TimeoutError:
            return False
        return True

    async def _start(self, held: dict[str, Any]) -> None:
        """What comes from here on waits for a run of its own."""
        self._held = None
        try:
            await workflow.execute_activity(
                START_HELD,
                args=[held["start"]],
                start_to_close_timeout=timedelta(seconds=60),
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            # It can never start a run: the activity has said why.

    def _to_json(self) -> dict[str, Json]:
        return {"held": self._held, "first": self._first, "last": self._last, "seen": list(self._seen)}

    def _restore(self, carried: dict[str, Any]) -> None:
        if carried:
            self._seen = OrderedDict.fromkeys(carried["seen"])
            self._held, self._first, self._last = carried["held"], carried["first"], carried["last"]
        early, self._early = self._early or [], None
        for delivery in early:
            self.hold(delivery)
