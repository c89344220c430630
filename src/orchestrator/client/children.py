"""What a retried run's sub-flow goes on from: asked for by the engine, answered on the worker."""

from __future__ import annotations

from temporalio import activity

from orchestrator.client.run import OVER, Run
from orchestrator.engine.again import carry
from orchestrator.errors import NotFound
from orchestrator.spec.call import CHILD_JOURNAL
from orchestrator.spec.definition import Json, definition_from_json


@activity.defn(name=CHILD_JOURNAL)
async def child_journal(run_id: str, definition: Json) -> dict[str, Json] | None:
    """The journal to start a child run with again, or None where there is nothing to go on from: no such run, one that
    is not over or has completed, or one of another definition.

    Raises Unavailable, to be tried again, where no worker tells the old run's journal.
    """
    run = Run(activity.client(), run_id)
    try:
        info = await run.info()
    except NotFound:
        return None
    if info.status not in OVER - {"completed"}:
        return None
    journal = await run.journal()
    wanted = definition_from_json(definition)
    if not journal or journal["hash"] != wanted.hash:
        return None
    taken = dict(carry.retry(journal, wanted).journal)
    taken.pop("messages", None)
    return taken
