"""What the steps of a run were really sent: the arguments of their activities, from the run's history. Secrets are not
in them by design: they stand there by name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import temporalio.client
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.history.v1 import ActivityTaskScheduledEventAttributes, HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest

from orchestrator.client.connection import temporal_errors
from orchestrator.expressions import fill_late
from orchestrator.spec.call import HEADER

Json = Any

_PAGE = 200
AT_A_GLANCE = 1_000
"""Events that are read for every look at a page."""
AT_MOST = 100_000
"""Events that are read for one step that somebody asked for."""
_INLINE = (b"json/plain", b"binary/null")


@dataclass(slots=True)
class Sent:
    """What was found, by the paths of steps; ``large`` are those whose value is stored outside the history, and
    ``whole`` is whether that was read to its end."""

    found: dict[str, Json] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    whole: bool = True

    def can_be_asked(self, path: str) -> bool:
        """Whether more may be found by asking for this one."""
        return path in self.large or not self.whole


async def sent_to(
    temporal: temporalio.client.Client, run_id: str, paths: Collection[str], asked: str | None = None
) -> Sent:
    """What the steps of these paths were sent, as far as a glance shows it; ``asked`` is looked for in all of the
    history, however large its value. Raises NotFound, Unavailable."""
    sent = Sent()
    wanted = {*paths, *([asked] if asked else [])}
    scheduled: dict[str, ActivityTaskScheduledEventAttributes] = {}
    count, execution = 0, ""
    while wanted:
        before = ""
        async for event in _events(temporal, run_id, execution):
            if event.event_id == 1:
                before = event.workflow_execution_started_event_attributes.continued_execution_run_id
            count += 1
            if count > (AT_MOST if asked and asked not in scheduled else AT_A_GLANCE):
                sent.whole = False
                break
            _note(event, wanted, scheduled)
        if not before or not sent.whole:
            break
        # What an earlier execution of the run has scheduled: this one has continued as new.
        execution = before
        wanted -= scheduled.keys()
    for path, attributes in scheduled.items():
        payloads = attributes.input.payloads
        if path == asked or all(payload.metadata.get("encoding") in _INLINE for payload in payloads):
            sent.found[path] = await _shown(temporal, attributes)
        else:
            sent.large.add(path)
    return sent


def _note(
    event: HistoryEvent, wanted: Collection[str], scheduled: dict[str, ActivityTaskScheduledEventAttributes]
) -> None:
    """Keep the event where it is of a step that is wanted; the last one counts, but not what the engine does about it
    besides."""
    if not event.HasField("activity_task_scheduled_event_attributes"):
        return
    attributes = event.activity_task_scheduled_event_attributes
    path = str(_call(attributes).get("path"))
    if path in wanted:
        known = scheduled.get(path)
        if known is None or known.activity_type.name == attributes.activity_type.name:
            scheduled[path] = attributes


def _call(attributes: ActivityTaskScheduledEventAttributes) -> Mapping[str, Json]:
    header: Payload | None = attributes.header.fields.get(HEADER)
    told = json.loads(header.data) if header is not None else {}
    return told if isinstance(told, dict) else {}


async def _shown(temporal: temporalio.client.Client, attributes: ActivityTaskScheduledEventAttributes) -> Json:
    """The arguments of a function, and the config of any other step, late names as they stand in the flow."""
    arguments: list[Json] = await temporal.data_converter.decode(attributes.input.payloads)
    call = _call(attributes)
    if call.get("late"):
        arguments = list(fill_late(arguments, call["late"], lambda name: f"{{{{ {name} }}}}"))
    if call.get("type") == "function" and len(arguments) != 1:
        return arguments
    return arguments[0] if arguments else None


async def _events(temporal: temporalio.client.Client, run_id: str, execution: str) -> AsyncIterator[HistoryEvent]:
    """The events of one execution of a run, the newest one where none is named."""
    token = b""
    while True:
        request = GetWorkflowExecutionHistoryRequest(
            namespace=temporal.namespace,
            execution=WorkflowExecution(workflow_id=run_id, run_id=execution),
            maximum_page_size=_PAGE,
            next_page_token=token,
        )
        with temporal_errors(temporal, run_id=run_id):
            answer = await temporal.workflow_service.get_workflow_execution_history(request)
        for event in answer.history.events:
            yield event
        token = answer.next_page_token
        if not token:
            return
