"""Config of ``emit``: an event of your own."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.base import ActConfig, Duration, act


@act("emit")
class EmitConfig(ActConfig):
    """``event`` is its type; triggers and waits match on it."""

    event: str
    data: Any = None
    source: str | None = None
    subject: str | None = None
    id: str | None = None
    delay: Duration | None = None
