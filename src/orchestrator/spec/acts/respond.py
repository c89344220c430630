"""Config of ``respond``: the answer to the waiting webhook, while the run goes on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestrator.spec.base import ActConfig, act


@act("respond")
class RespondConfig(ActConfig):
    """An HTTP answer."""

    status: int = Field(200, ge=200, le=599)
    headers: dict[str, str] = Field(default={})
    body: Any = None
