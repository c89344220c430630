"""Config models of the step types that the engine itself carries out (FLOW_FORMAT §5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from orchestrator.spec.base import Duration, Spec
from orchestrator.spec.step import (
    ErrorFilters,
    Expression,
    FixedDuration,
    Name,
    PositiveDuration,
    RetryField,
    Steps,
)

Json = Any


class ControlConfig(Spec):
    """Config of a step that is no activity of its own."""

    template_free: ClassVar[frozenset[str]] = frozenset()
    """Top-level keys that must not be templates."""
    expressions: ClassVar[frozenset[str]] = frozenset()
    """Keys that hold an expression, not a template."""
    lists: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Where steps are inside the config; ``*`` is every item of a list."""
    loop: ClassVar[bool] = False


_Config = TypeVar("_Config", bound=type[ControlConfig])

CONTROLS: dict[str, type[ControlConfig]] = {}
"""Control step types by name."""


def control(name: str) -> Callable[[_Config], _Config]:
    """Register a config model under the ``type`` authors write."""

    def register(config: _Config) -> _Config:
        CONTROLS[name] = config
        return config

    return register


def _exactly_one(config: Spec, keys: tuple[str, ...]) -> None:
    given = [key for key in keys if key in config.model_fields_set]
    if len(given) != 1:
        listed = ", ".join(f"`{key.rstrip('_')}`" for key in keys)
        found = " and ".join(f"`{key.rstrip('_')}`" for key in given) or "none"
        raise ValueError(f"give exactly one of {listed}; found {found}")


@control("condition")
class ConditionConfig(ControlConfig):
    """Runs ``then`` or ``else``."""

    expressions = frozenset({"if"})
    lists = (("then",), ("else",))

    if_: Expression = Field(alias="if")
    then: Steps = Field(default=[])
    else_: Steps = Field(default=[], alias="else")


class SwitchCase(Spec):
    """One case: ``equals`` compares with the switch's ``value``, ``if`` is an expression."""

    equals: Any = None
    if_: Expression | None = Field(None, alias="if")
    steps: Steps

    @model_validator(mode="after")
    def _one_test(self) -> SwitchCase:
        _exactly_one(self, ("equals", "if_"))
        return self


@control("switch")
class SwitchConfig(ControlConfig):
    """Runs the steps of the first case that matches."""

    expressions = frozenset({"value"})
    lists = (("cases", "*", "steps"), ("default",))

    value: Expression | None = None
    cases: list[SwitchCase] = Field(min_length=1)
    default: Steps = Field(default=[])

    @model_validator(mode="after")
    def _has_value(self) -> SwitchConfig:
        if "value" not in self.model_fields_set and any("equals" in case.model_fields_set for case in self.cases):
            raise ValueError("a case with `equals` needs the switch's `value`")
        return self


@control("parallel")
class ParallelConfig(ControlConfig):
    """Runs branches side by side."""

    template_free = frozenset({"losers", "on_failure"})
    expressions = frozenset({"wait_for"})
    lists = (("branches",),)

    branches: Steps = Field(min_length=1)
    wait_for: Annotated[
        str | int,
        WithJsonSchema({"anyOf": [{"enum": ["all", "any", "majority"]}, {"type": ["integer", "string"]}]}),
    ] = "all"
    losers: Literal["cancel", "finish"] = "cancel"
    on_failure: Literal["fail_fast", "finish_all"] = "fail_fast"


_SHARE = re.compile(r"(?:100|[0-9]{1,2})(?:\.[0-9]+)?%")


def _tolerance(value: Any) -> Any:
    if isinstance(value, str) and value != "all" and "{{" not in value and not _SHARE.fullmatch(value):
        raise ValueError(f"{value!r} is not a tolerance; write a number, a share such as 10%, or all")
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        raise ValueError("a tolerance is 0 or more")
    return value


@control("for-each")
class ForEachConfig(ControlConfig):
    """Runs steps once per item."""

    template_free = frozenset({"as", "collect"})
    expressions = frozenset({"items", "until"})
    lists = (("steps",),)
    loop = True

    items: Annotated[Any, WithJsonSchema({"type": ["string", "array", "object", "integer"]})]
    as_: Name = Field("item", alias="as")
    steps: Steps = Field(min_length=1)
    concurrency: int = Field(1, ge=1, le=200)
    batch_size: int | None = Field(None, ge=1)
    tolerate: Annotated[str | int, BeforeValidator(_tolerance)] = 0
    until: Expression | None = None
    collect: Literal["all", "none"] = "all"


