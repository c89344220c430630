"""Config of the ``claude`` step (FLOW_FORMAT §9)."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from orchestrator.spec.base import ActConfig, Spec, act
from orchestrator.spec.later import Later


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
    attachments: Later = None
    fallback_models: Later = None
    temperature: Sampling = None
    top_p: Sampling = None
    top_k: Sampling = None

    @model_validator(mode="after")
    def _one_question(self) -> ClaudeConfig:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("write exactly one of 'prompt' and 'messages'")
        return self
