"""Config of ``respond``: the answer to the waiting webhook, while the run goes on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestrator.spec.base import ActConfig, act
from orchestrator.spec.webhooks import AnswerHeaders


@act("respond")
class RespondConfig(ActConfig):
    """The answer to the webhook that started the run and waits with ``respond: result``. The first one counts. A text
    is sent as it is, any other value as JSON, nothing as an empty body."""

    status: int = Field(200, ge=200, le=599)
    headers: AnswerHeaders = Field(default={})
    body: Any = None
