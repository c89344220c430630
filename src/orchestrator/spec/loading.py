"""Text to a flow that can be published and run, or to every problem it has, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from orchestrator.errors import FlowInvalid, Problem
from orchestrator.spec.agents import check_agents
from orchestrator.spec.catalogue import check_catalogue
from orchestrator.spec.declared import assign_ids, check_schemas, inputs_schema
from orchestrator.spec.definition import Definition
from orchestrator.spec.delivery import check_delivery
from orchestrator.spec.findings import Findings, check_model, kind_of, sorted_problems, suggestion
from orchestrator.spec.flow import Flow
from orchestrator.spec.monitoring_rules import check_monitoring
from orchestrator.spec.normalise import normalise
from orchestrator.spec.project import Project, read_text
from orchestrator.spec.reading import Placed, read_steps
from orchestrator.spec.rules import check_rules
from orchestrator.spec.servers import check_servers, check_services
from orchestrator.spec.source import Source, read_source
from orchestrator.spec.step import Step
from orchestrator.spec.subflows import endless
from orchestrator.spec.support import unsupported
from orchestrator.spec.triggers import TRIGGERS, Trigger, WebhookTrigger
from orchestrator.spec.visibility import Visibility
from orchestrator.spec.webhook_rules import check_webhooks

Json = Any


@dataclass(frozen=True, slots=True)
class LoadedFlow:
    """A flow file that passed every check."""

    definition: Definition
    flow: Flow
    warnings: tuple[Problem, ...]
    text: str
    unsupported: tuple[Problem, ...]
    """Constructs of the format that this release cannot run yet; publishing refuses them."""

    @property
    def triggers(self) -> list[dict[str, Json]]:
        """The triggers as JSON, ids and defaults filled in, times in seconds; a webhook's path is under ``path``."""
        return [trigger_json(trigger, number) for number, trigger in enumerate(self.flow.triggers, 1)]


def trigger_json(trigger: Trigger, number: int) -> dict[str, Json]:
    """One trigger as JSON; ``number`` names it where the author did not."""
    dumped: dict[str, Json] = trigger.model_dump(mode="json", by_alias=True, exclude_none=True)
    endpoint = dumped.pop("endpoint", None)
    if endpoint is not None:
        dumped["path"] = endpoint
    return {**dumped, "id": trigger.id or f"{trigger.type}-{number}"}


def load_flow_file(path: FilePath, project: Project) -> LoadedFlow:
    """``load_flow`` of a file, named relative to the project where it lies inside. Raises FlowInvalid."""
    try:
        name = str(path.resolve().relative_to(project.root.resolve()))
    except ValueError:
        name = str(path)
    return load_flow(read_text(path), name, project)


def load_flow(text: str, file: str, project: Project) -> LoadedFlow:
    """Read, check and normalise a flow. Raises FlowInvalid with every problem, in the order of the file."""
    source = read_source(text, file)
    findings = Findings(source)
    data = source.data
    if not isinstance(data, dict):
        findings.error((), f"a flow must be a mapping with `id` and `steps`, got {kind_of(data)}")
        raise FlowInvalid(findings.problems)
    steps = read_steps(data.get("steps"), ("steps",), findings, parent=None, list_name="steps")
    handlers = _handlers(data, findings)
    flow = _flow(source, steps, findings)
    inputs = inputs_schema(data.get("inputs"), findings)
    everything = [*steps, *(step for placed in handlers.values() for step in placed)]
    ids = assign_ids(everything, findings)
    check_schemas(everything, findings)
    visibility = Visibility(flow or _stand_in(data), findings, ids, project.env)
    visibility.check(steps, handlers)
    check_rules(everything, findings)
    findings.raise_if_any()
    assert flow is not None, "a flow without a model has problems"
    check_agents(everything, flow, project.agents, project.mcp, findings)
    check_servers(flow.mcp, findings)
    check_services(flow.services, findings)
    check_webhooks(flow, everything, findings)
    findings.raise_if_any()
    check_catalogue(everything, flow, project, findings)
    check_monitoring(flow, project, findings)
    definition = normalise(flow, steps, handlers, inputs, visibility.env, source)
    _check_definition(definition, steps, handlers, findings)
    later = sorted_problems(unsupported(flow, data, everything, findings))
    return LoadedFlow(definition, flow, sorted_problems(findings.warnings), text, later)


