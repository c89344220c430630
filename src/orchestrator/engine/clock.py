"""The run's own clock: workflow time, less the time the run was paused with its clock stopped. Every deadline of a run
is kept as an instant of this clock, so that it survives continue-as-new and a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from temporalio import workflow

from orchestrator.engine.together import CLEANED_UP_AFTER, settle

T = TypeVar("T")

LONGEST_TIMER = 100 * 365 * 86_400_000
"""Milliseconds. Temporal computes with nanoseconds: beyond 292 years they overflow."""


def milliseconds() -> int:
    """Workflow time since 1970."""
    return workflow.time_ns() // 1_000_000


def instant_text(moment: int) -> str:
    """An ISO instant, to the millisecond."""
    seconds, rest = divmod(moment, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


def now_text() -> str:
    """Workflow time as an ISO instant."""
    return instant_text(milliseconds())


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """Two of these are written per step, and most of them within the same second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Clock:
    """Instants are whole milliseconds, so that a timer's length is exactly what the author wrote."""

    def __init__(self) -> None:
        self._lost = 0
        self._stopped_at: int | None = None

    def now(self) -> int:
        """The run's time."""
        return (milliseconds() if self._stopped_at is None else self._stopped_at) - self._lost

    def after(self, seconds: float) -> int:
        """The instant that many seconds from now."""
        return self.now() + round(seconds * 1000)

    def at(self, moment: datetime) -> int:
        """An instant of the calendar."""
        return round(moment.timestamp() * 1000) - self._lost

    def text(self, instant: int) -> str:
        """An instant for people: as the calendar shows it if the clock is not stopped (again)."""
        return instant_text(instant + self._lost)

    def stop(self) -> None:
        """Stand still until ``go``."""
        if self._stopped_at is None:
            self._stopped_at = milliseconds()

    def go(self) -> None:
        """Run again; deadlines have moved by the time in between."""
        if self._stopped_at is not None:
            self._lost += milliseconds() - self._stopped_at
            self._stopped_at = None

    async def until(self, instant: int, summary: str) -> None:
        """Wait for an instant of this clock."""
        while (left := instant - self.now()) > 0:
            if self._stopped_at is not None:
                await workflow.wait_condition(lambda: self._stopped_at is None)
            else:
                await workflow.sleep(min(left, LONGEST_TIMER) / 1000, summary=summary)

    async def first(self, work: asyncio.Future[T], instant: int, summary: str) -> bool:
        """Wait for the work or the instant; whether the work is done. The work is not stopped."""
        timer = asyncio.create_task(self.until(instant, summary))
        try:
            both: list[asyncio.Future[Any]] = [work, timer]
            await workflow.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except CLEANED_UP_AFTER:
            await settle([timer])
            raise
        await settle([timer])
        return work.done()

    async def within(
        self, instant: int | None, work: Coroutine[Any, Any, T], expired: Callable[[], BaseException], summary: str
    ) -> T:
        """The work's result, or ``expired()`` raised once the instant has passed and the work has stopped. None means
        no deadline. Cancelled, it stops the work first; work that was done all the same gives its result: ask
        ``raise_if_cancelled`` afterwards."""
        if instant is None:
            return await work
        task = asyncio.create_task(work)
        try:
            in_time = await self.first(task, instant, summary)
        except CLEANED_UP_AFTER:
            await settle([task])
            if task.cancelled() or task.exception() is not None:
                raise
            # It was done before it could be stopped: what it did counts, and may have to be undone.
            return task.result()
        if in_time:
            return task.result()
        await settle([task])
        raise expired()

    def to_json(self) -> dict[str, int | None]:
        """What continue-as-new carries on."""
        return {"lost": self._lost, "stopped_at": self._stopped_at}

    def restore(self, data: dict[str, int | None]) -> None:
        """Go on where ``to_json`` left off."""
        self._lost = data.get("lost") or 0
        self._stopped_at = data.get("stopped_at")
