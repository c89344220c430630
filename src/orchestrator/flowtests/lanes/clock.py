"""The clock of a test server: whether it may jump to the next timer."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import temporalio.client
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, UnlockTimeSkippingRequest
from temporalio.service import RPCError

from orchestrator.errors import Unavailable

_PATIENCE = 1.0
"""Seconds a run waits at its end for the clock to stop: less than what Temporal takes for a deadlock."""


class Clock:
    """The clock during one case. It jumps as long as the run goes on, and not a moment longer: with nothing left to
    wait for, it would jump to the end of what the server keeps of runs that are over, years ahead."""

    def __init__(self, temporal: temporalio.client.Client) -> None:
        self._service = temporal.test_service
        self._loop = asyncio.get_running_loop()
        self._jumps = False
        self._stopping: concurrent.futures.Future[None] | None = None

    @asynccontextmanager
    async def jumping(self) -> AsyncIterator[None]:
        """It jumps while the context is open, or until ``stop_now``."""
        await self._service.unlock_time_skipping(UnlockTimeSkippingRequest())
        self._jumps = True
        try:
            yield
        finally:
            if self._jumps:
                await self._stop()
            if self._stopping is not None:
                await asyncio.wrap_future(self._stopping)

    def stop_now(self) -> None:
        """Stop it, from the thread that a run's workflow runs in, before the run tells Temporal that it is over."""
        if not self._jumps:
            return
        self._stopping = asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
        # A machine this busy has time left: whoever opened the context waits for the rest.
        concurrent.futures.wait([self._stopping], timeout=_PATIENCE)

    async def _stop(self) -> None:
        """Locks are counted: one is set, however often somebody asks."""
        if not self._jumps:
            return
        self._jumps = False
        try:
            await self._service.lock_time_skipping(LockTimeSkippingRequest())
        except RPCError as error:
            raise Unavailable(f"the Temporal test server does not answer: {error}") from error
