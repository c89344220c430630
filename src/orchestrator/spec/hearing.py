"""Events that nobody would hear, and subscriptions to events that nobody sends: told when a flow is published. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.errors import Problem
from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.events import OWN
from orchestrator.spec.findings import Findings, is_template, suggestion
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.patterns import matches_type
from orchestrator.spec.source import read_source

Json = Any


def heard_by(triggers: Iterable[Mapping[str, Json]], definition: Definition) -> set[str]:
    """The types, patterns among them, that a flow's triggers start it for and that its steps wait for. A wait whose
    type is known only in a run may be for anything."""
    found: set[str] = set()
    for trigger in triggers:
        if trigger.get("type") == "event" and trigger.get("enabled", True):
            found.add(str(trigger.get("event") or trigger.get("source")))
    for node in definition.walk():
        found.update("*" if is_template(kind) else kind for kind in _awaited(node))
    return found


def event_remarks(loaded: LoadedFlow, heard: Collection[str], catalogue: Mapping[str, Json]) -> Iterator[Problem]:
    """A warning for every event that the flow sends and nobody hears, and, where the project has a catalogue of
    events, for every type in the flow that it does not name."""
    for node in loaded.definition.walk():
        sent = node.config.get("event") if node.type == "emit" else None
        if isinstance(sent, str) and not is_template(sent):
            if not matches_type(heard, sent):
                near = suggestion(sent, heard)
                hint = near if near and near.startswith("did") else "it is kept for a week, and reaches nobody"
                yield _at(node, f"no flow subscribes to `{sent}` or waits for it", hint)
            yield from (_at(node, *told) for told in _uncatalogued(sent, catalogue))
        for kind in _awaited(node):
            if not is_template(kind):
                yield from (_at(node, *told) for told in _uncatalogued(kind, catalogue))
    findings = Findings(read_source(loaded.text, loaded.definition.file))
    for index, trigger in enumerate(loaded.triggers):
        if trigger["type"] == "event":
            key = "event" if trigger.get("event") else "source"
            for message, hint in _uncatalogued(str(trigger[key]), catalogue):
                yield replace(findings.place(("triggers", index, key), message, hint), severity="warning")


def _awaited(node: Node) -> list[str]:
    kinds = node.config.get("event") if node.type == "wait-for-event" else None
    return [kinds] if isinstance(kinds, str) else list(kinds or ())


def _uncatalogued(kind: str, catalogue: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    if not catalogue or kind in OWN or any(matches_type((kind,), known) for known in catalogue):
        return
    near = suggestion(kind, catalogue)
    hint = near if near and near.startswith("did") else "describe it under `events` in orchestrator.yaml"
    yield f"the catalogue of events has no `{kind}`", hint


def _at(node: Node, message: str, hint: str) -> Problem:
    file, line, column = node.source.rsplit(":", 2)
    return Problem(f"step `{node.id}`: {message}", file, int(line), int(column), hint, "warning")
