"""A run that is over, read back from Temporal: what it was started with, what each of its steps answered, what people
sent to it, and how it ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import temporalio.client
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.exceptions import ActivityError, ApplicationError

from orchestrator.client import Client, RunCancelled, RunFailed
from orchestrator.client.again import started_with
from orchestrator.client.connection import temporal_errors
from orchestrator.client.run import OVER, Run
from orchestrator.errors import Conflict, Refused
from orchestrator.spec.call import HEADER, StepCall, decode_call
from orchestrator.spec.definition import Envelope, Json

_OWN = "orchestrator."
"""Signals of our own begin so."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt of a step ended: with an output, or with an error (a record of FLOW_FORMAT §6)."""

    output: Json = None
    error: dict[str, Json] | None = None
    usage: dict[str, Json] = field(default_factory=dict)
    seconds: float = 0.0
    """How long it took."""


@dataclass(frozen=True, slots=True)
class Message:
    """A signal or an update that reached the run. ``at`` is seconds after its start."""

    name: str
    content: Json
    at: float


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run that is over."""

    id: str
    body: Json
    envelope: Envelope
    started_at: datetime
    status: str
    """completed, failed, timed_out or cancelled."""
    output: Json
    error: dict[str, Json] | None
    steps: dict[str, dict[str, Json]]
    """Records by path, in the order the steps began."""
    compensated: tuple[str, ...]
    """Paths of the steps that were undone, in that order."""
    attempts: dict[str, list[Attempt]]
    """What activities answered, by path; steps that were run again have the attempts of every time."""
    messages: tuple[Message, ...]
    cancelled_at: float | None = None
    """Seconds after the start at which somebody asked for the run's end."""


async def read_run(client: Client, run_id: str) -> RecordedRun:
    """The run as Temporal and its worker tell it. Raises NotFound, Unavailable, Conflict for a run that goes on, and
    Refused for one that was terminated."""
    run = client.run(run_id)
    info = await run.info()
    if info.status not in OVER:
        raise Conflict(f"the run '{run_id}' is {info.status}: what it will answer is known once it is over")
    if info.status == "terminated":
        raise Refused(f"the run '{run_id}' was terminated, so it has no end that a test could expect; choose another")
    body, envelope = await started_with(client.temporal, run_id)
    if info.retry_of is not None:
        raise Refused(
            f"the run '{run_id}' goes on from '{info.retry_of}', so it did not run from the start; record that one"
        )
    state = await run.state()
    reader = _Reader(client.temporal)
    with temporal_errors(client.temporal, run_id=run_id):
        async for event in _events(client.temporal, run):
            await reader.take(event)
    output, error = await _end(run)
    return RecordedRun(
        id=run_id,
        body=body,
        envelope=envelope,
        started_at=reader.started_at,
        status=state["status"],
        output=output,
        error=error,
        steps=_whole(state["steps"], await run.journal()),
        compensated=tuple(one["path"] for one in state.get("compensations", ()) if one["status"] == "completed"),
        attempts=reader.attempts,
        messages=tuple(reader.messages),
        cancelled_at=reader.cancelled_at,
    )


async def _end(run: Run) -> tuple[Json, dict[str, Json] | None]:
    try:
        return await run.result(), None
    except RunFailed as failed:
        return None, failed.error
    except RunCancelled:
        return None, None


