"""What the engine tells a step's activity beside its arguments. It travels in the activity's header, so that the
arguments stay what the author wrote and a worker in any language can serve a function."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from orchestrator.spec.definition import Json, Retry

HEADER = "orchestrator"
"""Name of the header that carries a StepCall as JSON."""

RESOLVE_FLOW = "resolve-flow"
"""Local activity: builds the envelope of a run that was started bare. Arguments: flow id, body, workflow id."""

CANCEL_RUN = "cancel-run"
"""Local activity: asks Temporal to cancel the run it belongs to."""

CLOSE_TASK = "close-task"
"""Activity: writes a human task's end into the store."""

OWN_QUEUE_PREFIX = "orchestrator-"
"""Task queues served by our own workers; on any other queue a function is a foreign activity."""


@dataclass(frozen=True, slots=True)
class StepCall:
    """One scheduled step."""

    path: str
    step: str
    type: str
    source: str
    flow: str
    version: str
    root: str
    key: str
    """Idempotency key: root run id, path and generation (ENGINE §1)."""
    retry: Retry | None = None
    attempt_timeout: float | None = None
    """Seconds one attempt may take; the activity enforces it, Temporal's own timeout is the backstop."""
    deadline: str | None = None
    """Instant after which no attempt may start (total timeout, ``max_duration``)."""
    at_most_once: bool = False
    output_schema: dict[str, Json] | None = None
    late: list[dict[str, Json]] = field(default_factory=list)
    """Where late names stand in the arguments (FLOW_FORMAT §2)."""
    bindings: dict[str, dict[str, Json]] = field(default_factory=dict)


_CALL: TypeAdapter[StepCall] = TypeAdapter(StepCall)


def call_to_json(call: StepCall) -> dict[str, Json]:
    """The call as JSON, defaults left out."""
    dumped: dict[str, Json] = _CALL.dump_python(call, mode="json", exclude_defaults=True)
    return dumped


def call_from_json(data: Any) -> StepCall:
    """The call that ``call_to_json`` wrote."""
    return _CALL.validate_python(data)
