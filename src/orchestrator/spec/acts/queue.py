"""Config of ``queue``: a message to a queue."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.base import ActConfig, Duration, act


@act("queue")
class QueueConfig(ActConfig):
    """``queue`` is declared in ``orchestrator.yaml``."""

    queue: str
    message: Any = None
    delay: Duration | None = None
    key: str | None = None
