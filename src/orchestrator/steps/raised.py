"""Errors of attempts that are not made here: what a function raises in Temporal's own words, and a lost process."""

from __future__ import annotations

from temporalio.exceptions import ApplicationError

from orchestrator.errors import StepError, TerminalError

WORKER_LOST = "worker_lost"
"""Type of the error of an attempt whose process ended in the middle of it."""


def from_application(error: ApplicationError) -> StepError:
    """A function that raises Temporal's own ApplicationError means its type and retryability."""
    kind = TerminalError if error.non_retryable else StepError
    delay = error.next_retry_delay
    data = error.details[0] if error.details else None
    return kind(
        error.type or "error",
        error.message,
        retry_after=None if delay is None else delay.total_seconds(),
        data=data,
    )
