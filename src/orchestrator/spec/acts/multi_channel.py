"""Config of ``multi-channel``: one piece of news to several places."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from orchestrator.spec.acts.email import EmailConfig
from orchestrator.spec.acts.http import Scalar
from orchestrator.spec.acts.notification import NotificationConfig
from orchestrator.spec.acts.slack import SlackConfig
from orchestrator.spec.base import ActConfig, Spec, act


class ServiceChannel(Spec):
    """A call of a service's method, as an ``api`` step makes it. Keys that are none of its own are members of the
    body: ``crm: {action: updateStatus, status: onboarded}``."""

    model_config = ConfigDict(extra="allow")

    method: str | None = None
    action: str | None = None
    """Another word for ``method``."""
    params: dict[str, Any] = Field(default_factory=dict)
    query: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, Scalar] = Field(default_factory=dict)
    body: Any = None

    @model_validator(mode="after")
    def _one_method(self) -> ServiceChannel:
        if (self.method is None) == (self.action is None):
            raise ValueError("a service is called with exactly one of `method` and `action`")
        if self.body is not None and self.__pydantic_extra__:
            first = next(iter(self.__pydantic_extra__))
            raise ValueError(f"`{first}` would be a member of the body, and `body` is given: put it in there")
        return self

    def called(self) -> str:
        """The method."""
        return self.method or self.action or ""

    def content(self) -> Any:
        """The body; None where nothing is given."""
        return self.body if self.body is not None else (dict(self.__pydantic_extra__ or {}) or None)


Delivery = EmailConfig | SlackConfig | NotificationConfig | ServiceChannel


class Channel(Spec):
    """A mapping of one key: ``email``, ``slack``, ``notification`` or a service's name, to its config."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ServiceChannel] = Field(init=False)

    email: EmailConfig | None = None
    slack: SlackConfig | None = None
    notification: NotificationConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_key(cls, value: Any) -> Any:
        if isinstance(value, dict) and (len(value) != 1 or None in value.values()):
            raise ValueError("each channel is one key (email, slack, notification or a service) with its config")
        return value

    def given(self) -> tuple[str, Delivery]:
        """The channel's name and what is sent there."""
        own = {"email": self.email, "slack": self.slack, "notification": self.notification}
        found: list[tuple[str, Delivery]] = [(name, config) for name, config in own.items() if config is not None]
        return (found or list((self.__pydantic_extra__ or {}).items()))[0]


@act("multi-channel")
class MultiChannelConfig(ActConfig):
    """All channels are tried side by side. The output has an entry for each: what it answered, or ``{error}``."""

    channels: list[Channel] = Field(min_length=1)
    require: Literal["any", "all"] = "any"
    """How many have to work for the step to complete: one, or each."""

    @model_validator(mode="after")
    def _one_key_each(self) -> MultiChannelConfig:
        names = [channel.given()[0] for channel in self.channels]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"the channel `{doubled[0]}` is given twice; the output has one entry per channel")
        return self