def _check_definition(
    definition: Definition, steps: list[Placed], handlers: dict[str, list[Placed]], findings: Findings
) -> None:
    """What can be told only once every step has what it inherits."""
    check_delivery(steps, definition.steps, findings)
    for name, placed in handlers.items():
        check_delivery(placed, definition.handlers.get(name, ()), findings)
    findings.problems.extend(endless(definition))
    findings.raise_if_any()


def _handlers(data: dict[str, Json], findings: Findings) -> dict[str, list[Placed]]:
    handling = data.get("error_handling")
    if not isinstance(handling, dict):
        return {}
    return {
        name: read_steps(
            handling[name],
            ("error_handling", name),
            findings,
            parent=None,
            list_name=name,
            inline=name == "fallback",
        )
        for name in ("fallback", "finally")
        if name in handling
    }


def _flow(source: Source, steps: list[Placed], findings: Findings) -> Flow | None:
    """The flow's model, with the parts that were read one by one put in."""
    data = dict(source.data)
    if "version" in data and isinstance(data["version"], int | float):
        data["version"] = source.raw_at(("version",))
    if isinstance(data.get("steps"), list):
        data["steps"] = [placed.step for placed in steps] or ([Step.model_construct(type="")] if data["steps"] else [])
    if isinstance(data.get("triggers"), list):
        data["triggers"] = _triggers(data["triggers"], findings)
    for key in (
        "inputs",
        "env",
        "vars",
        "triggers",
        "labels",
        "services",
        "mcp",
        "agents",
        "error_handling",
        "expose",
    ):
        if key in data and data[key] is None:
            # A section left empty (`inputs:`) is one that is not there.
            del data[key]
    flow: Flow | None = check_model(Flow, data, findings, (), " in a flow")
    handling = data.get("error_handling")
    defaults = data.get("defaults")
    if isinstance(handling, dict) and "retry" in handling and isinstance(defaults, dict) and "retry" in defaults:
        findings.error(
            ("error_handling", "retry"),
            "the flow's retry is given twice: here and in `defaults.retry`",
            "they mean the same; keep one",
            key=True,
        )
    return flow


def _stand_in(data: dict[str, Json]) -> Flow:
    """A flow that is not valid, with enough of it to check its expressions all the same."""
    named = {key: data[key] for key in ("inputs", "env", "vars") if isinstance(data.get(key), dict)}
    output = {"output": data["output"]} if "output" in data else {}
    return Flow.model_construct(id="", steps=[], **named, **output)


def _triggers(raw: list[Json], findings: Findings) -> list[Trigger]:
    read = []
    seen: dict[str, int] = {}
    for index, item in enumerate(raw):
        path = ("triggers", index)
        if not isinstance(item, dict):
            findings.error(path, f"a trigger must be a mapping with `type`, got {kind_of(item)}")
            continue
        type_ = item.get("type")
        if not isinstance(type_, str):
            problem = (
                "`type` is missing in a trigger" if type_ is None else f"`type` must be text, got {kind_of(type_)}"
            )
            findings.error(path if type_ is None else (*path, "type"), problem, suggestion("", TRIGGERS))
            continue
        if type_ not in TRIGGERS:
            findings.error((*path, "type"), f"unknown trigger type `{type_}`", suggestion(type_, TRIGGERS))
            continue
        trigger = check_model(TRIGGERS[type_], item, findings, path, f" in a `{type_}` trigger")
        if trigger is None:
            continue
        name = trigger.id or f"{type_}-{index + 1}"
        if name in seen:
            findings.error(path, f"the trigger id `{name}` is used twice", f"first at line {seen[name]}")
        seen.setdefault(name, findings.source.value_at(path)[0])
        if isinstance(trigger, WebhookTrigger):
            route = f"{trigger.method} {re.sub(r'[{][^}]*[}]', '{}', trigger.route)}"
            if route in seen:
                findings.error(
                    path, f"`{trigger.method} {trigger.route}` is taken", f"by the trigger at line {seen[route]}"
                )
            seen.setdefault(route, findings.source.value_at(path)[0])
        read.append(trigger)
    return read
