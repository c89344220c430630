"""Config of ``notification``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orchestrator.spec.base import ActConfig, act


@act("notification")
class NotificationConfig(ActConfig):
    """Tells a contact of ``orchestrator.yaml`` in every way it declares, the members of a group each in theirs. The
    output is ``{id, channels}``."""

    target: str = Field(min_length=1)
    message: str | None = None
    """Without it, which step of which flow tells."""
    data: Any = None
    """Shown below the message; webhooks get it as it is."""
    severity: Literal["info", "warning", "error", "critical"] = "info"
    require: Literal["any", "all"] = "any"
    """How many of its ways have to work for the step to complete: one, or each."""
