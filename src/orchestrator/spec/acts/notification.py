"""Config of ``notification``."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.base import ActConfig, act


@act("notification")
class NotificationConfig(ActConfig):
    """Tells a contact of ``orchestrator.yaml``, in the way the contact chose."""

    target: str
    message: str | None = None
    data: Any = None
    severity: str | None = None