@control("while")
class WhileConfig(ControlConfig):
    """Repeats steps."""

    template_free = frozenset({"timeout", "collect"})
    expressions = frozenset({"while", "until"})
    lists = (("steps",),)
    loop = True

    while_: Expression | None = Field(None, alias="while")
    until: Expression | None = None
    steps: Steps = Field(min_length=1)
    max_iterations: int | None = Field(None, ge=1)
    timeout: PositiveDuration | None = None
    interval: Duration = 0.0
    collect: Literal["last", "all", "none"] = "last"

    @model_validator(mode="after")
    def _bounded(self) -> WhileConfig:
        _exactly_one(self, ("while_", "until"))
        if self.max_iterations is None and self.timeout is None:
            raise ValueError("a while needs a bound: give `max_iterations`, `timeout` or both")
        return self


@control("block")
class BlockConfig(ControlConfig):
    """Runs steps as one."""

    lists = (("steps",),)

    steps: Steps = Field(min_length=1)


class Catch(Spec):
    """What runs on which errors."""

    on: ErrorFilters = Field(default=["*"])
    steps: Steps


@control("try")
class TryConfig(ControlConfig):
    """Runs steps and catches their errors."""

    template_free = frozenset({"retry"})
    lists = (("steps",), ("catch", "*", "steps"), ("finally",))

    steps: Steps = Field(min_length=1)
    catch: list[Catch] = Field(default=[])
    finally_: Steps = Field(default=[], alias="finally")
    retry: RetryField | None = None


@control("saga")
class SagaConfig(ControlConfig):
    """A scope of compensations."""

    template_free = frozenset({"compensate_on", "commit"})
    lists = (("steps",),)

    steps: Steps = Field(min_length=1)
    compensate_on: Literal["completed", "attempted"] = "completed"
    commit: bool = False


@control("wait")
class WaitConfig(ControlConfig):
    """Waits for a length of time or until an instant."""

    duration: Duration | None = None
    until: str | None = None

    @model_validator(mode="after")
    def _one(self) -> WaitConfig:
        _exactly_one(self, ("duration", "until"))
        return self


@control("wait-for-event")
class WaitForEventConfig(ControlConfig):
    """Waits for an event, a signal or a callback."""

    template_free = frozenset({"timeout", "signal", "callback", "mode", "on_timeout", "include_trigger"})
    expressions = frozenset({"if"})

    event: str | list[str] | None = None
    signal: Name | None = None
    callback: Literal[True] | None = None
    mode: Literal["any", "all"] = "any"
    correlate: dict[str, Any] = Field(default={})
    if_: Expression | None = Field(None, alias="if")
    timeout: FixedDuration | None = None
    on_timeout: Literal["fail", "continue"] = "fail"
    include_trigger: bool = False

    @model_validator(mode="after")
    def _one(self) -> WaitForEventConfig:
        _exactly_one(self, ("event", "signal", "callback"))
        return self


@control("flow")
class FlowConfig(ControlConfig):
    """Runs another flow."""

    template_free = frozenset({"version", "wait"})

    flow: str
    version: str | int | float | None = None
    inputs: dict[str, Any] = Field(default={})
    wait: bool = True


@control("run-steps")
class RunStepsConfig(ControlConfig):
    """Runs steps that were computed at run time."""

    template_free = frozenset({"allow"})

    steps: Annotated[Any, WithJsonSchema({"type": ["string", "array"]})]
    allow: list[str] = Field(min_length=1)
    max_steps: int = Field(50, ge=1, le=1000)


@control("set")
class SetConfig(ControlConfig):
    """Gives new values to vars: ``{var: value}``."""

    model_config = ConfigDict(extra="allow")


@control("transform")
class TransformConfig(ControlConfig):
    """Its ``value`` is the output."""

    value: Any


@control("return")
class ReturnConfig(ControlConfig):
    """Ends the run."""

    template_free = frozenset({"status"})

    output: Any = None
    status: Literal["completed", "cancelled"] = "completed"


@control("fail")
class FailConfig(ControlConfig):
    """Fails the step with an error of your own."""

    type: str = "failed"
    message: str
    data: Any = None
