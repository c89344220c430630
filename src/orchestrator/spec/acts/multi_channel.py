"""Config of ``multi-channel``: one piece of news to several places."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, act


@act("multi-channel")
class MultiChannelConfig(ActConfig):
    """Each channel is a mapping of one key: ``email``, ``slack``, ``notification`` or a service's name, to its
    config."""

    channels: list[dict[str, Any]] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_key_each(self) -> MultiChannelConfig:
        names: list[str] = []
        for channel in self.channels:
            if len(channel) != 1:
                raise ValueError("each channel is one key (email, slack, notification or a service) with its config")
            names.extend(channel)
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"the channel `{doubled[0]}` is given twice; the output has one entry per channel")
        return self
