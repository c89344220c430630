"""Where queues are kept: in the store, or in Redis where their entry names one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from orchestrator.spec.definition import Json
from orchestrator.spec.queues import QueueEntry
from orchestrator.store.queues import Counts, Message, Queues, Sent, Status
from orchestrator.store.redis_queues import RedisQueues


class Broker(Protocol):
    """Keeps messages. ``Queues`` says what each operation promises; all raise Unavailable."""

    async def send(self, queue: str, body: Json, *, once: str, key: str | None = None, delay: float = 0.0) -> Sent:
        """Put a message in. Raises Refused where this broker cannot keep such a message."""
        ...

    async def take(self, queue: str, most: int, lease: float) -> list[Message]:
        """Messages whose turn it is."""
        ...

    async def done(self, message: Message, outcome: Mapping[str, Json]) -> None:
        """Somebody has seen to it."""
        ...

    async def release(self, message: Message, after: float) -> None:
        """Again in ``after`` seconds."""
        ...

    async def refuse(self, message: Message, problem: str, after: float | None) -> None:
        """Again in ``after`` seconds, or a dead letter (None)."""
        ...

    async def count(self, queue: str) -> Counts:
        """What the queue holds."""
        ...

    async def list(self, queue: str, status: Status = "waiting", most: int = 100) -> list[Message]:
        """A look that takes nothing."""
        ...

    async def redrive(self, queue: str, id: str | None = None) -> int:  # noqa: A002 - the column's name
        """Give dead letters another chance."""
        ...

    async def discard(self, queue: str, status: Status) -> int:
        """Delete messages."""
        ...


class Brokers:
    """The store's queues, and connections to Redis, each opened at first use and closed together."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._redis: dict[str, RedisQueues] = {}

    def of(self, entry: QueueEntry) -> Broker:
        """Who keeps a queue with this entry. Raises SettingsInvalid for a URL that names no Redis server."""
        if entry.url is None:
            return self._queues
        if entry.url not in self._redis:
            self._redis[entry.url] = RedisQueues(entry.url)
        return self._redis[entry.url]

    async def aclose(self) -> None:
        """Close the connections to Redis; the store stays open."""
        opened = list(self._redis.values())
        self._redis.clear()
        for redis in opened:
            await redis.aclose()
