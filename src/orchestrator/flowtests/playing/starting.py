"""What a case starts its run with: the trigger's scope and the inputs, as the door would make them of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from orchestrator.client.triggers import Declared
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import InputsInvalid, Refused
from orchestrator.expressions import Names, compile_value
from orchestrator.gateway.deliveries import is_text_only
from orchestrator.spec.definition import Definition, Envelope
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.inputs import check_inputs
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.moment import moment_text
from orchestrator.spec.project import Project

Json = Any


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was started."""

    reason: str


def envelope_of(case: FlowCase, flow: LoadedFlow, project: Project) -> Envelope | Refusal:
    """Everything the run is started with, or why its door would start none."""
    # How many runs may go on at once, and who is told of slow ones, says nothing about one run of its own.
    definition = replace(flow.definition, concurrency=None, monitoring=None)
    env = {name: project.env.get(name, default) for name, default in definition.env.items()} | case.env
    try:
        trigger, given = _start(case, flow)
        if trigger is None:
            return Refusal("the trigger's `if` is false")
        inputs = check_inputs(definition.flow, definition.inputs, given)
    except (InputsInvalid, Refused) as error:
        return Refusal(str(error))
    return Envelope(definition=definition, inputs=inputs, env=env, trigger=trigger, test=True)


def _start(case: FlowCase, flow: LoadedFlow) -> tuple[dict[str, Json] | None, dict[str, Json]]:
    """The trigger's scope (None where its ``if`` is false) and the inputs it gives. Raises InputsInvalid, Refused."""
    start = case.trigger
    now = moment_text(datetime.now(UTC))
    if start is None or start.type == "api":
        inputs = case.inputs if start is None or not isinstance(start.body, dict) else case.inputs | start.body
        by = {"by": start.by} if start is not None and start.by else {}
        return {"type": "api", "id": "api", "time": now, "body": inputs, **by}, inputs
    declared = next(one for one in flow.triggers if one["type"] == start.type and start.id in (None, str(one["id"])))
    scope = _scope(case, declared, now)
    rules = Rules(Declared(flow.definition.flow, flow.definition.version, str(declared["id"]), declared))
    seen: dict[str, Json] = {"trigger": scope}
    if start.type == "event":
        seen["event"] = dict(scope["event"]) | {"data": scope["body"]}
    if not rules.applies(seen):
        return None, {}
    given = rules.inputs(scope)
    return scope, _converted(given, declared, flow.definition) if start.type == "webhook" else given


def _converted(given: dict[str, Json], declared: dict[str, Json], definition: Definition) -> dict[str, Json]:
    """Inputs of a webhook that came as text, as what they are declared."""
    known = definition.inputs.get("properties", {})
    for name, template in (declared.get("inputs") or {}).items():
        if name in known and is_text_only(compile_value(template, Names())):
            schema = {"type": "object", "properties": {name: known[name]}}
            given = given | check_inputs(definition.flow, schema, {name: given[name]}, convert_text=True)
    return given


def _scope(case: FlowCase, declared: dict[str, Json], now: str) -> dict[str, Json]:
    given = {name: value for name, value in case.given.items() if name not in ("type", "id")}
    scope: dict[str, Json] = {"type": declared["type"], "id": declared["id"], "time": now, "body": {}} | given
    match declared["type"]:
        case "webhook":
            headers = {str(name).lower(): value for name, value in (scope.get("headers") or {}).items()}
            path = {"method": declared.get("method", "POST"), "path": declared.get("path")}
            empty: dict[str, Json] = {"params": {}, "query": {}, "files": {}, "delivery_id": "test", "ip": "127.0.0.1"}
            scope = path | empty | scope | {"headers": headers}
        case "schedule":
            scope.setdefault("scheduled_time", now)
        case "event":
            event = {"id": "test", "source": "test", "subject": None, "time": now, "type": _type(declared)}
            scope["event"] = event | (scope.get("event") or {}) | {"depth": 0}
        case "queue":
            scope = {"message_id": "test", "queue": declared.get("queue")} | scope
        case "file":
            file = {"name": "file", "path": "file", "size": 0, "sha256": "", "content_type": None, "ref": None}
            scope["file"] = file | (scope.get("file") or {})
            scope["body"] = {"file": scope["file"]}
    return scope


def _type(declared: dict[str, Json]) -> str:
    """The event's type where the case leaves it open and the trigger takes one only."""
    return str(declared.get("event") or declared.get("source") or "test")
