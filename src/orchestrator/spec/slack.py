"""The Slack workspace as it is declared: ``slack`` of orchestrator.yaml."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.base import Spec
from orchestrator.spec.findings import Findings, check_model

Json = Any


class SlackWorkspace(Spec):
    """How messages get to Slack: with the ``token`` of an app to any channel it is in, or through the incoming webhook
    of one channel."""

    token: str | None = Field(None, min_length=1)
    """A bot token (``xoxb-…``) with the scope ``chat:write``."""
    webhooks: dict[str, str] = Field(default_factory=dict)
    """Channel to the address of its incoming webhook; they go before the token."""
    channel: str | None = Field(None, min_length=1)
    """Where alerts go that name only ``slack``."""
    api: str = Field("https://slack.com/api", pattern=r"^https?://[^/?#\s]")

    @model_validator(mode="after")
    def _some_way(self) -> SlackWorkspace:
        if self.token is None and not self.webhooks:
            raise ValueError("write `token`, `webhooks`, or both")
        return self


def check_slack(entry: Json, findings: Findings) -> None:
    """Report what could never work in ``slack``. A text with a secret in it stands for any text."""
    if entry:
        check_model(SlackWorkspace, entry, findings, ("slack",), " in `slack`", templates=True)
