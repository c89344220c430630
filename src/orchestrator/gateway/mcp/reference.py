"""How flows are written, for a model that writes one: pages made from the models that loading uses, so that they
say what this release takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from orchestrator.errors import NotFound
from orchestrator.expressions import HELPERS
from orchestrator.spec.base import Duration
from orchestrator.spec.findings import suggestion
from orchestrator.spec.project import Project
from orchestrator.spec.reading import step_types
from orchestrator.spec.schema import flow_schema
from orchestrator.spec.support import STEP_TYPES, TRIGGER_KEYS

Json = Any
Schema = dict[str, Any]

OVERVIEW = "overview"
EXAMPLE = """\
id: order-check
description: Reads an order, has Claude judge it, asks a person where Claude is unsure
expose: {mcp: true}
inputs:
  order_id: string
  limit: {type: number, default: 0.8}
steps:
  - id: order
    type: http
    config: {url: "https://shop.example.com/orders/{{ inputs.order_id }}"}
    retry: {max_attempts: 5}
  - id: judge
    type: claude
    config: {prompt: "Is this order plausible? {{ steps.order.output.body }}"}
    output_schema: {type: object, required: [confidence], properties: {confidence: {type: number}}}
  - id: unsure
    type: condition
    config:
      if: steps.judge.output.confidence < inputs.limit
      then:
        - {id: review, type: human-task, config: {assignee: ops, title: Look at the order, deadline: 24h}}
output: {confidence: "{{ steps.judge.output.confidence }}", reviewed: "{{ steps.unsure.branch == 'then' }}"}
"""
"""A test loads it."""

OUTPUTS = {
    "http": "{status, headers, body}; body is parsed by its content type",
    "api": "the body of the answer",
    "claude": "with `output_schema` the object itself, else {text}",
    "agent": "with `output_schema` the object itself, else {text}",
    "mcp": "the tool's structured content if it has any, else {text, content}",
    "function": "what the function returns",
    "sql": "{rows, count}",
    "file": "by operation",
    "email": "{id, refused: [{address, reason}]}",
    "slack": "{id, channel}",
    "notification": "{id, channels: {way: its output or {error}}}",
    "queue": "{id}",
    "emit": "{id}",
    "multi-channel": "{channel: its output or {error}}",
    "respond": "null",
    "state": "{value, found}; found: whether there was a value before",
    "human-task": "{decision, data, comment, by, at, automatic, due}; a rejection fails the step unless `on_reject`",
    "condition": "of the list that ran, null if none; beside it `.branch`: then, else, none",
    "switch": "of the steps that ran, null if none; beside it `.branch`: number of the case, or default",
    "parallel": "{branch id: its output}; beside it `.finished` and `.winner`",
    "for-each": "list in the order of the items; beside it `.errors`",
    "while": "of the last pass, or a list with `collect: all`; beside it `.passes`",
    "block": "of its last step",
    "try": "of the last step that ran",
    "saga": "of its last step",
    "wait": "null",
    "wait-for-event": "{timed_out, event, events}",
    "flow": "the output of the other flow; with `wait: false` {run_id}",
    "run-steps": "{step id: output}",
    "set": "the new values",
    "transform": "its `value`",
    "return": "none: the run ends with its `output`",
    "fail": "none: the step fails",
}
"""What ``steps.<id>.output`` is by type. A test holds it complete."""

_RULES = """\
- `inputs` is {name: type} or {name: JSON Schema}; an input is required unless it has a `default` or `required: false`.
- A duration is 500ms, 30s, 5m, 24h, 7d, 1h30m, or seconds.
- A step is {id, type, config} and what stands around it. In a list a step waits for all steps above it; `needs: [a]`
  waits for these alone. `parallel: [steps]` and `steps: [steps]` are short for the types parallel and block.
- `{{ … }}` works in texts under config, output, vars; alone in a text it keeps the value's type. `if` takes an
  expression. A missing name is an error: guard with `| default(x)` or `is defined`.
