"""A checked flow to the ``Definition`` a run executes: defaults filled in, nearest first, times in seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator
from pydantic_core import PydanticUndefined

from orchestrator.spec import monitoring
from orchestrator.spec.acts.human_task import ordered_form
from orchestrator.spec.agents import agent_bindings
from orchestrator.spec.base import parse_duration
from orchestrator.spec.control import ControlConfig
from orchestrator.spec.definition import Definition, Node, Retry, Timeout
from orchestrator.spec.findings import is_template
from orchestrator.spec.flow import Flow, Monitoring
from orchestrator.spec.reading import WAITING, Placed
from orchestrator.spec.source import Source
from orchestrator.spec.step import Defaults, RetryField, RetryPolicy, TimeoutField, TimeoutSpec

Json = Any

ATTEMPT = 300.0
TOTAL = 3600.0
"""Seconds an act step may take when nobody says otherwise (FLOW_FORMAT §6)."""


@dataclass(frozen=True)
class Inherited:
    """What blocks around a step hand down, nearest first."""

    retries: tuple[RetryField, ...] = ()
    timeouts: tuple[TimeoutField, ...] = ()
    durability: Literal["step", "express"] = "step"
    task_queue: str | None = None
    priority: int | None = None
    compensate_on: Literal["completed", "attempted"] = "completed"
    """Of the nearest saga around."""

    def within(self, defaults: Defaults | None) -> Inherited:
        """What holds inside a block with these ``defaults``."""
        if defaults is None:
            return self
        return Inherited(
            (defaults.retry, *self.retries) if defaults.retry is not None else self.retries,
            (defaults.timeout, *self.timeouts) if defaults.timeout is not None else self.timeouts,
            defaults.durability or self.durability,
            defaults.task_queue or self.task_queue,
            self.priority if defaults.priority is None else defaults.priority,
            self.compensate_on,
        )

    def as_defaults(self) -> dict[str, Json]:
        """All this in the shape of one ``defaults``, for steps that come only while the flow runs."""
        attempt, total = inherited_timeout(self.timeouts)
        values: dict[str, Json] = {
            "retry": _policy_json(merged_retry(self.retries)),
            "timeout": {name: value for name, value in (("attempt", attempt), ("total", total)) if value is not None},
            "durability": None if self.durability == "step" else self.durability,
            "task_queue": self.task_queue,
            "priority": self.priority,
        }
        return {name: value for name, value in values.items() if value not in (None, {})}


def normalise(
    flow: Flow,
    steps: list[Placed],
    handlers: dict[str, list[Placed]],
    inputs: dict[str, Json],
    env: dict[str, Json],
    source: Source,
) -> Definition:
    """The definition of a flow whose checks passed. ``inputs`` is the object schema, ``env`` the names it may read."""
    inherited = Inherited().within(Defaults(retry=flow.error_handling.retry)).within(flow.defaults)
    build = _Builder(flow, source)
    return Definition(
        flow=flow.id,
        version=flow.version or "",
        hash=content_hash(source.data),
        file=source.file,
        steps=build.nodes(steps, inherited),
        name=flow.name,
        inputs=inputs,
        env=env,
        vars=flow.vars,
        output=flow.output,
        has_output="output" in flow.model_fields_set,
        timeout=flow.timeout,
        handlers={name: build.nodes(placed, inherited) for name, placed in handlers.items() if placed},
        task_queue=flow.defaults.task_queue if flow.defaults else None,
        concurrency=flow.concurrency.model_dump(mode="json") if flow.concurrency else None,
        monitoring=_monitoring(flow.monitoring),
    )


def _monitoring(given: Monitoring | None) -> dict[str, Json] | None:
    if given is None or not (given.metrics or given.alerts):
        return None
    alerts = [
        {
            "condition": " ".join(alert.condition.split()),
            "any": monitoring.to_json(monitoring.read_condition(alert.condition)),
            "channel": alert.channel,
            "message": alert.message,
        }
        for alert in given.alerts
    ]
    return {"metrics": list(dict.fromkeys(given.metrics)), "alerts": alerts}


def normalise_steps(steps: list[Placed], defaults: Defaults, flow: Flow, source: Source) -> tuple[Node, ...]:
    """Steps that come only while a flow runs. ``defaults`` is what their place hands down (``as_defaults``)."""
    return _Builder(flow, source).nodes(steps, Inherited().within(defaults))


def content_hash(data: Mapping[str, Json]) -> str:
    """SHA-256 over the canonical JSON of what the author wrote, ``version`` aside.

    Comments, positions, key order and the file's name do not change it; triggers, labels and everything else a
    version promises do. It is taken before defaults are filled in, so a new release never turns published content
    into other content.
    """
    content = {key: value for key, value in data.items() if key != "version"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class _Builder:
    flow: Flow
    source: Source

    def nodes(self, steps: list[Placed], inherited: Inherited) -> tuple[Node, ...]:
        return tuple(self.node(step, inherited) for step in steps)

    def node(self, placed: Placed, inherited: Inherited) -> Node:
        step = placed.step
        inside = inherited.within(step.defaults)
        line, column = self.source.value_at(placed.path)
        lists = {
            name: self.nodes(children, _body_of_saga(placed, inside) if name == "steps" else inside)
            for name, children in placed.lists.items()
        }
        node = Node(
            id=placed.id,
            type=placed.type,
            source=f"{self.source.file}:{line}:{column}",
            named=placed.named,
            name=step.name,
            condition=_expression(step.if_),
            needs=_needs(placed),
            explicit_needs=bool(step.needs),
            config=_config(placed) | ({"defaults": inside.as_defaults()} if placed.type == "run-steps" else {}),
            lists=lists,
            retry=_own_retry(placed, inherited),
            timeout=_own_timeout(placed, inherited),
            on_error=_on_error(placed),
            compensate_on=step.compensate_on or inherited.compensate_on,
            output_schema=step.output_schema,
            cache=step.cache.model_dump(mode="json", exclude_none=True) if step.cache else None,
            bindings=_bindings(self.flow, placed),
            counts=step.counts,
        )
        if not placed.is_act and placed.type != "flow":
            return replace(node, durability=inside.durability)
        return replace(
            node,
            task_queue=step.task_queue or _text(placed.config.get("task_queue")) or inherited.task_queue,
            priority=inherited.priority if step.priority is None else step.priority,
            durability=inherited.durability,
            at_most_once=step.at_most_once,
        )


def _body_of_saga(placed: Placed, inside: Inherited) -> Inherited:
    """What holds for the steps of a saga; for those of any other step nothing changes."""
    if placed.type != "saga":
        return inside
    own = placed.config.get("compensate_on", "completed")
    return replace(inside, compensate_on=own)


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _on_error(placed: Placed) -> Literal["fail", "continue", "steps"]:
    if "on_error" in placed.lists:
        return "steps"
    return "continue" if placed.step.on_error == "continue" else "fail"


def _needs(placed: Placed) -> tuple[str, ...] | None:
    if placed.step.needs is not None:
        return tuple(dict.fromkeys(placed.step.needs))
    return () if placed.list_name == "branches" else None


def _expression(value: Json) -> str | None:
    """An expression field as source text; a bare YAML literal becomes the constant it is."""
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _own_retry(placed: Placed, inherited: Inherited) -> Retry | None:
    if placed.type == "try":
        raw = placed.config.get("retry")
        own = RetryPolicy.model_validate(raw) if isinstance(raw, dict) else None
        return merged_retry((own,)) if own else None
    if not placed.is_act and placed.type != "flow":
        return None
    own_retry = placed.step.retry
    return merged_retry(inherited.retries if own_retry is None else (own_retry, *inherited.retries))


def merged_retry(layers: tuple[RetryField, ...]) -> Retry | None:
    """Policies nearest first to one, key by key. ``none`` cuts off everything beyond it, and means no retry where it
    is the nearest."""
    values: dict[str, Json] = {}
    for depth, layer in enumerate(layers):
        if layer == "none":
            if depth == 0:
                return None
            break
        assert isinstance(layer, RetryPolicy)
        for key in layer.model_fields_set:
            values.setdefault(key, getattr(layer, key))
    for key in ("on", "not_on"):
        if key in values:
            values[key] = tuple(values[key])
    if "jitter" in values:
        jitter = values["jitter"]
        values["jitter"] = {"none": 0.0, "full": 1.0}.get(jitter, jitter) if isinstance(jitter, str) else float(jitter)
    return Retry(**values)


def _policy_json(retry: Retry | None) -> Json:
    if retry is None:
        return "none"
    return {**asdict(retry), "on": list(retry.on), "not_on": list(retry.not_on)}


def _own_timeout(placed: Placed, inherited: Inherited) -> Timeout:
    own = placed.step.timeout
    if not placed.is_act:
        if isinstance(own, TimeoutSpec):
            return Timeout(own.attempt, own.total)
        return Timeout(None, own)
    attempt, total = inherited_timeout(inherited.timeouts if own is None else (own, *inherited.timeouts))
    attempt_limit = ATTEMPT if attempt is None else attempt
    if total is None:
        # Somebody who allows an attempt of two hours did not mean it to be cut off after one.
        return Timeout(attempt_limit, max(TOTAL, attempt_limit))
    return Timeout(min(attempt_limit, total), total)


def inherited_timeout(layers: tuple[TimeoutField, ...]) -> tuple[float | None, float | None]:
    """Seconds per attempt and in total, each from the nearest layer that gives it."""
    attempt: float | None = None
    total: float | None = None
    for layer in layers:
        spec = layer if isinstance(layer, TimeoutSpec) else TimeoutSpec(attempt=layer)
        attempt = spec.attempt if attempt is None else attempt
        total = spec.total if total is None else total
    return attempt, total


def _config(placed: Placed) -> dict[str, Json]:
    config = seconds(placed.model, placed.config)
    if issubclass(placed.model, ControlConfig):
        if placed.type == "try":
            config.pop("retry", None)
            config["catch"] = [{"on": ["*"], **catch} for catch in config.get("catch", [])]
        for key in sorted(placed.model.expressions & config.keys()):
            if isinstance(config[key], bool | int | float) and key != "wait_for":
                config[key] = _expression(config[key])
    if issubclass(placed.model, ControlConfig) or placed.type == WAITING:
        config = _defaults(placed.model) | config
        for key in placed.lists:
            config.pop(key, None)
    if placed.type == WAITING and isinstance(config.get("form"), dict):
        config["form"] = ordered_form(config["form"])
    return config


@lru_cache(maxsize=256)
def _default_values(model: type[BaseModel]) -> str:
    lists = {pattern[0] for pattern in model.lists} if issubclass(model, ControlConfig) else set[str]()
    values: dict[str, Json] = {}
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        if default is PydanticUndefined or default is None or (field.alias or name) in lists:
            continue
        values[field.alias or name] = default
    return json.dumps(values, default=_plain)


def _plain(value: object) -> Json:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else list(value)  # type: ignore[call-overload]


def _defaults(model: type[BaseModel]) -> dict[str, Json]:
    values: dict[str, Json] = json.loads(_default_values(model))
    return values


def seconds(model: type[BaseModel], raw: dict[str, Json]) -> dict[str, Json]:
    """A config with every duration that is not a template in seconds, also in models inside it."""
    kinds = _duration_fields(model)
    if not kinds:
        return dict(raw)
    return {key: _seconds(kinds[key], value) if key in kinds else value for key, value in raw.items()}


_Kind = Literal["duration"] | type[BaseModel]


def _seconds(kind: _Kind, value: Json) -> Json:
    if kind == "duration":
        if isinstance(value, str | int | float) and not isinstance(value, bool) and not is_template(value):
            return parse_duration(value)
        return value
    assert not isinstance(kind, str)
    if isinstance(value, dict):
        return seconds(kind, value)
    if isinstance(value, list):
        return [seconds(kind, item) if isinstance(item, dict) else item for item in value]
    return value


@lru_cache(maxsize=256)
def _duration_fields(model: type[BaseModel]) -> dict[str, _Kind]:
    found: dict[str, _Kind] = {}
    for name, field in model.model_fields.items():
        kind = _duration_kind(field.annotation, tuple(field.metadata))
        if kind is not None:
            found[field.alias or name] = kind
    return found


def _duration_kind(annotation: Any, metadata: tuple[Any, ...] = ()) -> _Kind | None:
    if any(isinstance(item, BeforeValidator) and item.func is parse_duration for item in metadata):
        return "duration"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if _duration_fields(annotation) else None
    for argument in get_args(annotation):
        kind = _duration_kind(argument, tuple(getattr(argument, "__metadata__", ())))
        if kind is not None:
            return kind
    return None


_BOUND = {"api": (("services", "service"),), "mcp": (("mcp", "server"),)}


def _bindings(flow: Flow, placed: Placed) -> dict[str, dict[str, Json]]:
    """The flow's own catalogue entries that a step names; all of a kind where the name is computed."""
    if placed.type == "agent":
        return agent_bindings(flow, placed.config)
    catalogues = {"services": flow.services, "mcp": flow.mcp}
    wanted: dict[str, dict[str, Json]] = {}

    def bind(kind: str, name: Json) -> None:
        entries = catalogues[kind]
        chosen = entries if is_template(name) else {key: value for key, value in entries.items() if key == name}
        if chosen:
            wanted[kind] = wanted.get(kind, {}) | chosen

    for kind, key in _BOUND.get(placed.type, ()):
        bind(kind, placed.config.get(key))
    if placed.type == "multi-channel":
        for channel in placed.config.get("channels") or []:
            for name in channel if isinstance(channel, dict) else ():
                bind("services", name)
    return wanted
