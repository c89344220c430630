"""The ``emit`` step: an event of one's own, for other flows and for runs that wait."""

from __future__ import annotations

from typing import Any

from orchestrator.admission import now_text
from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.spec.acts.emit import EmitConfig
from orchestrator.spec.events import OWN_SOURCE, data_problems
from orchestrator.steps.context import STORE, StepContext
from orchestrator.store.database import Store
from orchestrator.store.events import Event

Json = Any

TYPE = "emit"
CONFIG = EmitConfig
MOST_DEEP = 16
"""Events that may lead to each other: beyond it flows start each other in a circle."""


async def run(config: EmitConfig, context: StepContext, depth: int = 1) -> Json:
    """``{"id"}`` of the event; attempts of one step send the same. ``depth`` is how many events led to it.

    Raises TerminalError ``invalid_event`` for data that the catalogue refuses and in the engine's name, ``too_deep``;
    StepError ``store_unavailable``.
    """
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        raise TerminalError("store_missing", "this worker has no store, and events are kept there")
    if depth > MOST_DEEP:
        message = f"this would be the {depth}th event that leads to another one: do flows start each other in a circle?"
        raise TerminalError("too_deep", message)
    source = config.source or context.flow
    if source == OWN_SOURCE:
        message = f"the source '{OWN_SOURCE}' is the engine's own: name another one as the step's `source`"
        raise TerminalError("invalid_event", message)
    problems = data_problems(context.project.events, config.event, config.data)
    if problems:
        listed = "; ".join(f"{one.field or 'data'}: {one.message}" for one in problems[:5])
        raise TerminalError(
            "invalid_event", f"the data of event '{config.event}' is not what the catalogue says: {listed}"
        )
    event = Event(
        id=config.id or context.idempotency_key,
        type=config.event,
        source=source,
        time=now_text(),
        data=config.data,
        subject=config.subject,
        depth=depth,
        delay=config.delay or 0.0,
    )
    try:
        await store.events.accept([event])
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    return {"id": event.id}
