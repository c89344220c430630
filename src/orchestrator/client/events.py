"""Sending events: checked, accepted all or none, and then brought to everybody who wants them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.admission import now_text
from orchestrator.errors import EventInvalid, FieldProblem
from orchestrator.spec.definition import Json
from orchestrator.spec.events import OWN_SOURCE, data_problems
from orchestrator.spec.project import Project
from orchestrator.store.database import Store
from orchestrator.store.events import Event

MOST = 100
"""Events that may be sent together."""
MEMBERS = ("specversion", "id", "type", "source", "subject", "time", "data", "datacontenttype", "dataschema")
DEFAULT_SOURCE = "api"
_LONGEST = {"id": 1_000, "type": 255, "source": 2_000, "subject": 2_000}
"""Characters."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What CloudEvents has in no text: it would break the lines of a log."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted event. ``new`` is False where it had been accepted before."""

    event: Event
    new: bool


async def send_events(store: Store, project: Project, given: Sequence[Mapping[str, Json]]) -> list[Sent]:
    """Accept events as CloudEvents name their members (``type`` is all an event must have): all or none. What is
    accepted reaches every flow and run that wants it, whatever crashes. Raises EventInvalid and Unavailable."""
    if not given or len(given) > MOST:
        raise EventInvalid([FieldProblem("(events)", f"send 1 to {MOST} events at once, not {len(given)}")])
    problems: list[FieldProblem] = []
    events: list[Event] = []
    for index, members in enumerate(given):
        event, found = _read(members, project)
        prefix = f"[{index}]." if len(given) > 1 else ""
        problems += [FieldProblem(prefix + one.field, one.message) for one in found]
        if event is not None:
            events.append(event)
    if problems:
        raise EventInvalid(problems)
    new = await store.events.accept(events)
    return [Sent(event, fresh) for event, fresh in zip(events, new, strict=True)]


def _read(members: Mapping[str, Json], project: Project) -> tuple[Event | None, list[FieldProblem]]:
    problems = [
        FieldProblem(name, f"is text of 1 to {longest} characters, none of them a control character")
        for name, longest in _LONGEST.items()
        if (name in members or name == "type") and not _is_text(members.get(name), longest)
    ]
    if members.get("specversion", "1.0") != "1.0":
        problems.append(FieldProblem("specversion", f"is 1.0, and not {str(members['specversion'])[:20]!r}"))
    if members.get("source") == OWN_SOURCE:
        # Whoever could tell of runs would start what is meant for their failures, and keep the engine from telling.
        problems.append(FieldProblem("source", f"'{OWN_SOURCE}' is the engine's own; name who sends this"))
    if members.get("data_base64") is not None:
        problems.append(FieldProblem("data_base64", "binary data is not taken: send JSON or text as `data`"))
    time = members.get("time")
    if time is not None and not _is_instant(time):
        problems.append(FieldProblem("time", f"is an instant such as 2026-01-31T09:00:00Z, and not {str(time)[:60]!r}"))
    if problems:
        return None, problems
    kind, data = str(members["type"]), members.get("data")
    problems = [
        FieldProblem(f"data.{one.field}" if one.field else "data", one.message)
        for one in data_problems(project.events, kind, data)
    ]
    event = Event(
        id=str(members.get("id") or uuid.uuid4().hex),
        type=kind,
        source=str(members.get("source") or DEFAULT_SOURCE),
        time=str(time or now_text()),
        data=data,
        subject=members.get("subject"),
    )
    return event, problems


def _is_text(value: Json, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and _CONTROL.search(value) is None


def _is_instant(value: Json) -> bool:
    if not isinstance(value, str) or len(value) > 40:
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
