"""The activity by which a run's own events reach whoever subscribes to them."""

from __future__ import annotations

from typing import Any

from temporalio import activity

from orchestrator.admission import now_text
from orchestrator.errors import StepError, Unavailable
from orchestrator.spec.call import ANNOUNCE
from orchestrator.spec.events import OWN_SOURCE
from orchestrator.steps.attempt import current_step
from orchestrator.steps.context import STORE
from orchestrator.store.database import Store
from orchestrator.store.events import Event

Json = Any


@activity.defn(name=ANNOUNCE)
async def announce(kind: str, data: dict[str, Json], depth: int) -> None:
    """Accept an event of the engine's own: ``run.completed``, ``run.failed`` or ``run.waiting``, about the run it
    belongs to. Attempts announce the same. Raises StepError ``store_unavailable``."""
    context = current_step()
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        return
    event = Event(
        id=f"{context.run_id}/{context.path}",
        type=kind,
        source=OWN_SOURCE,
        time=now_text(),
        data=data,
        subject=context.flow,
        depth=depth,
    )
    try:
        await store.events.accept([event])
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
