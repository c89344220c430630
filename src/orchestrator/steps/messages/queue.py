"""The ``queue`` step: a message to a queue, for the flow that consumes it."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.errors import Refused, SettingsInvalid, StepError, TerminalError, Unavailable
from orchestrator.spec.acts.queue import QueueConfig
from orchestrator.spec.queues import queue_entry
from orchestrator.steps.context import STORE, StepContext
from orchestrator.store.brokers import Broker, Brokers
from orchestrator.store.database import Store
from orchestrator.store.queues import LARGEST_MESSAGE

Json = Any

TYPE = "queue"
CONFIG = QueueConfig
_BROKERS = "queue brokers"


async def run(config: QueueConfig, context: StepContext) -> Json:
    """``{"id"}`` of the message; attempts of one step send the same.

    Raises TerminalError ``message_too_large``, ``secret_in_message``, ``invalid_config``,
    ``store_missing``; StepError ``queue_unavailable``.
    """
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        raise TerminalError("store_missing", "this worker has no store, and messages are kept there")
    told = {"message": config.message, "key": config.key}
    if context.secrets.mask(told) != told:
        raise TerminalError(
            "secret_in_message",
            f"the message for '{config.queue}' holds a secret, and queues keep no secrets; whoever takes the message "
            "can read the secret by its name",
        )
    size = len(json.dumps(config.message))
    if size > LARGEST_MESSAGE:
        raise TerminalError(
            "message_too_large",
            f"the message for '{config.queue}' has {size} bytes and may have {LARGEST_MESSAGE}: keep large data in a "
            "file and send its path",
        )
    try:
        broker = await _broker(config.queue, store, context)
        sent = await broker.send(
            config.queue,
            config.message,
            once=f"step {context.idempotency_key}",
            key=config.key,
            delay=config.delay or 0.0,
        )
    except Unavailable as error:
        raise StepError("queue_unavailable", str(error)) from error
    except (Refused, SettingsInvalid) as error:
        raise TerminalError("invalid_config", str(error)) from error
    return {"id": sent.id}


async def _broker(queue: str, store: Store, context: StepContext) -> Broker:
    async def opened() -> Brokers:
        return Brokers(store.queues)

    brokers = await context.resources.shared(_BROKERS, opened)
    return brokers.of(queue_entry(context.project.queues, queue, context.secrets.get))
