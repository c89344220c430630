"""What every step may carry around its config (FLOW_FORMAT §3, §6)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from orchestrator.spec.base import Duration, Spec

Json = Any

_NAME = re.compile(r"[\w-]+")


def _name(value: Any) -> Any:
    if isinstance(value, str):
        if "{{" in value:
            raise ValueError("takes no templates: names are fixed when the flow is published")
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} is not a name; use letters, digits, `_` and `-`")
        if len(value) > 100:
            raise ValueError("a name has at most 100 characters")
    return value


Name = Annotated[str, BeforeValidator(_name)]
"""An id that expressions can name: letters of any script, digits, ``_``, ``-``."""

STEPS_SCHEMA: dict[str, Any] = {"type": "array", "items": {"$ref": "#/$defs/Step"}}
Steps = Annotated[list[Any], WithJsonSchema(STEPS_SCHEMA)]
"""A list of steps inside a config; each one is read by itself, so that every problem has its place."""

Expression = Annotated[str | bool | int | float, WithJsonSchema({"type": ["string", "boolean", "number"]})]
"""An expression field: braces optional; a bare YAML literal is a constant expression."""


def _filters(value: list[str]) -> list[str]:
    for item in value:
        if "{{" in item:
            raise ValueError("takes no templates: error filters are fixed when the flow is published")
        if not item.strip():
            raise ValueError("an error filter must not be empty")
    return value


ErrorFilters = Annotated[list[str], AfterValidator(_filters)]
"""Error types, ``http_404``, ``http_4xx``, ``http_5xx``, ``retryable`` or ``*``."""


def _no_template(value: Any) -> Any:
    if isinstance(value, str) and "{{" in value:
        raise ValueError("takes no templates: it is fixed when the flow is published")
    return value


FixedDuration = Annotated[Duration, BeforeValidator(_no_template)]
"""A duration that takes no template."""


class RetryPolicy(Spec):
    """When and how often an attempt is repeated; a key left out is taken from the level around it."""

    max_attempts: int = Field(3, ge=1, le=1000, description="Attempts in all; the first try counts.")
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    initial_interval: FixedDuration = 1.0
    multiplier: float = Field(2.0, ge=1.0)
    max_interval: FixedDuration = 60.0
    jitter: Literal["none", "full"] | Annotated[float, Field(ge=0.0, le=1.0)] = "none"
    max_duration: FixedDuration | None = None
    on: ErrorFilters = Field(default=["retryable"])
    not_on: ErrorFilters = Field(default=[])


class TimeoutSpec(Spec):
    """``attempt`` bounds each try, ``total`` all of them."""

    attempt: FixedDuration | None = None
    total: FixedDuration | None = None

    @model_validator(mode="after")
    def _sensible(self) -> TimeoutSpec:
        for seconds in (self.attempt, self.total):
            if seconds is not None and seconds <= 0:
                raise ValueError("a timeout is longer than 0s")
        if self.attempt is not None and self.total is not None and self.attempt > self.total:
            raise ValueError("`attempt` is longer than `total`, so it could never be used up")
        return self


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("a timeout is longer than 0s")
    return value


PositiveDuration = Annotated[FixedDuration, AfterValidator(_positive)]
"""A fixed duration above zero."""

RetryField = RetryPolicy | Literal["none"]
TimeoutField = PositiveDuration | TimeoutSpec


class Defaults(Spec):
    """What steps inside inherit (flow or block)."""

    retry: RetryField | None = None
    timeout: TimeoutField | None = None
    durability: Literal["step", "express"] | None = None
    task_queue: str | None = None
    priority: Annotated[int, Field(ge=1, le=5)] | None = None


class Cache(Spec):
    """Reuse of a step's output between runs."""

    key: str
    ttl: FixedDuration | None = None
    scope: Literal["flow", "project"] = "flow"


class Step(Spec):
    """A step as written: ``{id?, type, config}`` plus what goes around it. ``config`` is checked by the type's own
    model, steps inside it by this one."""

    id: Name | None = None
    type: str
    config: dict[str, Any] = Field(default={})
    name: str | None = None
    description: str | None = None
    if_: Expression | None = Field(None, alias="if")
    needs: list[Name] | None = None
    retry: RetryField | None = None
    timeout: TimeoutField | None = None
    on_error: Literal["fail", "continue"] | Steps | None = None
    compensate: (
        Annotated[dict[str, Any] | list[Any], WithJsonSchema({"anyOf": [{"$ref": "#/$defs/Step"}, STEPS_SCHEMA]})]
        | None
    ) = None
    compensate_on: Literal["completed", "attempted"] | None = None
    cache: Cache | None = None
    output_schema: dict[str, Any] | None = None
    defaults: Defaults | None = None
    task_queue: str | None = None
    priority: Annotated[int, Field(ge=1, le=5)] | None = None
    at_most_once: bool = False
    counts: bool = Field(True, description="In a parallel: whether this branch can end the race.")
