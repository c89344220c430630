"""Event triggers of published flows: which events they want, and what their runs are started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.admission import now_text
from orchestrator.client.triggers import Declared, Triggers
from orchestrator.dispatch.rules import Rules
from orchestrator.spec.definition import Json
from orchestrator.spec.events import OWN_SOURCE
from orchestrator.spec.moment import moment_text
from orchestrator.spec.patterns import matches_type
from orchestrator.store.database import Store
from orchestrator.store.events import KeptEvent


@dataclass(frozen=True)
class Subscription(Rules):
    """One event trigger: its rules, and which events it is for."""

    @property
    def patterns(self) -> tuple[str | None, str | None]:
        """The pattern of the type, and that of the source: ``source`` alone is the pattern of the type."""
        trigger = self.declared.trigger
        kind, source = trigger.get("event"), trigger.get("source")
        return (kind, source) if kind else (source, None)

    @property
    def delay(self) -> float:
        """Seconds between an event and the start of its run."""
        return float(self.declared.trigger.get("delay") or 0.0)

    def wants(self, event: Mapping[str, Json]) -> bool:
        """Whether type and source fit. The engine's own events only by their full name."""
        kind, source = self.patterns
        own = event["source"] == OWN_SOURCE
        fits = kind == event["type"] if own else matches_type((kind or "",), event["type"])
        return fits and (source is None or matches_type((source,), event["source"]))

    def trigger(self, kept: KeptEvent) -> dict[str, Json]:
        """The run's ``trigger``."""
        told = kept.event.told()
        data = told.pop("data")
        return {
            "type": "event",
            "id": self.declared.id,
            "time": moment_text(kept.accepted_at),
            "body": data,
            "event": told | {"depth": kept.event.depth},
        }


class Subscriptions:
    """Which flows want which events."""

    def __init__(self, store: Store) -> None:
        self._triggers = Triggers(store, "event")
        self._seen: tuple[Declared, ...] = ()
        self._compiled: tuple[Subscription, ...] = ()

    async def all(self) -> tuple[Subscription, ...]:
        """Every subscription."""
        declared = await self._triggers.all()
        if declared is not self._seen:
            self._seen, self._compiled = declared, tuple(Subscription(one) for one in declared)
        return self._compiled

    async def wanting(self, event: Mapping[str, Json]) -> list[Subscription]:
        """Those whose patterns fit an event."""
        return [one for one in await self.all() if one.wants(event)]


def batch_trigger(one: Subscription, events: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """The run's ``trigger`` for several events: ``body`` lists their data."""
    return {
        "type": "event",
        "id": one.declared.id,
        "time": now_text(),
        "body": [event["data"] for event in events],
        "events": [{name: value for name, value in event.items() if name != "data"} for event in events],
    }
