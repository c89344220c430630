"""Config of ``queue``: a message to a queue."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from orchestrator.spec.base import ActConfig, Duration, act
from orchestrator.spec.queues import QueueName

_LONGEST_KEY = 500
"""Characters."""


def check_message_key(value: str) -> str:
    """The key of a message: printable text. Raises ValueError."""
    if not value or len(value) > _LONGEST_KEY or not value.isprintable():
        raise ValueError(f"a key is printable text of 1 to {_LONGEST_KEY} characters")
    return value


@act("queue")
class QueueConfig(ActConfig):
    """``queue`` is declared in ``orchestrator.yaml``."""

    queue: QueueName
    message: Any = None
    delay: Duration | None = None
    key: Annotated[str, AfterValidator(check_message_key)] | None = None
