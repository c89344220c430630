"""What a run that a schedule started is admitted with: its trigger, and the inputs that the trigger maps."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator import admission
from orchestrator.errors import FieldProblem, InputsInvalid, Refused
from orchestrator.expressions import ExpressionError, Meter, Names, compile_expression, compile_value
from orchestrator.settings import Settings
from orchestrator.spec.definition import Envelope, Json
from orchestrator.spec.project import Project
from orchestrator.spec.schedules import named_triggers, of_schedule
from orchestrator.store.database import Store


async def admit_scheduled(
    store: Store, project: Project, settings: Settings, flow: str, body: Json, start: Mapping[str, Json], **more: Any
) -> Envelope:
    """The envelope of a run that a schedule started. ``start`` is ``{"schedule", "time"}``; ``more`` as in
    ``admission.admit``, and all it raises. A schedule that is not ours brings its inputs along, as any Temporal client
    does; of one of ours the trigger has to be there still: Refused. Where its ``if`` is false the run is to end at
    once, having done nothing."""
    ours = of_schedule(str(start["schedule"]))
    name = str(start["schedule"]) if ours is None or ours[0] != flow else ours[1]
    trigger = {
        "type": "schedule",
        "id": name,
        "time": admission.now_text(),
        "scheduled_time": start["time"],
        "body": {} if body is None else body,
    }
    if ours is None or ours[0] != flow:
        return await admission.admit(store, project, settings, flow, body, trigger=trigger, **more)
    found = await store.flows.current(flow)
    declared = named_triggers(found.triggers, "schedule").get(name)
    if declared is None or not declared.get("enabled", True):
        raise Refused(
            f"version {found.version} of flow '{flow}' has no schedule '{name}' (any more): its Temporal schedule goes "
            "when a gateway sees that"
        )
    if not _applies(name, declared.get("if"), trigger):
        if not found.enabled:
            raise Refused(f"flow '{flow}' is disabled; enable it to start runs")
        skip = f"nothing was done: the `if` of schedule '{name}' is false for {trigger['scheduled_time']}"
        return Envelope(found.definition, trigger=trigger, root=str(more.get("run_id") or ""), skip=skip)
    inputs = _inputs(flow, declared.get("inputs"), trigger)
    return await admission.admit(
        store, project, settings, flow, body, inputs=inputs, version=found.version, trigger=trigger, **more
    )


def _applies(name: str, written: Json, trigger: dict[str, Json]) -> bool:
    """What the trigger's ``if`` says. Raises Refused where that cannot be told."""
    if written is None:
        return True
    text = str(written).lower() if isinstance(written, bool) else str(written)
    try:
        return compile_expression(text, Names()).evaluate_bool({"trigger": trigger}, _meter())
    except ExpressionError as error:
        raise Refused(f"the `if` of schedule '{name}': {error}") from error


def _inputs(flow: str, mapping: Mapping[str, Json] | None, trigger: dict[str, Json]) -> dict[str, Json]:
    if mapping is None:
        body = trigger["body"]
        return body if isinstance(body, dict) else {}
    inputs: dict[str, Json] = {}
    problems: list[FieldProblem] = []
    for name, template in mapping.items():
        try:
            inputs[name] = compile_value(template, Names()).render({"trigger": trigger}, _meter()).value
        except ExpressionError as error:
            problems.append(FieldProblem(name, str(error)))
    if problems:
        raise InputsInvalid(flow, problems)
    return inputs


def _meter() -> Meter:
    return Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
