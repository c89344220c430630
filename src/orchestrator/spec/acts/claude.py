"""Config of the ``claude`` step (FLOW_FORMAT §9)."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from orchestrator.spec.base import ActConfig, Spec, act


def _refuse_sampling(value: Any, info: ValidationInfo) -> Any:
    raise ValueError(
        f"'{info.field_name}' is no longer a parameter of the Claude API: steer the answer with the prompt "
        "or with 'effort'"
    )


def _as_text(value: Any) -> Any:
    """A prompt made of one template may be any JSON value: Claude reads it as JSON text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


Sampling = Annotated[None, BeforeValidator(_refuse_sampling), WithJsonSchema({"not": {}})]
Text = Annotated[str, BeforeValidator(_as_text), WithJsonSchema({"type": "string"})]
"""Text, or a template whose value becomes JSON text."""


class ClaudeMessage(Spec):
    """One turn of a conversation; ``content`` is text or the API's content blocks."""

    role: Literal["user", "assistant"]
    content: str | list[dict[str, Any]]


class ClaudeBudget(Spec):
    """What one attempt of the step may consume at most: US dollars, and tokens in and out together."""

    max_cost: float | None = Field(default=None, gt=0, strict=False)
    max_tokens: int | None = Field(default=None, gt=0)


class ClaudeAttachment(Spec):
    """An image, PDF or text that Claude reads beside the prompt: exactly one of ``file``, ``url`` and ``base64``."""

    file: str | None = Field(default=None, min_length=1)
    """Relative to the project folder, inside one of its file roots (``data/`` unless configured)."""
    url: str | None = Field(default=None, min_length=1)
    """An image or PDF that the API fetches itself."""
    base64: str | None = Field(default=None, min_length=1)
    media_type: str | None = Field(default=None, min_length=1)
    """Such as ``image/png``; needed with ``base64``, and where the name's ending does not tell."""
    title: str | None = Field(default=None, min_length=1)
    """Of a PDF or text; empty: the file's name."""

    @model_validator(mode="after")
    def _one(self) -> ClaudeAttachment:
        if sum(given is not None for given in (self.file, self.url, self.base64)) != 1:
            raise ValueError("an attachment is exactly one of `file`, `url` and `base64`")
        if self.base64 is not None and self.media_type is None:
            raise ValueError("`base64` needs `media_type`, such as image/png or application/pdf")
        return self


@act("claude")
class ClaudeConfig(ActConfig):
    """One question to Claude. With the step's ``output_schema`` the answer is an object of that shape."""

    model: str | None = Field(default=None, min_length=1)
    """A model id, or an alias of ``models`` in orchestrator.yaml; empty: the alias ``default``."""
    prompt: Text | None = None
    messages: list[ClaudeMessage] | None = Field(default=None, min_length=1)
    system: Text | None = None
    max_tokens: int = Field(default=4096, ge=1)
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    thinking: Literal["adaptive", "between_tools", "disabled"] | dict[str, Any] | None = None
    cache: bool | Literal["5m", "1h"] = False
    """Prompt caching, and how long the cache lives."""
    stop: list[str] | None = None
    budget: ClaudeBudget | None = None
    attachments: list[ClaudeAttachment] | None = Field(default=None, max_length=100)
    fallback_models: list[Annotated[str, Field(min_length=1)]] | None = Field(default=None, max_length=10)
    """Asked in this order when the model before is overloaded or unavailable, unknown to the API, or declines."""
    temperature: Sampling = None
    top_p: Sampling = None
    top_k: Sampling = None

    @model_validator(mode="after")
    def _one_question(self) -> ClaudeConfig:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("write exactly one of 'prompt' and 'messages'")
        return self
