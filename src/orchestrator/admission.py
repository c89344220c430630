"""What may be published and what may start: the rules between a door and the store."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.errors import (
    Conflict,
    FieldProblem,
    FlowInvalid,
    InputsInvalid,
    Problem,
    Refused,
    SettingsInvalid,
)
from orchestrator.settings import Settings
from orchestrator.spec.definition import Definition, Envelope, Json
from orchestrator.spec.events import OWN_SOURCE
from orchestrator.spec.findings import Findings, suggestion
from orchestrator.spec.hearing import event_remarks, heard_by
from orchestrator.spec.inputs import check_inputs
from orchestrator.spec.loading import LoadedFlow, load_flow, load_flow_file
from orchestrator.spec.moment import moment_text
from orchestrator.spec.project import Project
from orchestrator.spec.source import read_source
from orchestrator.spec.subflows import SubflowCall, cycles, problem_at, subflow_calls
from orchestrator.spec.triggers import QueueTrigger, WebhookTrigger
from orchestrator.store.database import Store
from orchestrator.store.flows import FlowVersion, PublishedVersion

FLOW_SUFFIXES = (".yaml", ".yml")
TEST_ENDING = ".test"
"""``<flow>.test.yaml`` holds the tests of a flow."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file of a folder: published, or the problems that stood in the way."""

    file: Path
    published: PublishedVersion | None
    problems: tuple[Problem, ...] = ()
    """Errors when nothing was published, else warnings."""


async def publish(
    store: Store, project: Project, loaded: LoadedFlow, *, as_edit: bool = False, beside: Sequence[LoadedFlow] = ()
) -> PublishedVersion:
    """Publish a loaded flow. ``as_edit`` as in ``Flows.publish``; ``beside`` are flows that are published in the same
    call and may be its sub-flows.

    Raises FlowInvalid for constructs that cannot run yet, for sub-flows that nobody knows and for flows that start
    each other without end, Conflict for other content under a published version and for a webhook path that another
    flow has.
    """
    refused = await _refused(store, {one.definition.flow: one for one in (*beside, loaded)})
    if loaded.definition.flow in refused:
        raise FlowInvalid(refused[loaded.definition.flow])
    return await _publish(store, loaded, as_edit)


async def problems_of(store: Store, loaded: LoadedFlow) -> tuple[Problem, ...]:
    """What ``publish`` would refuse a flow for, other content under its version aside; nothing is published."""
    refused = await _refused(store, {loaded.definition.flow: loaded})
    problems = refused.get(loaded.definition.flow, ())
    try:
        await _check_doors(store, loaded)
    except Conflict as error:
        problems = (*problems, Problem(str(error), loaded.definition.file))
    return problems


async def _publish(store: Store, loaded: LoadedFlow, as_edit: bool) -> PublishedVersion:
    await _check_doors(store, loaded)
    return await store.flows.publish(loaded, as_edit=as_edit)


async def publish_text(
    store: Store,
    project: Project,
    text: str,
    *,
    file: str = "<flow>",
    as_edit: bool = False,
    settings: Settings | None = None,
) -> tuple[PublishedVersion, tuple[Problem, ...]]:
    """Publish a flow from its YAML; also answers the warnings, with ``settings`` those of ``remarks`` too. Raises what
    ``publish`` does."""
    # A large file takes a second, in which others are answered.
    loaded = await asyncio.to_thread(load_flow, text, file, project)
    published = await publish(store, project, loaded, as_edit=as_edit)
    told = await remarks(store, project, settings, [loaded]) if settings is not None else {}
    return published, (*loaded.warnings, *told.get(loaded.definition.flow, ()))


async def remarks(
    store: Store, project: Project, settings: Settings, flows: Sequence[LoadedFlow]
) -> dict[str, tuple[Problem, ...]]:
    """By flow, what its file alone does not tell: webhooks whose secret is not set here, events that are sent and
    nobody hears, types that the project's catalogue of events does not name. ``flows`` are published together."""
    together = {loaded.definition.flow: loaded for loaded in flows}
    heard: set[str] = set()
    for loaded in flows:
        heard |= heard_by(loaded.triggers, loaded.definition)
    if any(node.type == "emit" for loaded in flows for node in loaded.definition.walk()):
        for one in await store.flows.list():
            if one.flow not in together and one.enabled:
                found = await store.flows.current(one.flow)
                heard |= heard_by(found.triggers, found.definition)
    return {
        name: (*missing_secrets(loaded, settings), *event_remarks(loaded, heard, project.events))
        for name, loaded in together.items()
    }


def missing_secrets(loaded: LoadedFlow, settings: Settings) -> tuple[Problem, ...]:
    """A warning for every webhook whose senders the gateway could not verify, because no secret for it is set."""
    findings = Findings(read_source(loaded.text, loaded.definition.file))
    for index, trigger in enumerate(loaded.flow.triggers):
        names = trigger.verify.secrets if isinstance(trigger, WebhookTrigger) and trigger.verify is not None else ()
        if names and not any(settings.secrets.get(name) for name in names):
            findings.warn(
                ("triggers", index, "verify", "secret"),
                f"the secret {' or '.join(f'`{name}`' for name in names)} is not set here: without it the webhook "
                "refuses every request",
                f"give the gateway ORCHESTRATOR_SECRET_{names[0]}",
            )
    return tuple(findings.warnings)


