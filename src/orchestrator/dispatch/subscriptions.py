"""Event triggers of published flows: which events they want, and what their runs are started with."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from orchestrator.admission import now_text
from orchestrator.client.triggers import Declared, Triggers
from orchestrator.errors import FieldProblem, InputsInvalid, Refused
from orchestrator.expressions import (
    CompiledValue,
    Expression,
    ExpressionError,
    Meter,
    Names,
    compile_expression,
    compile_value,
)
from orchestrator.spec.definition import Json
from orchestrator.spec.events import OWN_SOURCE
from orchestrator.spec.patterns import matches_type
from orchestrator.store.database import Store
from orchestrator.store.events import KeptEvent


@dataclass(frozen=True)
class Subscription:
    """One event trigger, its expressions compiled once."""

    declared: Declared

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

    @cached_property
    def condition(self) -> Expression | None:
        """The trigger's ``if``."""
        written = self.declared.trigger.get("if")
        return (
            None
            if written is None
            else compile_expression(str(written).lower() if written in (True, False) else written, Names())
        )

    @cached_property
    def inputs(self) -> dict[str, CompiledValue] | None:
        """The trigger's ``inputs``."""
        given = self.declared.trigger.get("inputs")
        return None if given is None else {name: compile_value(value, Names()) for name, value in given.items()}

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
            "time": kept.accepted_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
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


def applies(one: Subscription, trigger: dict[str, Json], event: dict[str, Json]) -> bool:
    """Whether the trigger's ``if`` lets the event through. Raises Refused."""
    if one.condition is None:
        return True
    try:
        return one.condition.evaluate_bool({"trigger": trigger, "event": event}, _meter())
    except ExpressionError as error:
        raise Refused(f"the `if` of trigger '{one.declared.id}': {error}") from error


def inputs_of(one: Subscription, trigger: dict[str, Json]) -> dict[str, Json]:
    """The run's inputs. Raises InputsInvalid."""
    if one.inputs is None:
        body = trigger["body"]
        return body if isinstance(body, dict) else {}
    inputs: dict[str, Json] = {}
    for name, template in one.inputs.items():
        try:
            inputs[name] = template.render({"trigger": trigger}, _meter()).value
        except ExpressionError as error:
            raise InputsInvalid(one.declared.flow, [FieldProblem(name, str(error))]) from error
    return inputs


def rendered(one: Subscription, template: Json, trigger: dict[str, Json], what: str) -> Json:
    """A template of the trigger over ``trigger``. Raises Refused naming ``what``."""
    try:
        return compile_value(template, Names()).render({"trigger": trigger}, _meter()).value
    except ExpressionError as error:
        raise Refused(f"the `{what}` of trigger '{one.declared.id}': {error}") from error


def batch_trigger(one: Subscription, events: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """The run's ``trigger`` for several events: ``body`` lists their data."""
    return {
        "type": "event",
        "id": one.declared.id,
        "time": now_text(),
        "body": [event["data"] for event in events],
        "events": [{name: value for name, value in event.items() if name != "data"} for event in events],
    }


def _meter() -> Meter:
    return Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
