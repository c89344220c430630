"""Budgets that keep a run clear of Temporal's limits (ENGINE §3).

Tested limits: a workflow task answer over 4 MB terminates the run without compensation; the 2,001st pending activity
fails the workflow task forever; a workflow task over 2 s of pure computing never recovers.
"""

from __future__ import annotations

import asyncio
from collections import deque

from temporalio import workflow

from orchestrator.engine.gate import Gate
from orchestrator.engine.together import CLEANED_UP_AFTER
from orchestrator.expressions import Meter

COMMAND_BYTES = 1_000_000
COMMANDS = 200
PENDING = 500
OPERATIONS = 20_000
STORED_FROM = 100_000
"""Bytes from which external storage takes a payload, where there is one: then only a reference is sent."""
REFERENCE = 1_000
EXPRESS_RESULT = 40_000
"""Bytes kept free for the result of an express step under way: the answer that closes the task carries it."""
EXPRESS_MILLISECONDS = 2_000
"""Express work is recorded at least this often (ENGINE §8)."""


class Budget:
    """What this run may still ask of the current workflow task. Whoever does not fit waits in arrival order."""

    def __init__(self, gate: Gate) -> None:
        self.stored = False
        """Whether large payloads go to external storage."""
        self.pending = 0
        """Activities, child runs and messages under way: what a drain waits for."""
        self._gate = gate
        self._task = -1
        self._bytes = 0
        self._commands = 0
        self._operations = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._breathing = asyncio.Lock()
        self._express = 0
        self._express_task = -1
        self._recorded_at = 0

    async def admit(self, size: int, extra: int = 0) -> None:
        """Wait until something with ``size`` bytes of arguments may be asked for; pair it with ``release``. ``extra``
        are bytes beside them that no storage takes."""
        if self.stored and size >= STORED_FROM:
            size = REFERENCE
        size += extra
        if self._queue or not self._gate.is_open() or not self._fits(size):
            await self._queue_up(size)
        self._bytes += size
        self._commands += 1
        self.pending += 1

    def hold(self) -> None:
        """Something that needs no room is under way; pair it with ``release``."""
        self.pending += 1

    async def admit_express(self) -> int:
        """As ``admit``, for an express step; returns what ``recorded`` wants. Pair it with ``release_express``."""
        await self.admit(EXPRESS_RESULT)
        self._express += 1
        return self._task

    def recorded(self, task: int, size: int) -> None:
        """An express step that was admitted in ``task`` has given a result of so many bytes."""
        self._look()
        if self.stored and size >= STORED_FROM:
            size = REFERENCE
        self._bytes += size - (EXPRESS_RESULT if task == self._task else 0)

    def release_express(self) -> None:
        """An express step has ended."""
        self._express -= 1
        self.release()

    def release(self) -> None:
        """What was admitted has ended."""
        self.pending -= 1

    async def breathe(self, meter: Meter) -> None:
        """Give the workflow task back with a 1 ms timer after about 20,000 operations. Whoever comes meanwhile waits
        its turn, so that many at once do not compute on in its stead."""
        if self._breathing.locked() or meter.spent - self._operations >= OPERATIONS:
            async with self._breathing:
                if meter.spent - self._operations >= OPERATIONS:
                    self._operations = meter.spent
                    await workflow.sleep(0.001, summary="many expressions: yielding")

    async def record(self, now: int) -> None:
        """Close the workflow task where express work has gone on for some time, so that a crash repeats little.
        ``now`` is workflow time in milliseconds."""
        length = workflow.info().get_current_history_length()
        if length != self._express_task:
            self._express_task, self._recorded_at = length, now
        elif now - self._recorded_at >= EXPRESS_MILLISECONDS:
            self._recorded_at = now
            await workflow.sleep(0.001, summary="recording express steps")

    async def close_express(self) -> None:
        """Before a run ends that messages may still come to: record express steps of this workflow task. A message that
        arrives while the last task is open fails it, and they would run again (tested). It doubles what a short run
        costs the server."""
        if self._express_task == workflow.info().get_current_history_length():
            await workflow.sleep(0.001, summary="recording express steps")

    async def _queue_up(self, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._wake_first()
        try:
            await turn
            await self._room(size)
        except CLEANED_UP_AFTER:
            self._leave(turn)
            raise
        self._leave(turn)

    async def _room(self, size: int) -> None:
        while True:
            if not self._gate.is_open():
                await workflow.wait_condition(self._gate.is_open)
            elif self._fits(size):
                return
            else:
                await self._next_task()

    def _leave(self, turn: asyncio.Future[None]) -> None:
        self._queue.remove(turn)
        self._wake_first()

    def _wake_first(self) -> None:
        if self._queue and not self._queue[0].done():
            self._queue[0].set_result(None)

    def _fits(self, size: int) -> bool:
        self._look()
        roomy = self._bytes == 0 or self._bytes + size <= COMMAND_BYTES
        return roomy and self._commands < COMMANDS and self.pending < PENDING

    def _look(self) -> None:
        """Begin anew where this is another workflow task."""
        length = workflow.info().get_current_history_length()
        if length != self._task:
            self._task, self._bytes, self._commands = length, 0, 0

    async def _next_task(self) -> None:
        """Until the next workflow task. A timer wakes us where nothing else would; with activities pending it costs
        one short timer per task of surplus."""
        if self.pending >= PENDING or self._express:
            pending = self.pending
            await workflow.wait_condition(lambda: self.pending < pending)
        else:
            await workflow.sleep(0.001, summary="many steps at once: next batch")
