"""What the engine tells a step's activity beside its arguments. It travels in the activity's header, so that the
arguments stay what the author wrote and a worker in any language can serve a function."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from orchestrator.spec.definition import Json, Node, Retry

HEADER = "orchestrator"
"""Name of the header that carries a StepCall as JSON."""

RESOLVE_FLOW = "resolve-flow"
"""Local activity: builds the envelope of a run that was started bare. Arguments: flow id, body, workflow id."""

CANCEL_RUN = "cancel-run"
"""Local activity: asks Temporal to cancel the run it belongs to."""

RESOLVE_CHILD = "resolve-child"
"""Local activity: the envelope and definition of a sub-flow. Arguments: flow id, version or None, inputs, parent."""

PREPARE_STEPS = "prepare-steps"
"""Local activity: checks steps computed at run time. Arguments: the steps, allowed types, their most, context."""

CHILD_STATUS = "child-status"
"""Local activity: how a sub-flow's run stands, asked after its parent continued as new. Argument: its run id."""

CHILD_JOURNAL = "child-journal"
"""Activity: what a retried run's sub-flow goes on from. Arguments: its run id, its definition."""

CALLBACK = "orchestrator.callback"
"""Signal or update that answers a callback: ``{"path", "data"}``, or ``{"path", "error": {"type", "message"}}``."""

CALLBACKS = "/v1/callbacks"
"""Where the gateway takes them."""

LISTEN = "listen"
"""Local activity: notes which events the run waits for. Arguments: ``[{"path", "types", "correlate"}]``, and the
instant from which on events count. Returns the events that were accepted since then and that some of them may want."""

ANNOUNCE = "announce"
"""Activity: accepts an event that the engine tells of a run. Arguments: its type, its data."""

RECORD_RUN = "record-run"
"""Local activity: writes the end of a run into the ledger, and keeps those of its alerts that hold. Arguments: the run
as ``store.ledger`` keeps it, and its alerts: ``{"alert", "condition", "any", "channel", "message"}``."""

ALERT = "alert"
"""Activity: keeps an alert for whoever sends it. Arguments: its place in the flow, the run's first execution, its
channel, and ``{"condition", "found", "values", "message", "status"}``."""

PERMITS = "orchestrator.permits"
"""Workflow that hands out the permits of one flow and key; its id begins so too."""

ACQUIRE = "acquire"
RELEASE = "release"
"""Signals to it: ``{"run", "limit", "when_full"}``, ``{"run"}``."""

ASK_PERMIT = "ask"
"""Update of it, by doors: ``{"run", "limit"}``; answers ``{"granted", "holder"?}``."""

PERMIT = "orchestrator.permit"
"""Its signal to a run: ``{"granted": true}``, ``{"reject": holder}`` or ``{"join": holder}``."""

EVENT = "orchestrator.event"
"""Signal: an event for a run's waits."""

ACQUIRE_PERMIT = "acquire-permit"
"""Local activity: sends ACQUIRE. Arguments: the desk's id, the message."""

COLLECTOR = "orchestrator.collector"
"""Workflow that gathers the events of one batch trigger and key; its id begins so too."""

COLLECT = "collect"
"""Signal to it: an event."""

FLUSH = "flush-batch"
"""Activity: starts the run for a batch. Arguments: flow, trigger id, events."""

DEBOUNCER = "orchestrator.debounce"
"""Workflow that keeps the last delivery of one trigger and key until no other comes; its id begins so too."""

HELPERS = (PERMITS, COLLECTOR, DEBOUNCER)
"""Workflow types of our own that are no runs of flows."""

HOLD = "hold"
"""Signal to it: ``{"id", "wait", "max_wait", "start"}``."""

START_HELD = "start-held"
"""Activity: starts the run of the last delivery. Argument: its ``start``: ``{"flow", "version", "run_id", "inputs",
"trigger"}``."""

CLOSE_TASK = "close-task"
"""Activity: writes a human task's end into the store."""

NOTE_TASK = "note-task"
"""Activity: writes into the store what has happened to an open human task. Argument: ``{"path", "notes", "now"}``."""

AGENT_OPEN = "agent-open"
"""Activity: who an agent is and what it may use, kept in its transcript. Arguments: the step's rendered config, and
``{"transcript", "schema", "depth"}``."""

AGENT_TURN = "agent-turn"
"""Activity: one call of an agent's model. Argument: ``{"transcript", "turn", "results" | "correction", "left"}``."""

OWN_QUEUE_PREFIX = "orchestrator-"
"""Task queues served by our own workers; on any other queue a function is a foreign activity."""


@dataclass(slots=True)
class StepCall:
    """One scheduled step. What Temporal tells the activity anyway (flow, attempt, times) is left out: the header is
    written into the history once per step."""

    path: str
    root: str
    step: str
    type: str
    source: str
    version: str
    generation: int = 1
    """Rises only when a step is deliberately run again (ENGINE §1)."""
    late: list[dict[str, Json]] = field(default_factory=list)
    """Where late names stand in the arguments (FLOW_FORMAT §2)."""
    retry: Retry | None = None
    attempt_timeout: float | None = None
    """Seconds one attempt may take; the activity enforces it, Temporal's own timeout is the backstop."""
    at_most_once: bool = False
    output_schema: dict[str, Json] | None = None
    bindings: dict[str, dict[str, Json]] = field(default_factory=dict)
    cache: dict[str, Json] | None = None
    """``{key, ttl, scope}``: the rendered key, seconds or None, ``flow`` or ``project``."""

    @property
    def key(self) -> str:
        """The idempotency key: the same for every attempt of this step in this run and its retries (ENGINE §1)."""
        return f"{self.root}/{self.path}#{self.generation}"


def fixed_part(node: Node, version: str, retry: Retry | None) -> str:
    """The members of a call that are the same in every run of a definition, as JSON text: written once per process,
    because a header is written once per step."""
    members: dict[str, Json] = {"step": node.id, "type": node.type, "source": node.source, "version": version}
    if retry is not None:
        members["retry"] = {
            one.name: getattr(retry, one.name) for one in fields(Retry) if getattr(retry, one.name) != one.default
        }
    if node.timeout.attempt is not None:
        members["attempt_timeout"] = node.timeout.attempt
    if node.at_most_once:
        members["at_most_once"] = True
    if node.output_schema is not None:
        members["output_schema"] = node.output_schema
    if node.bindings:
        members["bindings"] = node.bindings
    return json.dumps(members)[1:]


def encode_call(
    fixed: str,
    path: str,
    root: str,
    late: list[dict[str, Json]],
    *,
    generation: int = 1,
    cache: dict[str, Json] | None = None,
) -> bytes:
    """A call as JSON: ``fixed_part`` and what is this step's alone."""
    own = f',"late":{json.dumps(late)}' if late else ""
    if generation > 1:
        own += f',"generation":{generation}'
    if cache is not None:
        own += f',"cache":{json.dumps(cache)}'
    return f'{{"path":{json.dumps(path)},"root":{json.dumps(root)}{own},{fixed}'.encode()


def decode_call(data: bytes) -> StepCall:
    """The call that ``encode_call`` wrote."""
    members = json.loads(data)
    if "retry" in members:
        members["retry"] = _retry(members["retry"])
    return StepCall(**members)


def _retry(data: dict[str, Any]) -> Retry:
    members: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    return Retry(**members)