- Names: inputs.x, vars.x (changed by `set`), env.X, steps.ID.output, steps.ID.status, trigger.body, run.id; item and
  loop in loops; error in handlers; secrets.NAME (only in a step's config, never in an output). Only what is over before
  can be named.
- Steps are retried on errors that may pass (`retry`), time out after 5m (`timeout`), and then fail the run unless
  `on_error`.
- `expose: {mcp: true}` makes the flow a tool of this server: its description and inputs are what callers see.
- Check with validate_flow until nothing is found, then publish_flow, then start_run."""

_DURATION = TypeAdapter(Duration).json_schema()["description"]
_STEP_KEYS_LEFT = ("type", "config", "parallel", "steps")


def topics() -> list[str]:
    """Every page there is."""
    return [OVERVIEW, "expressions", "triggers", "project", *step_types()]


def page(topic: str, project: Project) -> str:
    """A page of the reference. Raises NotFound naming the nearest topics."""
    if topic == OVERVIEW:
        return _overview()
    if topic == "expressions":
        return _expressions()
    if topic == "triggers":
        return _triggers()
    if topic == "project":
        return _project(project)
    if topic in step_types():
        return _step_type(topic)
    raise NotFound(f"there is no topic '{topic}': {suggestion(topic, topics())}")


@lru_cache(maxsize=1)
def _schema() -> Schema:
    return flow_schema()


@lru_cache(maxsize=1)
def _overview() -> str:
    schema = _schema()
    types = [f"- {name}: {_about(_config(name)).partition('. ')[0]}{_not_yet(name)}" for name in step_types()]
    step = {key: value for key, value in schema["$defs"]["Step"]["properties"].items() if key not in _STEP_KEYS_LEFT}
    return "\n".join(
        [
            "# A flow\n",
            EXAMPLE,
            "# Rules\n",
            _RULES,
            "\n# Keys of the file\n",
            *_keys(schema),
            "\n# Keys of a step, besides type and config\n",
            *_keys({"properties": step}),
            "\n# Step types (each is a topic)\n",
            *types,
            *_inner({"properties": step}, {"ErrorHandling", "Monitoring"}),
        ]
    )


def _step_type(name: str) -> str:
    config = _config(name)
    about = str(config.get("description", "")).replace("``", "`")
    lines = [f"# {name}{_not_yet(name)}\n", about, "\nconfig:\n", *_keys(config), *_inner(config)]
    return "\n".join([*lines, f"\noutput: {OUTPUTS[name]}"])


def _triggers() -> str:
    lines = ["# Triggers: each starts runs. Calling the flow as a tool or by start_run needs none.\n"]
    for entry in _schema()["$defs"]["Trigger"]["allOf"]:
        name = entry["if"]["properties"]["type"]["const"]
        model = _resolved(entry["then"])
        later = "" if name in TRIGGER_KEYS else " (known, not run by this release)"
        lines += [f"## {name}{later}: {_about(model)}", *_keys(model), ""]
    return "\n".join(lines)


@lru_cache(maxsize=1)
def _expressions() -> str:
    helpers = [f"- {helper.usage}: {helper.doc}" for helper in HELPERS.values()]
    return "\n".join(
        [
            "# Expressions\n",
            "Operators: + - * / // % ~ (joins texts) == != < <= > >= and or not in, `a if c else b`, `x is defined`, "
            "`x is none`, member access x.y and x['y'], `x | helper(…)`. Types never mix by themselves.\n",
            "# Helpers\n",
            *helpers,
        ]
    )


def _project(project: Project) -> str:
    """The names that flows of this project may use; never what is behind them."""
    lines = ["# Names of this project (orchestrator.yaml) that steps may use\n"]
    for section in ("services", "mcp", "agents", "databases", "queues", "contacts", "models", "env"):
        names = sorted(getattr(project, section))
        lines.append(f"- {section}: {', '.join(names) or 'none'}")
    return "\n".join(lines)


def _config(name: str) -> Schema:
    for entry in _schema()["$defs"]["Step"]["allOf"]:
        if entry["if"]["properties"]["type"]["const"] == name:
            return _resolved(entry["then"]["properties"]["config"])
    raise NotFound(f"there is no step type '{name}'")


def _resolved(schema: Schema) -> Schema:
    if "$ref" in schema:
        found: Schema = _schema()["$defs"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def _about(schema: Schema) -> str:
    if _is_duration(schema):
        return ""
    return " ".join(str(schema.get("description", "")).replace("``", "`").split())


def _not_yet(name: str) -> str:
    return "" if name in STEP_TYPES else " (known, not run by this release)"


def _keys(schema: Schema) -> Iterator[str]:
    required = schema.get("required", ())
    for key, member in schema.get("properties", {}).items():
        value = member.get("default")
        note = " (required)" if key in required else "" if value in (None, [], {}, "") else f" = {json.dumps(value)}"
        about = _about(member)
        yield f"- {key}: {_kind(member)}{note}{f'. {about}' if about else ''}"
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict) or (extra is True and not schema.get("properties")):
        yield f"- any name: {_kind(extra) if isinstance(extra, dict) else 'any value'}"


def _inner(schema: Schema, more: frozenset[str] | set[str] = frozenset()) -> Iterator[str]:
    """The models that ``schema`` refers to, each once."""
    pending, seen = [*_references(schema), *sorted(more)], {"Step", "FallbackStep", "Template", "Trigger", "Input"}
    while pending:
        name = pending.pop(0)
        if name in seen:
            continue
        seen.add(name)
        model = _schema()["$defs"][name]
        yield f"\n{name}: {_about(model)}"
        yield from _keys(model)
        pending += _references(model)


def _references(schema: Json) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    if not isinstance(schema, dict):
        return []
    own = [str(schema["$ref"]).rpartition("/")[2]] if "$ref" in schema else []
    return own + [name for key, item in schema.items() if key != "$ref" for name in _references(item)]


def _is_duration(schema: Schema) -> bool:
    return schema.get("description") == _DURATION and "anyOf" in schema


_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false", "object": "mapping", "null": "null"}


def _kind(schema: Json) -> str:
    """What a value may be, in a few words."""
    if not isinstance(schema, dict):
        return "any value"
    if _is_duration(schema):
        return "duration"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(str(choice) for choice in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            kinds = [_kind(item) for item in schema[union]]
            return " | ".join(dict.fromkeys(kind for kind in kinds if kind not in ("null", "Template"))) or "any value"
    return _plain_kind(schema)


def _plain_kind(schema: Schema) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"[{_kind(schema.get('items'))}]"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{{name: {_kind(schema['additionalProperties'])}}}"
    if isinstance(kind, list):
        return " | ".join(_WORDS.get(str(one), str(one)) for one in kind)
    return _WORDS.get(str(kind), str(kind)) if kind else "any value"
