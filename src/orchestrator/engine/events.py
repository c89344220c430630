"""Events delivered to a run: each open wait sees each event once; early ones are kept for waits that could name them
from the start (FLOW_FORMAT §5)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache

from orchestrator.spec.definition import Json, Node

Event = dict[str, Json]

MOST_KEPT = 1_000
"""Early events kept for one step; beyond it new ones are refused."""


class Events:
    """Who listens, and what came too early."""

    def __init__(self) -> None:
        self._early: dict[str, tuple[str, ...]] | None = None
        self._unsorted: list[Event] = []
        self._kept: dict[str, deque[Event]] = {}
        self._open: dict[str, Callable[[Event], bool]] = {}
        """By path; the listener tells whether it took the event."""

    def begin(self, early: dict[str, tuple[str, ...]]) -> None:
        """The definition is known: ``early`` names the types a step listens to before it is reached, by its id."""
        self._early = early
        for event in self._unsorted:
            self.deliver(event)
        self._unsorted.clear()

    def deliver(self, event: Event) -> str | None:
        """Hand an event to everything that listens; why it was dropped, or None."""
        if self._early is None:
            self._unsorted.append(event)
            return None
        takers = {path.rpartition("/")[2].partition("[")[0] for path, take in list(self._open.items()) if take(event)}
        full = None
        for step, types in self._early.items():
            if step in takers or not matches_type(types, event["type"]):
                continue
            kept = self._kept.setdefault(step, deque())
            if len(kept) >= MOST_KEPT:
                full = f"{MOST_KEPT} events wait for step '{step}' already"
            else:
                kept.append(event)
        return full

    def listen(self, node: Node, path: str, take: Callable[[Event], bool]) -> None:
        """A wait begins: first it is offered what came early."""
        kept = self._kept.get(node.id)
        if kept:
            self._kept[node.id] = deque(event for event in kept if not take(event))
        self._open[path] = take

    def close(self, path: str) -> None:
        """A wait is over."""
        self._open.pop(path, None)

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new carries on."""
        return {step: list(events) for step, events in self._kept.items() if events}

    def restore(self, data: dict[str, Json]) -> None:
        """Take up what ``to_json`` wrote; what came since stands behind it."""
        for step, events in data.items():
            self._kept[step] = deque([*events, *self._kept.get(step, ())])


def as_event(message: Json) -> Event | str:
    """The event a message carries, completed; or why it is none."""
    event = message.get("event") if isinstance(message, dict) else None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str) or not event["type"]:
        return 'send {"event": {"type": "order.paid", "data": {…}}}'
    return {"id": None, "time": None, "data": None} | event


def matches_type(patterns: Iterable[str], kind: Json) -> bool:
    """Whether an event type is one of the patterns, in which ``*`` is any text."""
    return any(pattern == kind or ("*" in pattern and _pattern(pattern).fullmatch(str(kind))) for pattern in patterns)


@lru_cache(maxsize=512)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def member(event: Event, dotted: str) -> Json:
    """``data.orderid`` of an event; None where a part is missing."""
    value: Json = event
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
