"""Config of ``slack``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, act


@act("slack")
class SlackConfig(ActConfig):
    """A message to a channel."""

    channel: str
    message: str | None = None
    blocks: list[Any] | None = None
    thread: str | None = None
    attachments: list[dict[str, Any]] = Field(default=[])

    @model_validator(mode="after")
    def _says_something(self) -> SlackConfig:
        if self.message is None and self.blocks is None:
            raise ValueError("a slack message needs `message` or `blocks`")
        return self
