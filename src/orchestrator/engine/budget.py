"""Budgets that keep a run clear of Temporal's limits (ENGINE §3).

Tested limits: a workflow task answer over 4 MB terminates the run without compensation; the 2,001st pending activity
fails the workflow task forever; a workflow task over 2 s of pure computing never recovers.
"""

from __future__ import annotations

import asyncio
from collections import deque

from temporalio import workflow

COMMAND_BYTES = 1_000_000
COMMANDS = 200
PENDING = 500
OPERATIONS = 20_000


class Budget:
    """What this run may still ask of the current workflow task. Whoever does not fit waits in arrival order."""

    def __init__(self) -> None:
        self._task = -1
        self._bytes = 0
        self._commands = 0
        self._operations = 0
        self._pending = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    async def admit(self, size: int) -> None:
        """Wait until an activity with ``size`` bytes of arguments may be scheduled; pair it with ``release``."""
        if self._queue or not self._fits(size):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            self._wake_first()
            try:
                await turn
                while not self._fits(size):
                    await self._next_task()
            finally:
                self._queue.remove(turn)
                self._wake_first()
        self._bytes += size
        self._commands += 1
        self._pending += 1

    def release(self) -> None:
        """An admitted activity has ended."""
        self._pending -= 1

    async def breathe(self, operations: int) -> None:
        """Give the workflow task back with a 1 ms timer after about 20,000 operations; ``operations`` is how many
        the run has evaluated so far."""
        if operations - self._operations >= OPERATIONS:
            self._operations = operations
            await workflow.sleep(0.001, summary="many expressions: yielding")

    def _wake_first(self) -> None:
        if self._queue and not self._queue[0].done():
            self._queue[0].set_result(None)

    def _fits(self, size: int) -> bool:
        now = workflow.info().get_current_history_length()
        if now != self._task:
            self._task, self._bytes, self._commands = now, 0, 0
        roomy = self._bytes == 0 or self._bytes + size <= COMMAND_BYTES
        return roomy and self._commands < COMMANDS and self._pending < PENDING

    async def _next_task(self) -> None:
        """Until the next workflow task. A timer wakes us where nothing else would; with activities pending it costs
        one short timer per task of surplus."""
        if self._pending >= PENDING:
            pending = self._pending
            await workflow.wait_condition(lambda: self._pending < pending)
        else:
            await workflow.sleep(0.001, summary="many steps at once: next batch")
