"""The local activity by which a run says which events it waits for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.errors import Unavailable
from orchestrator.spec.call import LISTEN
from orchestrator.spec.patterns import matches_type, member
from orchestrator.store.database import Store
from orchestrator.store.listeners import Listener

Json = Any


def listen_activity(store: Store) -> Callable[..., Any]:
    """The activity, bound to the store. It takes a list of ``{"path", "types", "correlate"}`` and the instant from
    which on events count (ISO 8601); it returns the events accepted since then that fit one of them: they may have
    been routed before anybody knew that this run waits."""

    @activity.defn(name=LISTEN)
    async def listen(waits: list[dict[str, Json]], since: str) -> list[dict[str, Json]]:
        run_id = activity.info().workflow_id or ""
        try:
            await store.listeners.add(
                [Listener(run_id, wait["path"], kind, wait["correlate"]) for wait in waits for kind in wait["types"]]
            )
            missed = await store.events.since(datetime.fromisoformat(since))
        except Unavailable as error:
            raise ApplicationError(str(error), type=error.code) from error
        return [told for told in (event.told() for event in missed) if any(_fits(wait, told) for wait in waits)]

    return listen


def _fits(wait: dict[str, Json], event: dict[str, Json]) -> bool:
    return matches_type(wait["types"], event["type"]) and all(
        member(event, name) == value for name, value in wait["correlate"].items()
    )