async def publish_folder(
    store: Store, project: Project, folder: Path, *, as_edit: bool = False, settings: Settings | None = None
) -> list[FileResult]:
    """Publish every flow file under ``folder``; a file with problems does not stop the others, unless it holds a
    sub-flow of theirs that is not published either. With ``settings`` the problems hold those of ``remarks`` too."""
    results: dict[Path, FileResult] = {}
    readable: dict[Path, LoadedFlow] = {}
    owners: dict[str, Path] = {}
    files = flow_files(folder)
    for file in files:
        try:
            loaded = load_flow_file(file, project)
        except FlowInvalid as error:
            results[file] = FileResult(file, None, error.problems)
            continue
        owner = owners.setdefault(loaded.definition.flow, file)
        if owner == file:
            readable[file] = loaded
        else:
            problem = f"flow '{loaded.definition.flow}' is also defined in {owner}; give one another id"
            results[file] = FileResult(file, None, (Problem(problem, str(file)),))
    refused = await _refused(store, {loaded.definition.flow: loaded for loaded in readable.values()})
    for file, loaded in readable.items():
        problems = refused.get(loaded.definition.flow)
        result = FileResult(file, None, problems) if problems else await _published(store, file, loaded, as_edit)
        results[file] = result
    if settings is not None:
        told = await remarks(store, project, settings, list(readable.values()))
        for file, loaded in readable.items():
            if results[file].published is not None:
                problems = (*results[file].problems, *told[loaded.definition.flow])
                results[file] = replace(results[file], problems=problems)
    return [results[file] for file in files]


async def _published(store: Store, file: Path, loaded: LoadedFlow, as_edit: bool) -> FileResult:
    try:
        return FileResult(file, await _publish(store, loaded, as_edit), loaded.warnings)
    except Conflict as error:
        return FileResult(file, None, (Problem(str(error), str(file)),))


async def _refused(store: Store, flows: Mapping[str, LoadedFlow]) -> dict[str, tuple[Problem, ...]]:
    """Those of ``flows``, which are published together, that cannot be, with the reasons. The order they come in makes
    no difference."""
    refused = {name: loaded.unsupported for name, loaded in flows.items() if loaded.unsupported}
    calls = {name: subflow_calls(loaded.definition) for name, loaded in flows.items()}
    if not any(calls.values()):
        return refused
    stored = {flow.flow for flow in await store.flows.list()}
    while True:
        # A flow that is refused is no sub-flow for others: so it goes on until nobody is added.
        known = stored | (flows.keys() - refused.keys())
        unknown = {
            name: tuple(_unknown(call, known) for call in calls[name] if call.flow not in known)
            for name in flows.keys() - refused.keys()
        }
        found = {name: problems for name, problems in unknown.items() if problems}
        if not found:
            break
        refused |= found
    definitions = {name: loaded.definition for name, loaded in flows.items() if name not in refused}
    await _add_subflows(store, definitions, stored)
    for name, (call, way) in cycles(definitions).items():
        if name in flows:
            message = f"these flows would start each other in every run, without end: {way}"
            hint = "put one of the steps under an `if` or a `condition` that is false at some depth"
            refused[name] = (problem_at(call, message, hint),)
    return refused


def _unknown(call: SubflowCall, known: Iterable[str]) -> Problem:
    near = suggestion(call.flow, known)
    hint = "publish it first, or together with this one"
    return problem_at(call, f"there is no flow `{call.flow}`", f"{hint}; {near}" if near else hint)


async def _add_subflows(store: Store, definitions: dict[str, Definition], stored: Collection[str]) -> None:
    """Add the published flows that ``definitions`` start, directly or not."""
    queue = list(definitions.values())
    for definition in queue:
        for call in subflow_calls(definition):
            if call.flow not in definitions and call.flow in stored:
                definitions[call.flow] = (await store.flows.current(call.flow)).definition
                queue.append(definitions[call.flow])


def flow_files(folder: Path) -> list[Path]:
    """The flow files under ``folder``, in a stable order; none when there is no such folder. Tests of flows
    (``*.test.yaml``) are none."""
    return sorted(path for path in folder.rglob("*") if _is_flow(path) and path.is_file())


def _is_flow(path: Path) -> bool:
    return path.suffix in FLOW_SUFFIXES and not path.stem.endswith(TEST_ENDING)


