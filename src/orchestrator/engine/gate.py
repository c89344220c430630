"""Where new work stands before it begins: the gate is closed while the run is paused or about to continue as new."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from temporalio import workflow

from orchestrator.engine.together import CLEANED_UP_AFTER, outlast
from orchestrator.spec.definition import CONTINUE_AFTER

T = TypeVar("T")

DRAIN = 10.0
"""Seconds a drain holds back new work before it gives way to activities that take longer."""

_CLEANING: ContextVar[bool] = ContextVar("orchestrator_cleaning", default=False)
"""Set inside clean-up that must not be held back or cut off."""


class Gate:
    """Counts what begins. ``draining`` means: what runs may end, nothing new begins, then the run continues as new
    (ENGINE §2)."""

    def __init__(self) -> None:
        self.continue_after = CONTINUE_AFTER
        self.paused = False
        self.draining = False
        self.stops = 0
        """Steps that are being stopped: a run that continued now would forget that, and go on with what comes after
        them."""
        self._begun = 0
        self._stopping = False
        self._patient_until = 0

    def is_open(self) -> bool:
        """Whether work may begin now. Looks first whether the history has grown long enough."""
        if self._begun and not self.draining:
            self.draining = self._is_long()
        return not (self.paused or self.draining) or _CLEANING.get()

    async def enter(self) -> None:
        """Wait until work may begin, and count it. After a drain that never happens: the run goes on elsewhere."""
        if not self.is_open():
            await workflow.wait_condition(lambda: not (self.paused or self.draining))
        self._begun += 1

    @contextlib.contextmanager
    def stop(self) -> Iterator[None]:
        """A step is being stopped while the context is."""
        self.stops += 1
        try:
            yield
        except CLEANED_UP_AFTER:
            self.stops -= 1
            raise
        self.stops -= 1

    def progressed(self) -> None:
        """Something else than a step has made the history longer, such as a signal."""
        self._begun += 1
        self.is_open()

    def give_way(self) -> None:
        """What runs takes too long to wait for: let new work begin, and try again some events later. A history four
        times as long as it should be is not let grow any more."""
        length = workflow.info().get_current_history_length()
        if length < 4 * self.continue_after:
            self.draining = False
            self._patient_until = length + max(1, self.continue_after // 10)

    def stay(self) -> None:
        """The run cannot continue elsewhere: what is left of it is done here."""
        self.draining = False
        self._patient_until = 2**62

    def reopen(self) -> None:
        """Give up a drain, and begin none until ``stopped``: the run is being cancelled, and a cancellation does not
        outlive continue-as-new."""
        self.draining = False
        self._stopping = True

    def stopped(self) -> None:
        """What was cancelled has ended."""
        self._stopping = False

    def _is_long(self) -> bool:
        info = workflow.info()
        length = info.get_current_history_length()
        if self._stopping or length < self._patient_until:
            return False
        return length >= self.continue_after or info.is_continue_as_new_suggested()


async def shielded(work: Coroutine[Any, Any, T], *, urgent: bool = True) -> T:
    """Clean-up to its end: cancelling the caller is raised only afterwards. ``urgent``: neither a pause nor a drain
    holds it back, because it could not be taken up again."""
    token = _CLEANING.set(urgent)
    try:
        task = asyncio.create_task(work)
    finally:
        _CLEANING.reset(token)
    await outlast([task])
    return task.result()
