"""Keeps Temporal's schedules what the published flows say."""

from __future__ import annotations

import asyncio
import logging
import time

from orchestrator.client.client import Client
from orchestrator.client.schedules import Schedules

_LOGGER = logging.getLogger("orchestrator.dispatch")
LOOK = 0.5
"""Seconds between two looks whether flows were published, in this process or in another."""
REPAIR = 60.0
"""Seconds between two rounds in which nothing was published: somebody may have changed a schedule in Temporal."""
AGAIN = 5.0
"""Seconds before what could not be done is tried again."""


class ScheduleKeeper:
    """Several gateways may do this at once: each of them brings about the same."""

    name = "schedules"

    def __init__(self, client: Client) -> None:
        self._flows = client.store.flows
        self._schedules = Schedules(client)
        self._revision: int | None = None
        self._kept = float("-inf")
        self._said: tuple[str, ...] = ()

    async def turn(self) -> None:
        """One look, and a round where one is due. Raises Unavailable."""
        revision = await self._flows.revision()
        if revision != self._revision or time.monotonic() - self._kept >= REPAIR:
            kept = await self._schedules.keep()
            for what, names in (("created", kept.created), ("updated", kept.updated), ("deleted", kept.deleted)):
                if names:
                    _LOGGER.info("schedules %s: %s", what, ", ".join(names))
            if kept.problems != self._said:
                for problem in kept.problems:
                    _LOGGER.warning("a schedule is not as its flow says: %s", problem)
            self._said, self._revision = kept.problems, revision
            self._kept = time.monotonic() - (REPAIR - AGAIN if kept.problems else 0.0)
        await asyncio.sleep(LOOK)
