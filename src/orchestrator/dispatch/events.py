"""From accepted events to the flows that subscribe and the runs that wait."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.client import Client, Run
from orchestrator.dispatch.batches import collect
from orchestrator.dispatch.debounce import hold
from orchestrator.dispatch.loops import side_by_side, until
from orchestrator.dispatch.subscriptions import Subscription, Subscriptions
from orchestrator.errors import Conflict, NotFound, OrchestratorError, Unavailable
from orchestrator.spec.definition import Json
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
            await until(self._store.events.arrived, POLL)
            return
        await side_by_side(self._route(kept) for kept in taken)

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
            if not one.applies({"trigger": trigger, "event": kept.event.told()}):
                return None
            if one.declared.trigger.get("batch"):
                return told | {"collector": await collect(self._client, one, kept)}
            key = one.key(trigger) or f"event {one.declared.id} {kept.event.source} {kept.event.id}"
            if one.declared.trigger.get("debounce"):
                held = await hold(self._client, one.declared, trigger, one.inputs(trigger), key=key)
                return told | {"run_id": held.run_id, "held_for": held.wait}
            run = await self._client.start(
                one.declared.flow,
                one.inputs(trigger),
                version=one.declared.version,
                trigger=trigger,
                idempotency_key=key,
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