async def admit(
    store: Store,
    project: Project,
    settings: Settings,
    flow_id: str,
    body: Json,
    *,
    inputs: Mapping[str, Json] | None = None,
    version: str | None = None,
    trigger: dict[str, Json] | None = None,
    by: str | None = None,
    until: str | None = None,
    run_id: str = "",
    search_attributes: bool = False,
    convert_text: bool = False,
    test: bool = False,
) -> Envelope:
    """Everything a run is started with besides its body.

    ``inputs`` are the members a trigger mapped; without them those of ``body`` are taken. ``version`` asks
    for one that is not current. ``trigger`` is what a door knows about the delivery; without it the start is
    an api start. ``convert_text`` reads text as the declared scalars, for forms and queries.

    Raises NotFound for an unknown flow or version, Refused for a disabled flow, InputsInvalid naming every
    field (and ``until``), SettingsInvalid for a value of the environment of the wrong type.
    """
    found = await (store.flows.current(flow_id) if version is None else store.flows.version(flow_id, version))
    if not found.enabled:
        raise Refused(f"flow '{flow_id}' is disabled; enable it to start runs")
    definition = found.definition
    given = _given(flow_id, body) if inputs is None else dict(inputs)
    checked = check_inputs(flow_id, definition.inputs, given, convert_text=convert_text)
    _check_until(found, until)
    return Envelope(
        definition=definition,
        inputs=checked,
        env=_environment(definition, project, settings),
        trigger=trigger if trigger is not None else _api_trigger(body, by),
        root=run_id,
        until=until,
        search_attributes=search_attributes,
        searchable=settings.searchable(registered=search_attributes),
        test=test,
        largest_payload=settings.largest_payload,
        announce=() if _is_own(trigger) else await store.flows.own_events(),
    )


def _is_own(trigger: dict[str, Json] | None) -> bool:
    """Whether a run was started by an event of the engine's own: then it tells of none, or flows that watch others
    would watch each other without end."""
    event = (trigger or {}).get("event")
    return isinstance(event, dict) and event.get("source") == OWN_SOURCE


def _given(flow_id: str, body: Json) -> dict[str, Json]:
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise InputsInvalid(flow_id, [FieldProblem("(inputs)", 'must be an object such as {"name": "value"}')])
    return body


def _check_until(found: FlowVersion, until: str | None) -> None:
    if until is None:
        return
    ids = [node.id for node in found.definition.walk() if node.named]
    if until not in ids:
        what = f"'{until}' is no step of version {found.version}; its steps: {', '.join(ids)}"
        raise InputsInvalid(found.flow, [FieldProblem("until", what)])


def _api_trigger(body: Json, by: str | None) -> dict[str, Json]:
    trigger: dict[str, Json] = {"type": "api", "id": "api", "time": now_text(), "body": body}
    return trigger | ({"by": by} if by else {})


def now_text() -> str:
    """This moment as the format writes instants."""
    return moment_text(datetime.now(UTC))


def _environment(definition: Definition, project: Project, settings: Settings) -> dict[str, Json]:
    """The declared names with their values: the flow's default, the project's, then the environment's."""
    values: dict[str, Json] = {}
    for name, default in definition.env.items():
        values[name] = project.env.get(name, default)
        if name in settings.env:
            values[name] = _as_declared(name, settings.env[name], default)
    return values


def _as_declared(name: str, text: str, default: Json) -> Json:
    """Text of the environment as the type of the default, so that ``env.LIMIT > 5`` compares numbers."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.strip().lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except (KeyError, ValueError) as error:
        kind = "true or false" if isinstance(default, bool) else "a number"
        raise SettingsInvalid(
            f"ORCHESTRATOR_ENV_{name}={text!r} cannot be used: the flow's default for it is {kind}"
        ) from error
    return text


async def _check_doors(store: Store, loaded: LoadedFlow) -> None:
    """Raises Conflict for a webhook path, or a whole queue, that another flow has."""
    await _check_routes(store, loaded)
    await _check_queues(store, loaded)


async def _check_queues(store: Store, loaded: LoadedFlow) -> None:
    whole = {
        trigger.queue
        for trigger in loaded.flow.triggers
        if isinstance(trigger, QueueTrigger) and trigger.enabled and trigger.if_ is None
    }
    if not whole or not loaded.flow.enabled:
        return
    for other in await store.flows.triggers():
        trigger = other.trigger
        if other.flow != loaded.definition.flow and trigger.get("type") == "queue" and trigger.get("if") is None:
            queue = str(trigger.get("queue"))
            if queue in whole:
                raise Conflict(
                    f"flow '{other.flow}' takes every message of queue '{queue}'; choose another queue, or say with "
                    "the trigger's `if` which messages each of the flows takes"
                )


async def _check_routes(store: Store, loaded: LoadedFlow) -> None:
    wanted = {
        _route(trigger.method, trigger.route): trigger.route
        for trigger in loaded.flow.triggers
        if isinstance(trigger, WebhookTrigger) and trigger.enabled
    }
    if not wanted:
        return
    for other in await store.flows.triggers():
        if other.flow == loaded.definition.flow or other.trigger.get("type") != "webhook":
            continue
        taken = wanted.get(_route(other.trigger.get("method", "POST"), webhook_path(other.trigger)))
        if taken is not None:
            raise Conflict(f"the webhook path {taken} belongs to flow '{other.flow}'; choose another path")


def webhook_path(trigger: Mapping[str, Json]) -> str:
    """The path of a stored webhook trigger, whichever of its two names the author used."""
    return str(trigger.get("path") or trigger.get("endpoint") or "")


def _route(method: str, path: str) -> tuple[str, str]:
    return method, re.sub(r"\{[^{}]*\}", "{}", path)
