"""Branches that go on after their race was decided (``losers: finish``): the run ends when they have."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from orchestrator.engine.together import outlast, settle


class Strays:
    """Tasks nobody waits for at the place that started them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside the walk."""
        self._tasks.append(asyncio.create_task(work))

    def adopt(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Let tasks that run already go on."""
        self._tasks.extend(tasks)

    async def finish(self) -> list[BaseException]:
        """Wait for all; what they raised."""
        await outlast(self._tasks)
        return self._raised()

    async def stop(self) -> None:
        """Cancel all and wait until they have stopped."""
        await settle(self._tasks)
        self._raised()

    def _raised(self) -> list[BaseException]:
        ended = [task.exception() for task in self._tasks if not task.cancelled()]
        self._tasks.clear()
        return [error for error in ended if error is not None]
