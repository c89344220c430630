"""The worker under measurement: ``python -m benchmarks.agent_host flow|hand-written``, and the same loop of model and
tool calls without Temporal (``bare``) and as somebody who knows Temporal's SDK would write it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from anthropic import AsyncAnthropic
from temporalio import activity, workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.agent_model import TOOL
from orchestrator.client.connection import connect_temporal
from orchestrator.devserver.connect import connected
from orchestrator.settings import Settings
from orchestrator.worker import FlowWorker

QUEUE = "agent-by-hand"
FLOW = "agent-by-flow"
KINDS = ("flow", "hand-written")
_LIMIT = timedelta(seconds=300)
_SCHEMA = {"type": "object", "properties": {"value": {"type": "integer"}}, "required": ["value"]}
_TOOLS = [{"name": TOOL, "description": "Take a note.", "input_schema": _SCHEMA}]
Json = Any


class Model:
    """One SDK client for all calls, streamed as ours are."""

    def __init__(self, url: str) -> None:
        self._sdk = AsyncAnthropic(api_key="bench", base_url=url, max_retries=0, timeout=120)

    @activity.defn(name="ask")
    async def ask(self, messages: list[dict[str, Json]]) -> dict[str, Json]:
        """The answer to the conversation so far."""
        ask: Any = self._sdk.messages.stream
        async with ask(model="claude-sonnet-5-5", max_tokens=1000, messages=messages, tools=_TOOLS) as stream:
            message = await stream.get_final_message()
        content = [block.model_dump(mode="json", exclude_unset=True) for block in message.content]
        return {"turn": {"role": "assistant", "content": content}, "stop": message.stop_reason}


@activity.defn(name=TOOL)
async def take_note(value: int) -> int:
    """The tool."""
    return value + 1


async def loop(
    goal: str,
    ask: Callable[[list[dict[str, Json]]], Awaitable[dict[str, Json]]],
    call: Callable[[int], Awaitable[int]],
) -> str:
    """The conversation: the same for the bare SDK and for the workflow, they differ in how they ask and call."""
    messages: list[dict[str, Json]] = [{"role": "user", "content": goal}]
    while True:
        answer = await ask(messages)
        messages.append(answer["turn"])
        blocks = answer["turn"]["content"]
        if answer["stop"] != "tool_use":
            return str(blocks[-1]["text"])
        wanted = [block for block in blocks if block["type"] == "tool_use"]
        results = [{"id": block["id"], "value": await call(block["input"]["value"])} for block in wanted]
        content = [{"type": "tool_result", "tool_use_id": one["id"], "content": str(one["value"])} for one in results]
        messages.append({"role": "user", "content": content})


async def bare(model: Model, goal: str) -> str:
    """The loop in this process; nothing is kept."""
    return await loop(goal, model.ask, take_note)


@workflow.defn(name="AgentByHand")
class AgentByHand:
    """The loop as a workflow: the conversation is its state, and the argument of every model call."""

    @workflow.run
    async def run(self, goal: str) -> str:
        async def ask(messages: list[dict[str, Json]]) -> dict[str, Json]:
            answer: dict[str, Json] = await workflow.execute_activity(
                "ask", messages, start_to_close_timeout=_LIMIT, result_type=dict
            )
            return answer

        async def call(value: int) -> int:
            return await workflow.execute_activity(take_note, value, start_to_close_timeout=_LIMIT)

        return await loop(goal, ask, call)


def write_flow(folder: Path) -> None:
    """The loop as a flow."""
    (folder / "workflows" / f"{FLOW}.yaml").write_text(
        f"""id: {FLOW}
inputs: {{goal: string}}
steps:
  - id: agent
    type: agent
    config:
      model: claude-sonnet-5-5
      max_tokens: 1000
      goal: "{{{{ inputs.goal }}}}"
      tools: [{{function: {TOOL}}}]
      limits: {{turns: 1000}}
output: "{{{{ steps.agent.output.text }}}}"
"""
    )


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--address", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", required=True)
    given = parser.parse_args()
    settings = Settings(
        project_dir=given.folder,
        temporal_address=given.address,
        task_queue="orchestrator-bench",
        anthropic_api_key="bench",
        anthropic_base_url=given.model,
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        if given.kind == "flow":
            parts = await stack.enter_async_context(connected(settings))
            await stack.enter_async_context(FlowWorker(settings, parts.client.temporal, parts.store, parts.project))
        else:
            worker = Worker(
                await connect_temporal(settings),
                task_queue=QUEUE,
                workflows=[AgentByHand],
                activities=[Model(given.model).ask, take_note],
                workflow_runner=UnsandboxedWorkflowRunner(),
                max_cached_workflows=2_000,
            )
            await stack.enter_async_context(worker)
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main())
