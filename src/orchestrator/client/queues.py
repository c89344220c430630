"""Sending messages to queues, for everybody who is no step."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from orchestrator.errors import Refused, TooLarge
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.acts.queue import check_message_key
from orchestrator.spec.definition import Json
from orchestrator.spec.project import Project
from orchestrator.spec.queues import QueueEntry, check_queue_name, queue_entry
from orchestrator.store.brokers import Broker, Brokers
from orchestrator.store.database import Store
from orchestrator.store.queues import LARGEST_MESSAGE, Counts, Sent

_LONGEST_ID = 1_000
"""Characters."""


class MessageInvalid(Refused):
    """A message, or what names it or its queue, cannot be used."""

    code = "invalid_message"


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One queue: what it holds, and who takes it out."""

    queue: str
    waiting: int
    dead: int
    oldest: datetime | None
    """When the message that is due for longest was due."""
    consumers: list[str]
    """Flows with an enabled `queue` trigger for it."""


class QueueDesk:
    """Everything about queues that does not run in a step: where each is kept, what is put in, what it holds."""

    def __init__(self, store: Store, project: Callable[[], Project], settings: Settings) -> None:
        self._store = store
        self._project = project
        self._settings = settings
        self._brokers = Brokers(store.queues)

    async def aclose(self) -> None:
        """Close connections to Redis; the store stays open."""
        await self._brokers.aclose()

    def entry(self, queue: str) -> QueueEntry:
        """Its entry in orchestrator.yaml. Raises TerminalError for a secret that is not set."""
        return queue_entry(self._project().queues, queue, Secrets(self._settings.secrets).get)

    def broker(self, queue: str) -> Broker:
        """Who keeps it. Raises SettingsInvalid, and TerminalError for a secret that is not set."""
        return self._brokers.of(self.entry(queue))

    def in_store(self, queue: str) -> bool:
        """Whether the store keeps it."""
        entry = self._project().queues.get(queue)
        return not (isinstance(entry, dict) and entry.get("url"))

    async def infos(self) -> list[QueueInfo]:
        """Every queue that is declared, consumed or holds messages, by name. Raises Unavailable."""
        consumers: dict[str, set[str]] = {name: set() for name in self._project().queues}
        for one in await self._store.flows.triggers():
            if one.trigger.get("type") == "queue":
                consumers.setdefault(str(one.trigger["queue"]), set()).add(one.flow)
        counts = {one.queue: one for one in await self._store.queues.counts()}
        for name in consumers:
            if not self.in_store(name):
                counts[name] = await self.broker(name).count(name)
        nothing = Counts("", 0, 0, None)
        return [
            QueueInfo(name, held.waiting, held.dead, held.oldest, sorted(consumers.get(name, ())))
            for name in sorted({*consumers, *counts})
            for held in [counts.get(name, nothing)]
        ]

    async def send(
        self,
        queue: str,
        body: Json,
        *,
        id: str | None = None,  # noqa: A002 - the member's name
        key: str | None = None,
        delay: float = 0.0,
    ) -> Sent:
        """Put a message into a queue, due in ``delay`` seconds. What is accepted starts a run of whoever consumes the
        queue, whatever crashes. With the same ``id`` it is one message, however often it is sent; messages of one
        ``key`` start their runs in order. Raises MessageInvalid, TooLarge, SettingsInvalid and Unavailable."""
        _check(queue, body, id, key)
        once = f"sent {uuid.uuid4().hex if id is None else id}"
        try:
            return await self.broker(queue).send(queue, body, once=once, key=key, delay=delay)
        except Refused as error:
            raise MessageInvalid(f"the message was not accepted: {error}") from error


def _check(queue: str, body: Json, id_: str | None, key: str | None) -> None:
    try:
        check_queue_name(queue)
        if key is not None:
            check_message_key(key)
        size = len(json.dumps(body, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise MessageInvalid(f"the message was not accepted: {error}") from error
    if id_ is not None and not 0 < len(id_) <= _LONGEST_ID:
        raise MessageInvalid(f"the message was not accepted: its id is text of 1 to {_LONGEST_ID} characters")
    if size > LARGEST_MESSAGE:
        raise TooLarge(
            f"the message has {size} bytes and may have {LARGEST_MESSAGE}: keep large data elsewhere and send where"
        )
