"""Replays a stored history and shows what the engine asked for, beside what the history holds.

Replay alone is blind to inputs, options and timer durations: swapping two steps of one type replays fine. So the
commands are compared too. Run as a program it prints both lists as JSON, in a process of its own:
``python -m tests.replay.commands FILE``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowInstance, WorkflowInstanceDetails

from orchestrator.engine.headers import HeaderInterceptor
from orchestrator.engine.workflow import FlowWorkflow

Shown = list[dict[str, Any]]


class RecordingRunner(UnsandboxedWorkflowRunner):
    """Runs workflows as the worker does and keeps every command they produce."""

    def __init__(self) -> None:
        self.commands: list[WorkflowCommand] = []

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        instance = super().create_instance(det)
        activate = instance.activate

        def recording(act: WorkflowActivation) -> WorkflowActivationCompletion:
            completion = activate(act)
            self.commands.extend(completion.successful.commands)
            return completion

        instance.activate = recording  # type: ignore[method-assign]
        return instance


async def replay(history: WorkflowHistory) -> Shown:
    """Replay and return the commands that reach the server, as comparable JSON. Raises on non-determinism."""
    runner = RecordingRunner()
    replayer = Replayer(workflows=[FlowWorkflow], workflow_runner=runner, interceptors=[HeaderInterceptor()])
    await replayer.replay_workflow(history)
    return [shown for command in runner.commands if (shown := _of_command(command)) is not None]


def recorded(history: WorkflowHistory) -> Shown:
    """What the history says was asked for, in the same shape."""
    return [shown for event in history.events if (shown := _of_event(event)) is not None]


def _of_command(command: WorkflowCommand) -> dict[str, Any] | None:
    if command.HasField("schedule_activity"):
        ask = command.schedule_activity
        return _activity(ask.activity_id, ask.activity_type, list(ask.arguments), ask)
    if command.HasField("start_timer"):
        return {"timer": command.start_timer.start_to_fire_timeout.ToJsonString()}
    return None


def _of_event(event: Any) -> dict[str, Any] | None:
    if event.HasField("activity_task_scheduled_event_attributes"):
        ask = event.activity_task_scheduled_event_attributes
        return _activity(ask.activity_id, ask.activity_type.name, list(ask.input.payloads), ask)
    if event.HasField("timer_started_event_attributes"):
        return {"timer": event.timer_started_event_attributes.start_to_fire_timeout.ToJsonString()}
    return None


def _activity(activity_id: str, kind: str, arguments: list[Any], ask: Any) -> dict[str, Any]:
    return {
        "activity": activity_id,
        "type": kind,
        "arguments": [argument.data.decode() for argument in arguments],
        "attempt": ask.start_to_close_timeout.ToJsonString(),
        "heartbeat": ask.heartbeat_timeout.ToJsonString(),
        "retry": MessageToDict(ask.retry_policy),
    }


def main(path: str) -> None:
    """Print what was produced and what is stored."""
    history = WorkflowHistory.from_json("stored", Path(path).read_text(encoding="utf-8"))
    produced = asyncio.run(replay(history))
    sys.stdout.write(json.dumps({"produced": produced, "stored": recorded(history)}, ensure_ascii=False))
    sys.stdout.flush()
    # A thread of the SDK's native part may still ask for the interpreter while it shuts down, which aborts about one
    # process in forty after all is said.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
