"""Config of ``email``."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.spec.base import ActConfig, act


@act("email")
class EmailConfig(ActConfig):
    """A message to ``to``, written in place (``text``, ``html``) or from a ``template`` filled with ``data``."""

    to: str | list[str] | None = None
    cc: str | list[str] = Field(default=[])
    bcc: str | list[str] = Field(default=[])
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    template: str | None = None
    data: Any = None
    attachments: list[dict[str, Any]] = Field(default=[])
    contact: str | None = None

    @model_validator(mode="after")
    def _addressed(self) -> EmailConfig:
        if self.to is None and self.contact is None:
            raise ValueError("an email needs `to` or `contact`")
        return self
