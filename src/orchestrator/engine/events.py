"""Events delivered to a run: each open wait sees each event once; early ones are kept for waits that could name them
from the start (FLOW_FORMAT §5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from temporalio import workflow

from orchestrator.spec.definition import Json, Node
from orchestrator.spec.patterns import matches_type

Event = dict[str, Json]

MOST_KEPT = 1_000
"""Early events kept for one step; beyond it new ones are refused."""
MOST_KEPT_BYTES = 1_500_000
"""For all steps together: what waits has to fit into one payload when the run continues as new."""


class Events:
    """Who listens, and what came too early."""

    def __init__(self) -> None:
        self._early: dict[str, tuple[str, ...]] = {}
        self._kept: dict[str, deque[tuple[Event, int]]] = {}
        """By step; events and their bytes."""
        self._bytes = 0
        self._open: dict[str, Callable[[Event], bool]] = {}
        """By path; the listener tells whether it took the event."""

    def begin(self, early: dict[str, tuple[str, ...]]) -> None:
        """The definition is known: ``early`` names the types a step listens to before it is reached, by its id."""
        self._early = early

    def deliver(self, event: Event) -> str | None:
        """Hand an event to everything that listens; why it was dropped, or None."""
        takers = {path.rpartition("/")[2].partition("[")[0] for path, take in list(self._open.items()) if take(event)}
        size = 0
        full = None
        for step, types in self._early.items():
            if step in takers or not matches_type(types, event["type"]):
                continue
            size = size or workflow.payload_converter().to_payload(event).ByteSize()
            if len(self._kept.get(step, ())) >= MOST_KEPT:
                full = f"{MOST_KEPT} events wait for step '{step}' already"
            elif self._bytes and self._bytes + size > MOST_KEPT_BYTES:
                full = f"the events that are waiting already have {self._bytes} bytes"
            else:
                self._keep(step, event, size)
        return full

    def _keep(self, step: str, event: Event, size: int) -> None:
        self._kept.setdefault(step, deque()).append((event, size))
        self._bytes += size

    def listen(self, node: Node, path: str, take: Callable[[Event], bool]) -> None:
        """A wait begins: first it is offered what came early."""
        kept = self._kept.pop(node.id, ())
        for event, size in kept:
            self._bytes -= size
            if not take(event):
                self._keep(node.id, event, size)
        self._open[path] = take

    def close(self, path: str) -> None:
        """A wait is over."""
        self._open.pop(path, None)

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new carries on."""
        return {step: [list(one) for one in events] for step, events in self._kept.items() if events}

    def restore(self, data: dict[str, Json]) -> None:
        """Become what ``to_json`` wrote."""
        for step, events in data.items():
            for event, size in events:
                self._keep(step, event, size)


def as_event(message: Json) -> Event | str:
    """The event a message carries, completed; or why it is none."""
    event = message.get("event") if isinstance(message, dict) else None
    if not isinstance(event, dict) or not isinstance(event.get("type"), str) or not event["type"]:
        return 'send {"event": {"type": "order.paid", "data": {…}}}'
    return {"id": None, "time": None, "data": None} | event
