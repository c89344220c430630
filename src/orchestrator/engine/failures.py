"""How failures look inside a run, and how Temporal's exceptions become the error record of FLOW_FORMAT §6."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, TimeoutType
from temporalio.exceptions import TimeoutError as TemporalTimeout

from orchestrator.expressions import ExpressionError
from orchestrator.spec.definition import Definition, Json, Node

ErrorRecord = dict[str, Json]


class StepFailed(Exception):
    """A step failed for good; ``error`` is its record."""

    def __init__(self, error: ErrorRecord) -> None:
        super().__init__(f"{error['type']}: {error['message']}")
        self.error = error


class RunEnded(Exception):
    """``return``, ``until`` or a task's ``cancel`` ends the run from anywhere. Not a failure: no handler sees it."""

    def __init__(self, output: Json, status: str = "completed") -> None:
        super().__init__(status)
        self.output = output
        self.status = status


def combined(errors: Sequence[BaseException]) -> BaseException:
    """One exception for steps that ran on after a failure: the earliest, with all records in ``errors``."""
    for error in errors:
        if not isinstance(error, StepFailed):
            return error
    failures = [error for error in errors if isinstance(error, StepFailed)]
    if len(failures) == 1:
        return failures[0]
    return StepFailed(failures[0].error | {"errors": [failure.error for failure in failures]})


def failed_after(failure: StepFailed, first: ErrorRecord) -> StepFailed:
    """The failure of a handler: its own error, and as its cause the one that it was to handle."""
    return StepFailed({"cause": first} | failure.error)


def told(value: Json) -> str:
    """A value as an error message shows it: its JSON, cut."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def error_record(node: Node, path: str, kind: str, message: str, **more: Json) -> ErrorRecord:
    """An error record for a step; ``more`` may add status, data, retryable, attempts, cause, errors."""
    record: ErrorRecord = {
        "type": kind,
        "message": message,
        "step": {"id": node.id, "type": node.type, "path": path},
        "attempts": more.pop("attempts", 1),
        "retryable": more.pop("retryable", False),
        "source": node.source,
    }
    return record | {key: value for key, value in more.items() if value is not None}


def expression_failure(node: Node, path: str, error: ExpressionError) -> StepFailed:
    """An expression of the step could not be evaluated."""
    return StepFailed(error_record(node, path, "expression_error", str(error)))


def activity_failure(node: Node, path: str, error: ActivityError | ApplicationError) -> StepFailed:
    """The step's activity failed for good. Cancellation is not a failure: ask ``is_cancelled_exception`` first. A
    local activity's failure may come without its wrapper."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError):
        return StepFailed(_application_failure(node, path, cause))
    if isinstance(cause, TemporalTimeout):
        return StepFailed(_timeout_failure(node, path, cause))
    if isinstance(cause, CancelledError):
        return StepFailed(error_record(node, path, "cancelled", "the step was cancelled by its worker"))
    return StepFailed(error_record(node, path, "error", str(cause or error)))


def _application_failure(node: Node, path: str, cause: ApplicationError) -> ErrorRecord:
    details: Any = cause.details[0] if cause.details else None
    if isinstance(details, dict) and details.get("orchestrator") == 1:
        told = {key: value for key, value in details.items() if key != "orchestrator"}
        return error_record(node, path, **{"kind": told.pop("type"), **told})
    # A worker in another language, or the SDK itself: type and message are all there is, and often those of a cause.
    inner = cause.cause
    if cause.type is None and isinstance(inner, ApplicationError):
        return error_record(node, path, inner.type or "error", f"{cause.message}: {inner.message}", data=details)
    return error_record(node, path, cause.type or "error", cause.message, data=details)


def _timeout_failure(node: Node, path: str, cause: TemporalTimeout) -> ErrorRecord:
    match cause.type:
        case TimeoutType.START_TO_CLOSE:
            limit = node.timeout.attempt
            return error_record(
                node,
                path,
                "timeout",
                f"an attempt took longer than timeout {_seconds(limit)}",
                retryable=True,
            )
        case TimeoutType.HEARTBEAT:
            message = "the worker that ran the step was lost and no attempt was left"
            return error_record(node, path, "worker_lost", message, retryable=True)
        case _:
            budget, limit = node.retry.max_duration if node.retry else None, node.timeout.total
            whose = "total timeout"
            if budget is not None and (limit is None or budget < limit):
                whose, limit = "retry's max_duration", budget
            message = (
                f"the step did not finish within its {whose} {_seconds(limit)}, waiting in the queue and retries "
                "included; is a worker serving its task queue?"
            )
            last = cause.__cause__
            return error_record(node, path, "step_timeout", message, cause=str(last) if last else None)


def _seconds(limit: float | None) -> str:
    return "" if limit is None else f"of {limit:g}s"


def flow_failure(definition: Definition, key: str, error: ExpressionError) -> StepFailed:
    """An expression of the flow itself could not be evaluated."""
    return StepFailed(
        {
            "type": "expression_error",
            "message": f"`{key}` of flow '{definition.flow}': {error}",
            "attempts": 1,
            "retryable": False,
            "source": definition.file,
        }
    )
