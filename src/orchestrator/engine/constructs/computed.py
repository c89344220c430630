"""``run-steps``: a list of steps computed at run time, checked like a file before any of it runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.engine.activities import Outcome
from orchestrator.engine.constructs.numbers import whole_number
from orchestrator.engine.failures import StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.program import Program
from orchestrator.engine.run import Walk
from orchestrator.spec.call import PREPARE_STEPS
from orchestrator.spec.definition import Json, Node, definition_from_json, definition_to_json

MOST_STEPS = 1_000


async def run_steps(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Check the steps, keep what was checked, run it. The output holds each completed step's output by its id."""
    state = walk.run.journal.state(path)
    if "definition" not in state:
        config = walk.render(walk.program.code(node).config, node, frame).value
        state["definition"] = await _prepare(walk, node, path, config, sorted(frame.steps))
    program = Program(definition_from_json(state["definition"]), walk.program)
    inner = frame.into(node)
    await walk.over(program).run_list(program.definition.steps, inner)
    records = {one.id: walk.run.journal.get(inner.path(one)) for one in program.definition.steps}
    output = {
        name: record["output"]
        for name, record in records.items()
        if record is not None and record["status"] == "completed"
    }
    return Outcome(output, {"steps": list(records)})


async def _prepare(walk: Walk, node: Node, path: str, config: dict[str, Json], visible: list[str]) -> Json:
    definition = definition_to_json(walk.run.envelope.definition)
    most = whole_number(config.get("max_steps", 50), "max_steps", node, path, MOST_STEPS)
    context = {"definition": definition, "visible": visible, "step": node.id}
    await walk.run.budget.admit(0)
    try:
        prepared: dict[str, Json] = await workflow.execute_local_activity(
            PREPARE_STEPS,
            args=[config.get("steps"), config["allow"], most, context],
            start_to_close_timeout=timedelta(seconds=30),
            schedule_to_close_timeout=timedelta(minutes=5),
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
    except (ActivityError, ApplicationError) as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from error
        cause = error.cause if isinstance(error, ActivityError) else error
        told = cause.message if isinstance(cause, ApplicationError) else "the steps could not be checked in time"
        kind = cause.type if isinstance(cause, ApplicationError) and cause.type else "invalid_steps"
        raise StepFailed(error_record(node, path, kind, told)) from error
    finally:
        walk.run.budget.release()
    return prepared["definition"]
