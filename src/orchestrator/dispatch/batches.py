"""Several events to one run: they are gathered by a workflow, and what it has gathered starts the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.client import Client
from orchestrator.dispatch.keeper import hand_over
from orchestrator.dispatch.subscriptions import Subscription, Subscriptions, batch_trigger
from orchestrator.errors import OrchestratorError, Unavailable
from orchestrator.spec.call import COLLECT, COLLECTOR, FLUSH
from orchestrator.spec.definition import Json
from orchestrator.store.events import KeptEvent


async def collect(client: Client, one: Subscription, kept: KeptEvent) -> str:
    """Add an event to its batch; the id of the workflow that gathers it. Raises Refused for a key that cannot be
    evaluated, Unavailable."""
    batch = one.declared.trigger["batch"]
    key = one.batch_key(one.trigger(kept))
    told = {
        "flow": one.declared.flow,
        "trigger": one.declared.id,
        "size": batch["size"],
        "max_wait": batch.get("max_wait"),
    }
    about = f"events for {one.declared.flow}"
    return await hand_over(
        client, COLLECTOR, one.declared, key, COLLECT, kept.event.told(), about=about, arguments=[told]
    )


def flush_activity(client: Client) -> Callable[..., Any]:
    """The activity that starts the run for a batch, bound to the worker's client. Arguments: flow, trigger id, events;
    attempts start one run."""
    subscriptions = Subscriptions(client.store)

    @activity.defn(name=FLUSH)
    async def flush(flow: str, trigger_id: str, events: Sequence[dict[str, Json]]) -> str | None:
        try:
            return await _flush(client, subscriptions, flow, trigger_id, events)
        except OrchestratorError as error:
            # What a flow refuses now it refuses in a minute too; who cannot be reached may be back then.
            again = isinstance(error, Unavailable)
            if not again:
                activity.logger.warning("a batch of %d events started no run of %s: %s", len(events), flow, error)
            raise ApplicationError(str(error), type=error.code, non_retryable=not again) from error

    return flush


async def _flush(
    client: Client, subscriptions: Subscriptions, flow: str, trigger_id: str, events: Sequence[dict[str, Json]]
) -> str | None:
    declared = [one for one in await subscriptions.all() if (one.declared.flow, one.declared.id) == (flow, trigger_id)]
    if not declared:
        activity.logger.warning("a batch of %d events has no trigger %s of %s any more", len(events), trigger_id, flow)
        return None
    [one] = declared
    trigger = batch_trigger(one, events)
    run = await client.start(
        flow,
        one.inputs(trigger),
        version=one.declared.version,
        trigger=trigger,
        idempotency_key=f"batch {trigger_id} {events[0].get('source')} {events[0]['id']}",
        delay=one.delay,
    )
    return run.id
