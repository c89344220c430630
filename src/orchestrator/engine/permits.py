"""The desk that hands out permits: how many runs of a flow, or of one key of it, go on at once.

One workflow per flow and key. Runs ask it by signal and are answered by signal; it outlives every crash because it is a
workflow, and no permit leaks because it looks at its holders from time to time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from orchestrator.spec.call import ACQUIRE, ASK_PERMIT, CHILD_STATUS, PERMIT, PERMITS, RELEASE
from orchestrator.spec.definition import Json

LOOK_EVERY = timedelta(seconds=30)
"""How often holders are looked at, and how long an idle desk stays open."""
RESERVED = 60.0
"""Seconds between a door's permit and the start of the run it was for, before it is taken back."""
LONGEST_HISTORY = 2_000


@dataclass(slots=True)
class Request:
    """A run that wants a permit."""

    run: str
    when_full: str
    at: float
    """Seconds of workflow time."""


@workflow.defn(name=PERMITS)
class PermitsWorkflow:
    """Hands out up to ``limit`` permits, in the order runs asked."""

    def __init__(self) -> None:
        self._limit = 1
        self._holders: dict[str, float] = {}
        """Since when, by run."""
        self._queue: deque[Request] = deque()
        self._answers: deque[tuple[str, dict[str, Json]]] = deque()
        self._cancelled: dict[str, None] = {}
        self._news = False

    @workflow.run
    async def run(self, carried: dict[str, Any] | None = None) -> None:
        """Until nobody holds or wants a permit."""
        self._restore(carried or {})
        while True:
            self._news = False
            self._grant()
            await self._tell()
            if self._news or self._answers:
                continue
            if workflow.info().get_current_history_length() > LONGEST_HISTORY and workflow.all_handlers_finished():
                workflow.continue_as_new(self._to_json())
            try:
                await workflow.wait_condition(lambda: self._news, timeout=LOOK_EVERY)
            except TimeoutError:
                if not self._holders and not self._queue:
                    return
                await self._look_at_holders()

    @workflow.signal(name=ACQUIRE)
    def acquire(self, message: dict[str, Any]) -> None:
        """``{"run", "limit", "when_full"}``: answered by signal, now or when its turn comes."""
        self._news = True
        self._limit = int(message["limit"])
        run, when_full = str(message["run"]), str(message["when_full"])
        if run in self._holders:
            self._answers.append((run, {"granted": True}))
        elif any(one.run == run for one in self._queue):
            return
        elif when_full in ("reject", "join") and self._is_full():
            self._answers.append((run, {when_full: next(iter(self._holders))}))
        else:
            self._queue.append(Request(run, when_full, workflow.time()))

    @workflow.signal(name=RELEASE)
    def release(self, message: dict[str, Any]) -> None:
        """``{"run"}``: it needs its permit, or its place in the queue, no more."""
        self._news = True
        self._drop(str(message["run"]))
        self._queue = deque(one for one in self._queue if one.run != message["run"])

    @workflow.update(name=ASK_PERMIT)
    def ask(self, message: dict[str, Any]) -> dict[str, Json]:
        """A door asks before it starts a run that would not wait: ``{"granted": True}``, or whose the permit is."""
        self._news = True
        self._limit = int(message["limit"])
        run = str(message["run"])
        if run in self._holders or not self._is_full():
            self._holders.setdefault(run, workflow.time())
            return {"granted": True}
        return {"granted": False, "holder": next(iter(self._holders))}

    def _is_full(self) -> bool:
        return len(self._holders) >= self._limit or bool(self._queue)

    def _grant(self) -> None:
        while self._queue and len(self._holders) < self._limit:
            first = self._queue.popleft()
            self._holders[first.run] = workflow.time()
            self._answers.append((first.run, {"granted": True}))
        wanted = sum(one.when_full == "cancel-oldest" for one in self._queue)
        for holder in list(self._holders)[:wanted]:
            if holder not in self._cancelled:
                self._cancelled[holder] = None
                self._answers.append((holder, {"cancel": True}))

    async def _tell(self) -> None:
        while self._answers:
            run, answer = self._answers.popleft()
            handle = workflow.get_external_workflow_handle(run)
            try:
                if "cancel" in answer:
                    await handle.cancel()
                else:
                    await handle.signal(PERMIT, answer)
            except FailureError as failed:
                if is_cancelled_exception(failed):
                    raise
                # It is gone.
                self._drop(run)
                self._news = True

    async def _look_at_holders(self) -> None:
        for run, since in list(self._holders.items()):
            try:
                found: dict[str, Json] = await workflow.execute_local_activity(
                    CHILD_STATUS,
                    run,
                    start_to_close_timeout=timedelta(seconds=10),
                    retry_policy=RetryPolicy(maximum_attempts=3),
                )
            except (ActivityError, ApplicationError) as error:
                if is_cancelled_exception(error):
                    raise
                continue
            not_yet = found["status"] == "unknown" and workflow.time() - since < RESERVED
            if found["status"] != "running" and not not_yet:
                self._drop(run)

    def _drop(self, run: str) -> None:
        self._holders.pop(run, None)
        self._cancelled.pop(run, None)

    def _to_json(self) -> dict[str, Json]:
        return {
            "limit": self._limit,
            "holders": self._holders,
            "queue": [asdict(one) for one in self._queue],
            "cancelled": list(self._cancelled),
        }

    def _restore(self, carried: dict[str, Any]) -> None:
        # A signal may have come before: what it brought comes after.
        self._limit = carried.get("limit", self._limit)
        self._holders = carried.get("holders", {}) | self._holders
        self._queue = deque([*(Request(**one) for one in carried.get("queue", ())), *self._queue])
        self._cancelled = dict.fromkeys(carried.get("cancelled", ())) | self._cancelled
