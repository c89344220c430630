"""The loops behind the doors, supervised: one that fails is tried again, and never takes another with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from temporalio.service import RPCError

from orchestrator.errors import OrchestratorError

T = TypeVar("T")

_LOGGER = logging.getLogger("orchestrator.dispatch")
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
"""Seconds before a loop that failed is tried again; doubled from failure to failure."""


class Loop(Protocol):
    """Something that is done again and again. Several gateways run the same loops: what a turn takes up is leased in
    the store, and whatever it does may be done twice."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        ...

    async def turn(self) -> None:
        """One round, its waiting for work included. Raises OrchestratorError and RPCError where it could not be
        done."""
        ...


class Dispatcher:
    """Runs loops as long as it is open."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(_run(loop), name=f"dispatch {loop.name}") for loop in self._loops]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _run(loop: Loop) -> None:
    pause, said = _FIRST_PAUSE, ""
    while True:
        try:
            await loop.turn()
        except Exception as error:
            # Whatever it is, the loop goes on: what it did not do stays undone, and nobody else does it.
            expected = isinstance(error, OrchestratorError | RPCError | OSError)
            if str(error) != said:
                words = "%s: %s; tried again in %g s and on"
                _LOGGER.log(
                    logging.WARNING if expected else logging.ERROR,
                    words,
                    loop.name,
                    error,
                    pause,
                    exc_info=not expected,
                )
            said = str(error) or repr(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            if said:
                _LOGGER.info("%s goes on", loop.name)
            pause, said = _FIRST_PAUSE, ""


async def side_by_side(works: Iterable[Awaitable[T]]) -> list[T]:
    """What all of them gave. Each is done to its end before the first problem among them is raised."""
    results = await asyncio.gather(*works, return_exceptions=True)
    done: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done


async def until(arrived: asyncio.Event, seconds: float) -> None:
    """Wait until something arrives, at most so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await arrived.wait()
    except TimeoutError:
        return
