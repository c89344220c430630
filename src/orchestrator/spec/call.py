"""What the engine tells a step's activity beside its arguments. It travels in the activity's header, so that the
arguments stay what the author wrote and a worker in any language can serve a function."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

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
    """One scheduled step. What Temporal tells the activity anyway (flow, attempt, times) is left out: the header is
    written into the history once per step."""

    path: str
    step: str
    type: str
    source: str
    version: str
    root: str
    generation: int = 1
    """Rises only when a step is deliberately run again (ENGINE §1)."""
    retry: Retry | None = None
    attempt_timeout: float | None = None
    """Seconds one attempt may take; the activity enforces it, Temporal's own timeout is the backstop."""
    at_most_once: bool = False
    output_schema: dict[str, Json] | None = None
    late: list[dict[str, Json]] = field(default_factory=list)
    """Where late names stand in the arguments (FLOW_FORMAT §2)."""
    bindings: dict[str, dict[str, Json]] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The idempotency key: the same for every attempt of this step in this run and its retries (ENGINE §1)."""
        return f"{self.root}/{self.path}#{self.generation}"


_NOTHING: dict[str, Any] = {
    "generation": 1,
    "retry": None,
    "attempt_timeout": None,
    "at_most_once": False,
    "output_schema": None,
    "late": [],
    "bindings": {},
}


def call_to_json(call: StepCall) -> dict[str, Json]:
    """The call as JSON, defaults left out. Written by hand: it runs once per step."""
    data: dict[str, Json] = {
        "path": call.path,
        "step": call.step,
        "type": call.type,
        "source": call.source,
        "version": call.version,
        "root": call.root,
    }
    for name, nothing in _NOTHING.items():
        value = getattr(call, name)
        if value != nothing:
            data[name] = _retry_to_json(value) if name == "retry" else value
    return data


def call_from_json(data: dict[str, Json]) -> StepCall:
    """The call that ``call_to_json`` wrote."""
    retry = data.get("retry")
    return StepCall(**(data if retry is None else data | {"retry": _retry_from_json(retry)}))


@lru_cache(maxsize=256)
def _retry_to_json(retry: Retry) -> dict[str, Json]:
    return {one.name: getattr(retry, one.name) for one in fields(Retry) if getattr(retry, one.name) != one.default}


def _retry_from_json(data: dict[str, Any]) -> Retry:
    members: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Retry(**members)
