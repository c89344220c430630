"""Telling the outside which events a run waits for, so that they reach it (FLOW_FORMAT §5)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.engine.activities import LONG_PATIENCE
from orchestrator.engine.failures import StepFailed
from orchestrator.engine.run import Run, Walk
from orchestrator.expressions import ExpressionError, compile_value
from orchestrator.spec.call import LISTEN
from orchestrator.spec.definition import Json
from orchestrator.spec.patterns import signal_id
from orchestrator.spec.places import places

Wanted = dict[str, Json]
"""``{"path", "types", "correlate"}``."""


async def listen(run: Run, wanted: list[Wanted], since: str) -> None:
    """Note what is waited for, and take what was accepted since the instant and may have been missed. Raises StepFailed
    ``store_unavailable``."""
    await run.budget.admit(0)
    try:
        await _listen(run, wanted, since)
    finally:
        run.budget.release()


async def _listen(run: Run, wanted: list[Wanted], since: str) -> None:
    try:
        missed: list[dict[str, Json]] = await workflow.execute_local_activity(
            LISTEN,
            args=[wanted, since],
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=LONG_PATIENCE,
        )
    except (ActivityError, ApplicationError) as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from error
        message = f"nobody could be told which events the run waits for: {error.cause or error}"
        told = {"type": "store_unavailable", "message": message, "attempts": 1, "retryable": True}
        raise StepFailed(told) from error
    for event in missed:
        # It may be on its way too.
        if run.inbox.is_new({"signal_id": signal_id(event)}):
            run.events.deliver(event)


async def listen_early(walk: Walk) -> None:
    """Once, at the run's start: what its waits want whose correlation needs nothing the run finds out on its way.
    Raises StepFailed."""
    wanted = [one for one in (_early(walk, step) for step in walk.program.early) if one is not None]
    if wanted:
        # Nothing else is under way: no budget, and no drain that this would wait for in vain.
        await _listen(walk.run, wanted, workflow.info().start_time.isoformat())


def _early(walk: Walk, step: str) -> Wanted | None:
    place = next(place for place in places(walk.program.definition) if place.node.id == step)
    try:
        correlate = compile_value(place.node.config["correlate"], walk.program.names)
        values = correlate.render(walk.run.frame.scope, walk.run.meter).value
    except ExpressionError:
        # The step itself will fail with it, if it is ever reached.
        return None
    if not isinstance(values, dict):
        return None
    return {"path": place.path, "types": list(walk.program.early[step]), "correlate": values}
