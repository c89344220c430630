"""The catalogue of events: which types there are in a project, and what their data is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.errors import FieldProblem
from orchestrator.spec.declared import usable_schema
from orchestrator.spec.findings import Findings, kind_of
from orchestrator.spec.inputs import check_json

Json = Any

OWN_SOURCE = "orchestrator"
"""Source of the engine's own events."""
OWN = ("run.completed", "run.failed", "run.waiting")
"""Their types. Whoever wants one names it in full (FLOW_FORMAT §8)."""
_ABOUT = frozenset({"schema", "description"})


def check_events(entries: Json, findings: Findings) -> None:
    """Report every entry of ``events`` in orchestrator.yaml that cannot be used: a JSON Schema of the data, or
    ``{schema, description}``."""
    for kind, entry in entries.items() if isinstance(entries, dict) else ():
        place = ("events", kind)
        if not isinstance(entry, dict):
            findings.error(place, f"an event is described by a JSON Schema of its data, got {kind_of(entry)}")
            continue
        inside = "schema" in entry and entry.keys() <= _ABOUT
        usable_schema(schema_of(entry), (*place, "schema") if inside else place, findings)


def schema_of(entry: Mapping[str, Json]) -> dict[str, Json]:
    """The JSON Schema of an entry."""
    if "schema" in entry and entry.keys() <= _ABOUT:
        return dict(entry["schema"])
    return dict(entry)


def data_problems(events: Mapping[str, Json], kind: str, data: Json) -> list[FieldProblem]:
    """What the catalogue has against an event's data; a type that it does not name may carry anything."""
    entry = events.get(kind)
    return [] if not isinstance(entry, dict) else check_json(schema_of(entry), data)
