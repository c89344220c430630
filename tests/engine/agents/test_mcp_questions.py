"""An MCP server that asks in the middle of a call: a person answers as a task, and the call goes on, in a step of its own
and as a tool of an agent."""

from __future__ import annotations

from typing import Any

from tests.engine.agents.bench import AgentBench, agent, flow
from tests.engine.agents.model import calls
from tests.integration.steps.mcp_lab import bare

Json = Any
BOX = {"server": "box", "tool": "book", "arguments": {"film": "Parasite"}}


def booking(**config: Json) -> str:
    return flow({"id": "seats", "type": "mcp", "config": BOX | config}, output="{{ steps.seats.output.text }}")


async def test_a_person_answers_the_form_that_the_server_sent(agents: AgentBench) -> None:
    agents.project(mcp={"box": bare()})
    handle = await agents.start(booking(elicit={"assignee": "kim"}))
    wait = await agents.task(handle, "answer-")
    row = await agents.bench.store.tasks.get(wait["task_id"])
    assert (row.assignee, row.instructions) == ("kim", "How many seats?")
    given = {"task": wait["task_id"], "decision": "answer", "data": {"seats": 3}}
    await handle.execute_update(wait["step"], given)
    assert await agents.result(handle) == "Parasite: 3"


async def test_a_question_that_is_declined_is_told_to_the_server(agents: AgentBench) -> None:
    agents.project(mcp={"box": bare()})
    handle = await agents.start(booking(elicit={"group": "sales"}))
    wait = await agents.task(handle, "answer-")
    await handle.execute_update(wait["step"], {"task": wait["task_id"], "decision": "reject"})
    assert await agents.result(handle) == "Parasite: decline"


async def test_without_a_person_to_ask_the_step_fails_with_the_question(agents: AgentBench) -> None:
    agents.project(mcp={"box": bare()})
    error = await agents.failure(booking())
    assert (error["type"], error["attempts"]) == ("elicitation_required", 1)
    assert "How many seats?" in error["message"]


async def test_a_tool_of_an_agent_asks_too(agents: AgentBench) -> None:
    agents.project(mcp={"box": bare()})
    agents.model.plays("think", calls(("box__book", {"film": "Oldboy"})), "booked")
    used = {"tools": [{"mcp": "box", "allow": ["book"]}], "approval": {"assignee": "kim"}}
    handle = await agents.start(flow(agent(**used)))
    wait = await agents.task(handle, "answer-")
    given = {"task": wait["task_id"], "decision": "answer", "data": {"seats": 2}}
    await handle.execute_update(wait["step"], given)
    assert await agents.result(handle) == {"text": "booked"}
    assert "Oldboy: 2" in agents.model.shown("think")[0][0]