def _whole(steps: Mapping[str, dict[str, Json]], journal: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    """The records in the order they began, passes of loops among the others, with the outputs that were too large to
    be shown."""
    kept = dict(journal.get("records", ()))
    return {
        path: record | {"output": kept[path]["output"]}
        if "output_bytes" in record and "output" in kept.get(path, {})
        else record
        for path, record in sorted(steps.items(), key=lambda one: one[1]["started_at"])
    }


async def _events(temporal: temporalio.client.Client, run: Run) -> AsyncIterator[HistoryEvent]:
    """The history, from the first execution on where the run has continued as new."""
    executions: list[list[HistoryEvent]] = []
    handle = run.handle
    while True:
        events = [event async for event in handle.fetch_history_events()]
        executions.insert(0, events)
        before = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
        if not before:
            break
        handle = temporal.get_workflow_handle(run.id, run_id=before)
    for events in executions:
        for event in events:
            yield event


class _Reader:
    """Takes the events of a history one by one."""

    def __init__(self, temporal: temporalio.client.Client) -> None:
        self._converter = temporal.data_converter
        self._calls: dict[int, StepCall] = {}
        self._begun: dict[int, tuple[float, int, Failure | None]] = {}
        self._started_at: datetime | None = None
        self.attempts: dict[str, list[Attempt]] = {}
        self.messages: list[Message] = []
        self.cancelled_at: float | None = None

    @property
    def started_at(self) -> datetime:
        """When the run began."""
        assert self._started_at is not None, "a history begins with the start"
        return self._started_at

    async def take(self, event: HistoryEvent) -> None:
        """Note what an event says about the run."""
        at = event.event_time.ToDatetime().replace(tzinfo=UTC)
        match event.WhichOneof("attributes"):
            case "workflow_execution_started_event_attributes":
                self._started_at = self._started_at or at
                self._calls.clear()
            case "activity_task_scheduled_event_attributes":
                self._schedule(event)
            case "activity_task_started_event_attributes":
                began = event.activity_task_started_event_attributes
                last = began.last_failure if began.HasField("last_failure") else None
                self._begun[began.scheduled_event_id] = (self._since(at), began.attempt, last)
            case "activity_task_completed_event_attributes":
                done = event.activity_task_completed_event_attributes
                await self._complete(done.scheduled_event_id, list(done.result.payloads), self._since(at))
            case "activity_task_failed_event_attributes":
                failed = event.activity_task_failed_event_attributes
                await self._fail(failed.scheduled_event_id, failed.failure, self._since(at))
            case "workflow_execution_signaled_event_attributes":
                sent = event.workflow_execution_signaled_event_attributes
                await self._message(sent.signal_name, list(sent.input.payloads), self._since(at))
            case "workflow_execution_update_accepted_event_attributes":
                asked = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
                await self._message(asked.name, list(asked.args.payloads), self._since(at))
            case "workflow_execution_cancel_requested_event_attributes":
                self.cancelled_at = self._since(at)

    def _since(self, at: datetime) -> float:
        return (at - self.started_at).total_seconds()

    def _schedule(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        header = scheduled.header.fields.get(HEADER)
        if header is None:
            return
        call = decode_call(header.data)
        # Tasks and agents have activities of other types beside; a function's is called as its handler.
        if call.type == "function" or scheduled.activity_type.name == call.type:
            self._calls[event.event_id] = call

    async def _complete(self, scheduled: int, result: list[Payload], at: float) -> None:
        call = self._calls.get(scheduled)
        if call is None:
            return
        [value] = await self._converter.decode(result) if result else [None]
        began = await self._retried(call, scheduled)
        # A worker of somebody else's answers with the output alone.
        told: dict[str, Json] = value if isinstance(value, dict) and "attempts" in value else {"output": value}
        answered = Attempt(output=told.get("output"), usage=told.get("usage", {}), seconds=at - began)
        self._answers(call).append(answered)

    async def _fail(self, scheduled: int, failure: Failure, at: float) -> None:
        call = self._calls.get(scheduled)
        if call is None:
            return
        began = await self._retried(call, scheduled)
        error = await self._error(failure)
        if error is not None:
            self._answers(call).append(Attempt(error=error, seconds=at - began))

    async def _retried(self, call: StepCall, scheduled: int) -> float:
        """Note the attempts before the last: a history keeps how many there were and the newest one's error. Returns
        when the last one began."""
        began, attempt, last = self._begun.get(scheduled, (0.0, 1, None))
        error = await self._error(last) if last is not None else None
        if error is not None:
            self._answers(call).extend([Attempt(error=error)] * (attempt - 1))
        return began

    async def _error(self, failure: Failure) -> dict[str, Json] | None:
        """The error record of a failed attempt; None for a lost worker, which is no answer of the step."""
        told: Any = await self._converter.decode_failure(failure)
        cause = told.cause if isinstance(told, ActivityError) else told
        if not isinstance(cause, ApplicationError):
            return None
        details = cause.details[0] if cause.details else None
        if isinstance(details, dict) and "type" in details:
            return details
        return {"type": cause.type or "error", "message": cause.message, "retryable": not cause.non_retryable}

    def _answers(self, call: StepCall) -> list[Attempt]:
        return self.attempts.setdefault(call.path, [])

    async def _message(self, name: str, payloads: list[Payload], at: float) -> None:
        [content] = await self._converter.decode(payloads) if payloads else [None]
        if not name.startswith(_OWN) or name in (f"{_OWN}pause", f"{_OWN}resume"):
            self.messages.append(Message(name, content, at))
