"""Sending messages to queues, for everybody who is no step."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from orchestrator.errors import Refused, TooLarge
from orchestrator.spec.acts.queue import check_message_key
from orchestrator.spec.definition import Json
from orchestrator.spec.queues import check_queue_name
from orchestrator.store.database import Store
from orchestrator.store.queues import LARGEST_MESSAGE, Sent

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


async def queue_infos(store: Store, declared: Iterable[str]) -> list[QueueInfo]:
    """Every queue that is declared, consumed or holds messages, by name. Raises Unavailable."""
    consumers: dict[str, list[str]] = {name: [] for name in declared}
    for one in await store.flows.triggers():
        if one.trigger.get("type") == "queue":
            consumers.setdefault(str(one.trigger["queue"]), []).append(one.flow)
    counts = {one.queue: one for one in await store.queues.counts()}
    found = []
    for name in sorted({*consumers, *counts}):
        held = counts.get(name)
        taking = sorted(set(consumers.get(name, [])))
        if held is None:
            found.append(QueueInfo(name, 0, 0, None, taking))
        else:
            found.append(QueueInfo(name, held.waiting, held.dead, held.oldest, taking))
    return found


async def send_message(
    store: Store,
    queue: str,
    body: Json,
    *,
    id: str | None = None,  # noqa: A002 - the member's name
    key: str | None = None,
    delay: float = 0.0,
) -> Sent:
    """Put a message into a queue, due in ``delay`` seconds. What is accepted starts a run of whoever consumes the
    queue, whatever crashes. With the same ``id`` it is one message, however often it is sent; messages of one ``key``
    start their runs in order. Raises MessageInvalid, TooLarge and Unavailable."""
    try:
        check_queue_name(queue)
        if key is not None:
            check_message_key(key)
        size = len(json.dumps(body, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise MessageInvalid(f"the message was not accepted: {error}") from error
    if id is not None and not 0 < len(id) <= _LONGEST_ID:
        raise MessageInvalid(f"the message was not accepted: its id is text of 1 to {_LONGEST_ID} characters")
    if size > LARGEST_MESSAGE:
        raise TooLarge(
            f"the message has {size} bytes and may have {LARGEST_MESSAGE}: keep large data elsewhere and send where"
        )
    once = f"sent {uuid.uuid4().hex if id is None else id}"
    return await store.queues.send(queue, body, once=once, key=key, delay=delay)
