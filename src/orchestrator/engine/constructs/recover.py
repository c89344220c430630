"""``try``: the body and its retries, the catch that fits the error, and ``finally`` in every case."""

from __future__ import annotations

import asyncio

from temporalio import workflow

from orchestrator.engine.activities import Outcome
from orchestrator.engine.failures import ErrorRecord, RunEnded, StepFailed, failed_after
from orchestrator.engine.frame import Frame
from orchestrator.engine.gate import shielded
from orchestrator.engine.journal import State
from orchestrator.engine.run import Walk
from orchestrator.spec.backoff import next_delay
from orchestrator.spec.definition import Json, Node
from orchestrator.spec.filters import matches


async def try_(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Run the body; on a failure that is not tried again, the first catch that names it; at last ``finally``."""
    state = walk.run.journal.state(path)
    try:
        if state.get("stage") != "finally":
            state["output"] = await _body(walk, node, frame, path, state)
            state["stage"] = "finally"
    except StepFailed as failure:
        state.update(stage="finally", error=failure.error)
    except RunEnded as ended:
        state.update(stage="finally", ended={"output": ended.output, "status": ended.status})
    except asyncio.CancelledError:
        try:
            with walk.run.gate.stop():
                await _finally(walk, node, frame, None, urgent=True)
        except (StepFailed, RunEnded) as failed:
            # Neither hides that the step was cancelled.
            walk.run.warnings.append(f"`finally` of '{path}' did not end well: {failed}")
        raise
    unhandled = "output" not in state and "ended" not in state
    error: ErrorRecord | None = state.get("error") if unhandled else None
    await _finally(walk, node, frame, error, urgent=False)
    if "ended" in state:
        raise RunEnded(state["ended"]["output"], state["ended"]["status"])
    if error is not None:
        raise StepFailed(error)
    return Outcome(state["output"])


async def _body(walk: Walk, node: Node, frame: Frame, path: str, state: State) -> Json:
    if state.get("stage") != "catch":
        try:
            output = await _attempts(walk, node, frame, path, state)
        except StepFailed as failure:
            number = _catch(node, failure.error)
            if number is None:
                raise
            state.update(stage="catch", catch=number, error=failure.error)
        else:
            _skip_catches(walk, node, frame, None)
            return output
    label = f"catch[{state['catch']}]"
    _skip_catches(walk, node, frame, label)
    inner = frame.with_names(f"{path}/{label}/", {"error": state["error"]})
    try:
        output = await walk.run_list(node.lists.get(label, ()), inner)
    except StepFailed as failure:
        raise failed_after(failure, state["error"]) from failure
    walk.run.warnings.append(f"a failure in '{path}' was caught: {state['error']['type']}")
    return output


async def _attempts(walk: Walk, node: Node, frame: Frame, path: str, state: State) -> Json:
    """The body, again as long as ``retry`` says so."""
    if node.retry is not None and node.retry.max_duration is not None and "retry_until" not in state:
        state["retry_until"] = walk.run.clock.after(node.retry.max_duration)
    while True:
        if "retry_at" in state:
            await walk.run.clock.until(state["retry_at"], f"retry of {node.id}")
            state.pop("retry_at")
        try:
            return await walk.run_list(node.lists["steps"], frame.into(node))
        except StepFailed as failure:
            attempt: int = state.setdefault("attempt", 1)
            delay = _delay(walk, node, failure.error, attempt, state)
            if delay is None:
                raise
            walk.run.compensations.keep_records(f"{path}/", walk.run.journal)
            walk.run.journal.reopen((f"{path}/",))
            state.update(attempt=attempt + 1, retry_at=walk.run.clock.after(delay))


def _delay(walk: Walk, node: Node, error: ErrorRecord, attempt: int, state: State) -> float | None:
    if node.retry is None:
        return None
    left = None if "retry_until" not in state else (state["retry_until"] - walk.run.clock.now()) / 1000
    chance = workflow.random().random() if node.retry.jitter else 0.0
    return next_delay(node.retry, error, attempt, retry_after=None, seconds_left=left, chance=chance)


def _catch(node: Node, error: ErrorRecord) -> int | None:
    catches = node.config.get("catch", [])
    return next((number for number, catch in enumerate(catches) if matches(catch.get("on", ["*"]), error)), None)


def _skip_catches(walk: Walk, node: Node, frame: Frame, taken: str | None) -> None:
    for label, nodes in node.lists.items():
        if label.startswith("catch[") and label != taken:
            for other in nodes:
                walk.skip(other, frame.into(node, label))


async def _finally(walk: Walk, node: Node, frame: Frame, error: ErrorRecord | None, *, urgent: bool) -> None:
    """Runs to its end even when the run is cancelled. A failure in it does not hide the error it came after."""
    nodes = node.lists.get("finally", ())
    if not nodes:
        return
    inner = frame.into(node, "finally")
    work = walk.run_list(nodes, inner.with_names(inner.prefix, {"error": error}))
    try:
        await shielded(work, urgent=urgent)
    except StepFailed as failure:
        if error is None:
            raise
        error.setdefault("errors", []).append(failure.error)
