"""Types and members of events: what a pattern fits, and what stands at a dotted name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.spec.definition import Json


def matches_type(patterns: Iterable[str], kind: Json) -> bool:
    """Whether an event type is one of the patterns, in which ``*`` is any text."""
    return any(pattern == kind or ("*" in pattern and _matches(pattern, str(kind))) for pattern in patterns)


def _matches(pattern: str, kind: str) -> bool:
    """Part by part from the left: a regular expression could be made to try every split of the text."""
    first, *middle, last = pattern.split("*")
    if len(kind) < len(first) + len(last) or not kind.startswith(first) or not kind.endswith(last):
        return False
    at, end = len(first), len(kind) - len(last)
    for part in middle:
        found = kind.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def member(event: Mapping[str, Json], dotted: str) -> Json:
    """``data.orderid`` of an event; None where a part is missing."""
    value: Json = event
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def signal_id(event: Mapping[str, Json]) -> str:
    """The id under which an event reaches a run, whoever brings it: taken once."""
    return f"event {event.get('source') or ''} {event['id']}"
