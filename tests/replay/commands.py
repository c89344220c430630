"""Replays a stored history and shows what the engine asked for, beside what the history holds.

Replay alone is blind to inputs, options and timer durations: swapping two steps of one type replays fine. So the
commands are compared too. Run as a program it prints both as JSON, by file, in a process of its own:
``python -m tests.replay.commands FILE …``.

A history keeps neither its run's id, which idempotency keys are made of, nor what local activities were asked with. So
a stored file has two members more than Temporal's own JSON, ``id`` and ``local``, which ``record`` writes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails
from temporalio.workflow import NondeterminismError

from orchestrator.engine.headers import HeaderInterceptor
from orchestrator.engine.workflow import FlowWorkflow
from orchestrator.spec.call import HEADER

Shown = list[dict[str, Any]]


class RecordingRunner(UnsandboxedWorkflowRunner):
    """Runs workflows as the worker does and keeps every command they produce, with the length of the history that its
    workflow task saw: commands of one task carry the same number."""

    def __init__(self) -> None:
        self.commands: list[tuple[int, WorkflowCommand]] = []

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = super().create_instance(det)
        activate = instance.activate

        def recording(act: WorkflowActivation) -> WorkflowActivationCompletion:
            completion = activate(act)
            self.commands.extend((act.history_length, command) for command in completion.successful.commands)
            return completion

        instance.activate = recording  # type: ignore[method-assign]
        return instance


async def replay(history: WorkflowHistory) -> tuple[Shown, Shown]:
    """Replay and return, as comparable JSON, the commands that reach the server and the local activities. Raises on
    non-determinism."""
    runner = RecordingRunner()
    replayer = Replayer(workflows=[FlowWorkflow], workflow_runner=runner, interceptors=[HeaderInterceptor()])
    await replayer.replay_workflow(history)
    return _produced(runner.commands), _local(command for _, command in runner.commands)


def stored(text: str) -> tuple[WorkflowHistory, Shown]:
    """The history of a stored file and what its local activities were asked with."""
    data = json.loads(text)
    run_id, local = data.pop("id"), data.pop("local")
    return WorkflowHistory.from_json(run_id, data), local


def recorded(history: WorkflowHistory) -> Shown:
    """What the history says was asked for, in the same shape."""
    activities: dict[int, str] = {}
    found: Shown = []
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            activities[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
        kind = str(event.WhichOneof("attributes")).removesuffix("_event_attributes")
        show = _EVENTS.get(kind)
        if show is not None:
            found.append(show(getattr(event, f"{kind}_event_attributes")))
        elif kind == "activity_task_cancel_requested":
            asked = event.activity_task_cancel_requested_event_attributes.scheduled_event_id
            found.append({"cancelled": activities[asked]})
    return found


def _produced(commands: list[tuple[int, WorkflowCommand]]) -> Shown:
    """Commands as they reach the server: what is asked for and cancelled within one task never does."""
    found: list[dict[str, Any] | None] = []
    begun: dict[tuple[str, int], tuple[int, int, str]] = {}
    for task, command in commands:
        kind = str(command.WhichOneof("variant"))
        asked = getattr(command, kind)
        if kind in _STARTS:
            name = asked.activity_id if kind == "schedule_activity" else str(asked.seq)
            begun[_STARTS[kind], asked.seq] = (task, len(found), name)
        elif kind in _CANCELS:
            before, place, name = begun[kind, asked.seq]
            if before == task:
                found[place] = None
            else:
                found.append({"cancelled": name})
        show = _COMMANDS.get(kind)
        if show is not None:
            found.append(show(asked))
    return [one for one in found if one is not None]


_STARTS = {"start_timer": "cancel_timer", "schedule_activity": "request_cancel_activity"}
"""What can be cancelled, and by which command."""
_CANCELS = frozenset(_STARTS.values())


def _local(commands: Iterable[WorkflowCommand]) -> Shown:
    found: Shown = []
    for command in commands:
        ask = command.schedule_local_activity
        # A later attempt after a long pause is a command of its own.
        if command.HasField("schedule_local_activity") and ask.attempt <= 1:
            found.append(
                {
                    "local": ask.activity_id,
                    "type": ask.activity_type,
                    "arguments": _values(ask.arguments),
                    "call": _value(ask.headers[HEADER]) if HEADER in ask.headers else None,
                    "attempt": ask.start_to_close_timeout.ToJsonString(),
                    "retry": MessageToDict(ask.retry_policy),
                }
            )
    return found


def _activity(kind: str, arguments: Iterable[Any], headers: Any, ask: Any) -> dict[str, Any]:
    return {
        "activity": ask.activity_id,
        "type": kind,
        "arguments": _values(arguments),
        "call": _value(headers[HEADER]) if HEADER in headers else None,
        "attempt": ask.start_to_close_timeout.ToJsonString(),
        "total": ask.schedule_to_close_timeout.ToJsonString() if _is_set(ask.schedule_to_close_timeout) else "",
        "heartbeat": ask.heartbeat_timeout.ToJsonString(),
        "retry": MessageToDict(ask.retry_policy),
    }


def _timer(ask: Any) -> dict[str, Any]:
    return {"timer": ask.start_to_fire_timeout.ToJsonString()}


def _child(workflow_type: str, arguments: Iterable[Any], ask: Any) -> dict[str, Any]:
    return {
        "child": ask.workflow_id,
        "type": workflow_type,
        "arguments": _values(arguments),
        "task": ask.workflow_task_timeout.ToJsonString(),
        "close": ask.parent_close_policy,
    }


def _signal(name: str, arguments: Iterable[Any], ask: Any) -> dict[str, Any]:
    target = ask.workflow_execution.workflow_id
    return {"signal": name, "to": target, "arguments": _values(arguments)}


def _cancel(ask: Any) -> dict[str, Any]:
    return {"cancelled run": ask.workflow_execution.workflow_id}


def _failed(ask: Any) -> dict[str, Any]:
    info = ask.failure.application_failure_info
    return {"failed": info.type, "message": ask.failure.message, "details": _values(info.details.payloads)}


_COMMANDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "schedule_activity": lambda ask: _activity(ask.activity_type, ask.arguments, ask.headers, ask),
    "start_timer": _timer,
    "start_child_workflow_execution": lambda ask: _child(ask.workflow_type, ask.input, ask),
    "signal_external_workflow_execution": lambda ask: _signal(ask.signal_name, ask.args, ask),
    "request_cancel_external_workflow_execution": _cancel,
    "continue_as_new_workflow_execution": lambda ask: {"continued with": _values(ask.arguments)},
    "complete_workflow_execution": lambda ask: {"completed": _values([ask.result])},
    "fail_workflow_execution": _failed,
    "cancel_workflow_execution": lambda ask: {"cancelled": "this run"},
}

_EVENTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "activity_task_scheduled": lambda ask: _activity(
        ask.activity_type.name, ask.input.payloads, ask.header.fields, ask
    ),
    "timer_started": _timer,
    "timer_canceled": lambda ask: {"cancelled": ask.timer_id},
    "start_child_workflow_execution_initiated": lambda ask: _child(ask.workflow_type.name, ask.input.payloads, ask),
    "signal_external_workflow_execution_initiated": lambda ask: _signal(ask.signal_name, ask.input.payloads, ask),
    "request_cancel_external_workflow_execution_initiated": _cancel,
    "workflow_execution_continued_as_new": lambda ask: {"continued with": _values(ask.input.payloads)},
    "workflow_execution_completed": lambda ask: {"completed": _values(ask.result.payloads)},
    "workflow_execution_failed": _failed,
    "workflow_execution_canceled": lambda ask: {"cancelled": "this run"},
}


def _values(payloads: Iterable[Any]) -> list[Any]:
    return [_value(payload) for payload in payloads]


def _value(payload: Any) -> Any:
    return json.loads(payload.data) if payload.data else None


def _is_set(duration: Any) -> bool:
    """The server fills in a bound that was not asked for: ten years, or nothing."""
    return bool(0 < duration.seconds < 10 * 365 * 86400)


def main(paths: list[str]) -> None:
    """Print what was produced and what is stored, by path; an exception instead where a replay raised one."""
    texts = {path: Path(path).read_text(encoding="utf-8") for path in paths}
    answers = {path: asyncio.run(_compared(text)) for path, text in texts.items()}
    sys.stdout.write(json.dumps(answers, ensure_ascii=False))
    sys.stdout.flush()
    # A thread of the SDK's native part may still ask for the interpreter while it shuts down, which aborts about one
    # process in forty after all is said.
    os._exit(0)


async def _compared(text: str) -> dict[str, Any]:
    history, local = stored(text)
    try:
        produced = await replay(history)
    except (NondeterminismError, RuntimeError) as error:
        return {"raised": str(error)}
    return {"produced": produced, "stored": [recorded(history), local]}


if __name__ == "__main__":
    main(sys.argv[1:])
