"""The ``flow`` step: another flow as a child run, waited for or detached."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.engine.activities import PATIENCE, Outcome
from orchestrator.engine.children import Launch, Report
from orchestrator.engine.failures import ErrorRecord, StepFailed, error_record, told
from orchestrator.engine.frame import Frame
from orchestrator.engine.journal import State
from orchestrator.engine.run import Walk
from orchestrator.spec.backoff import next_delay
from orchestrator.spec.call import CHILD_JOURNAL, RESOLVE_CHILD
from orchestrator.spec.definition import Json, Node, definition_from_json
from orchestrator.spec.inputs import check_json

DEEPEST = 10
"""Runs above a run."""


async def flow(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Start the flow, again as long as the step's ``retry`` says so, and take its output."""
    state = walk.run.journal.state(path)
    while True:
        if "retry_at" in state:
            await walk.run.clock.until(state["retry_at"], f"retry of {node.id}")
            state.pop("retry_at")
        try:
            return await _attempt(walk, node, frame, path, state)
        except StepFailed as failure:
            attempt: int = state.setdefault("attempt", 1)
            failure.error["attempts"] = attempt
            delay = _delay(walk, node, failure.error, attempt, state)
            if delay is None:
                raise
            state.pop("child", None)
            state.pop("bound", None)
            state.update(attempt=attempt + 1, retry_at=walk.run.clock.after(delay))


def _delay(walk: Walk, node: Node, error: ErrorRecord, attempt: int, state: State) -> float | None:
    left = None if "retry_until" not in state else (state["retry_until"] - walk.run.clock.now()) / 1000
    chance = workflow.random().random() if node.retry is not None and node.retry.jitter else 0.0
    return next_delay(node.retry, error, attempt, retry_after=None, seconds_left=left, chance=chance)


async def _attempt(walk: Walk, node: Node, frame: Frame, path: str, state: State) -> Outcome:
    """One attempt, within the time that each may take and that all may take together."""
    clock, limit = walk.run.clock, node.timeout.attempt
    if node.retry is not None and node.retry.max_duration is not None and "retry_until" not in state:
        state["retry_until"] = clock.after(node.retry.max_duration)
    if limit is not None and "bound" not in state:
        state["bound"] = clock.after(limit)

    def expired() -> StepFailed:
        message = f"an attempt took longer than timeout of {limit:g}s"
        return StepFailed(error_record(node, path, "timeout", message, retryable=True))

    work = _once(walk, node, frame, path, state)
    return await clock.within(state.get("bound"), work, expired, f"timeout of an attempt of {node.id}")


async def _once(walk: Walk, node: Node, frame: Frame, path: str, state: State) -> Outcome:
    waits = node.config.get("wait", True) is not False
    if "child" not in state:
        await walk.run.children.start(await _launch(walk, node, frame, path, state, waits), state)
    child: str = state["child"]
    if not waits:
        return Outcome({"run_id": child})
    report = await walk.run.children.result(child)
    if report["status"] == "completed":
        _check_output(node, path, child, report.get("output"))
        return Outcome(report.get("output"), {"run_id": child})
    raise StepFailed(_failure(node, path, child, report))


async def _launch(walk: Walk, node: Node, frame: Frame, path: str, state: State, waits: bool) -> Launch:
    run = walk.run
    if run.envelope.depth >= DEEPEST:
        message = f"'{node.id}' would be the {DEEPEST + 1}th run inside another: does the flow start itself for ever?"
        raise StepFailed(error_record(node, path, "too_deep", message))
    config = walk.render(walk.program.code(node).config, node, frame).value
    _check(config, node, path)
    parent: dict[str, Json] = {
        "run": workflow.info().workflow_id,
        "flow": run.envelope.definition.flow,
        "step": node.id,
        "path": path,
        "root": run.root,
        "depth": run.envelope.depth,
        "wait": waits,
    }
    version = config.get("version")
    wanted = [config["flow"], None if version is None else str(version), config.get("inputs") or {}, parent]
    envelope, definition = await _resolve(walk, node, path, wanted)
    attempt, generation = state.get("attempt", 1), run.journal.generation(path)
    suffix = (f"~{attempt}" if attempt > 1 else "") + (f"#{generation}" if generation > 1 else "")
    child = f"{run.root}:{path}{suffix}"
    args = [config.get("inputs") or {}, envelope, definition]
    if run.envelope.attempt > 1:
        journal = await _journal(walk, node, path, child, definition)
        args += [] if journal is None else [journal]
    return Launch(
        id=child,
        definition=definition_from_json(definition),
        args=args,
        trigger="flow",
        summary=node.name or path,
        searchable=run.envelope.searchable,
        priority=node.priority,
    )


def _check(config: dict[str, Json], node: Node, path: str) -> None:
    wanted: tuple[tuple[str, type, str], ...] = (("flow", str, "the id of a flow"), ("inputs", dict, "a mapping"))
    for key, kind, form in wanted:
        given = config.get(key, {})
        if not isinstance(given, kind):
            message = f"`{key}` of '{node.id}' gave {told(given)}; it takes {form}"
            raise StepFailed(error_record(node, path, "invalid_config", message))


async def _resolve(walk: Walk, node: Node, path: str, wanted: list[Json]) -> list[dict[str, Json]]:
    await walk.run.budget.admit(0)
    try:
        resolved: list[dict[str, Json]] = await workflow.execute_local_activity(
            RESOLVE_CHILD,
            args=wanted,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=PATIENCE,
        )
    except (ActivityError, ApplicationError) as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from error
        cause = error.cause if isinstance(error, ActivityError) else error
        kind = cause.type if isinstance(cause, ApplicationError) and cause.type else "unavailable"
        told = cause.message if isinstance(cause, ApplicationError) else f"flow '{wanted[0]}' could not be resolved"
        raise StepFailed(error_record(node, path, kind, told)) from error
    finally:
        walk.run.budget.release()
    return resolved


def _check_output(node: Node, path: str, child: str, output: Json) -> None:
    problems = check_json(node.output_schema, output) if node.output_schema is not None else []
    if problems:
        listed = "; ".join(f"{problem.field or 'output'}: {problem.message}" for problem in problems[:5])
        message = f"the output of run '{child}' does not match output_schema: {listed}"
        raise StepFailed(error_record(node, path, "invalid_output", message, data=output))


async def _journal(walk: Walk, node: Node, path: str, child: str, definition: Json) -> Json:
    """What an earlier attempt of this run left of the child: a retry goes on inside it."""
    await walk.run.budget.admit(0)
    try:
        return await workflow.execute_activity(
            CHILD_JOURNAL,
            args=[child, definition],
            activity_id=f"{path}#journal",
            start_to_close_timeout=timedelta(seconds=60),
            schedule_to_close_timeout=timedelta(minutes=5),
            summary=f"{path}: what its last attempt left",
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise asyncio.CancelledError from error
        message = f"what run '{child}' had done could not be read: {error.cause}"
        raise StepFailed(error_record(node, path, "unavailable", message)) from error
    finally:
        walk.run.budget.release()


def _failure(node: Node, path: str, child: str, report: Report) -> ErrorRecord:
    cause = report.get("error") or {}
    kind = str(cause.get("type") or report["status"])
    told = cause.get("message") or f"it was {report['status']}"
    return error_record(
        node,
        path,
        kind,
        f"run '{child}': {told}",
        cause=cause or None,
        status=cause.get("status"),
        data=cause.get("data"),
        retryable=bool(cause.get("retryable")),
    )
