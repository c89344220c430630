"""Config of ``slack``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, act


@act("slack")
class SlackConfig(ActConfig):
    """A message to a channel. The output is ``{id, channel}``; the id is the ``thread`` of answers to it."""

    channel: str = Field(min_length=1)
    """``#name`` or the id of a channel or of a member."""
    message: str | None = None
    """With ``blocks``, what notifications show."""
    blocks: list[Any] | None = None
    thread: str | None = None
    """The id of the message that this one answers."""
    attachments: list[dict[str, Any]] = Field(default=[])

    @model_validator(mode="after")
    def _says_something(self) -> SlackConfig:
        if self.message is None and self.blocks is None:
            raise ValueError("a slack message needs `message` or `blocks`")
        return self
