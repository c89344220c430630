"""From accepted events to the flows that subscribe and the runs that wait."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from orchestrator.client import Client, Run
from orchestrator.client.triggers import Declared, Triggers
from orchestrator.errors import Conflict, FieldProblem, InputsInvalid, NotFound, OrchestratorError, Refused, Unavailable
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

_LOGGER = logging.getLogger("orchestrator.dispatch")
LEASE = 20.0
"""Seconds a gateway has to route what it took; after them another one may."""
AT_ONCE = 50
"""Events taken together."""
STARTS_AT_ONCE = 10
POLL = 1.0
"""Seconds between two looks for what other processes accepted."""
RETRY = 5.0
MOST_DEEP = 16
"""Events that may lead to each other: beyond it flows start each other in a circle."""


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

    @cached_property
    def key(self) -> CompiledValue | None:
        """The trigger's ``idempotency_key``."""
        written = self.declared.trigger.get("idempotency_key")
        return None if written is None else compile_value(written, Names())

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


class EventRouter:
    """Takes accepted events and brings each to everybody who wants it. What a turn could not bring is tried again;
    whoever has it already takes it once."""

    name = "events"

    def __init__(self, client: Client, subscriptions: Subscriptions) -> None:
        self._client = client
        self._store = client.store
        self._subscriptions = subscriptions
        self._room = asyncio.Semaphore(STARTS_AT_ONCE)

    async def turn(self) -> None:
        """Route what is there, or wait until something may be. Raises Unavailable."""
        self._store.events.arrived.clear()
        taken = await self._store.events.take(AT_ONCE, LEASE) if await self._store.events.has_due() else []
        if not taken:
            await _until(self._store.events.arrived, POLL)
            return
        results = await asyncio.gather(*(self._route(kept) for kept in taken), return_exceptions=True)
        for problem in results:
            if isinstance(problem, BaseException):
                raise problem

    async def _route(self, kept: KeptEvent) -> None:
        async with self._room:
            try:
                outcome = [await self._start(one, kept) for one in await self._subscriptions.wanting(kept.event.told())]
                outcome += await self._deliver(kept)
            except OrchestratorError:
                await self._store.events.release(kept.event.key, RETRY)
                raise
            await self._store.events.routed(kept.event.key, [one for one in outcome if one is not None])

    async def _start(self, one: Subscription, kept: KeptEvent) -> dict[str, Json] | None:
        """Start the subscriber's run; what became of it, None where its ``if`` says no. Raises Unavailable."""
        trigger = one.trigger(kept)
        told: dict[str, Json] = {"flow": one.declared.flow, "trigger": one.declared.id}
        try:
            if not _applies(one, trigger, kept.event.told()):
                return None
            run = await self._client.start(
                one.declared.flow,
                _inputs(one, trigger),
                version=one.declared.version,
                trigger=trigger,
                idempotency_key=_key(one, trigger) or f"event {one.declared.id} {kept.event.source} {kept.event.id}",
                delay=one.delay,
            )
        except Unavailable:
            raise
        except OrchestratorError as error:
            # The event is as wrong for this flow in a minute as now.
            _LOGGER.warning("event %s started no run of %s: %s", kept.event.id, one.declared.flow, error)
            return told | {"error": {"type": error.code, "message": str(error)}}
        return told | {"run_id": run.id}

    async def _deliver(self, kept: KeptEvent) -> list[dict[str, Json]]:
        """Hand the event to the runs that wait for it. Raises Unavailable."""
        outcome: list[dict[str, Json]] = []
        told = kept.event.told()
        for run_id in await self._store.listeners.runs_for(told):
            try:
                await Run(self._client.temporal, run_id).deliver(told)
                outcome.append({"run_id": run_id, "delivered": True})
            except (NotFound, Conflict):
                # It is over, or has as many signals as Temporal takes.
                await self._store.listeners.drop(run_id)
        return outcome


async def _until(arrived: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await arrived.wait()
    except TimeoutError:
        return


def _meter() -> Meter:
    return Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))


def _applies(one: Subscription, trigger: dict[str, Json], event: dict[str, Json]) -> bool:
    if one.condition is None:
        return True
    try:
        return one.condition.evaluate_bool({"trigger": trigger, "event": event}, _meter())
    except ExpressionError as error:
        raise Refused(f"the `if` of trigger '{one.declared.id}': {error}") from error


def _inputs(one: Subscription, trigger: dict[str, Json]) -> dict[str, Json]:
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


def _key(one: Subscription, trigger: dict[str, Json]) -> str | None:
    if one.key is None:
        return None
    try:
        value = one.key.render({"trigger": trigger}, _meter()).value
    except ExpressionError as error:
        raise Refused(f"the `idempotency_key` of trigger '{one.declared.id}': {error}") from error
    return None if value in (None, "") else str(value)
