"""Where an agent ends at the latest: turns, tokens, money, time, and what a run around it allows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from tests.engine.agents.bench import HOLDS, AgentBench, agent, flow, tools, until
from tests.engine.agents.model import PRICE, calls
from tests.engine.harness import failure_of

from orchestrator.testing import Reply

Json = Any
TOKENS = 110
"""Of one answer of the scripted model."""
ASKED_TO_STOP = "activity_task_cancel_requested_event_attributes"
"""An activity learns of that with its next heartbeat only, which is a while."""


def endless() -> list[Reply]:
    return [calls(("add", {"a": n})) for n in range(30)]


async def test_turns_are_bounded_and_the_error_says_so(agents: AgentBench) -> None:
    agents.model.plays("think", *endless())
    error = await agents.failure(flow(agent(tools=tools("add"), limits={"turns": 3})))
    assert (error["type"], "turns" in error["message"]) == ("loop_limit", True)
    assert agents.model.turns("think") == [0, 1, 2]


async def test_as_many_turns_as_allowed_are_enough(agents: AgentBench) -> None:
    agents.model.plays("think", *endless()[:2], "done")
    assert await agents.run(flow(agent(tools=tools("add"), limits={"turns": 3}))) == {"text": "done"}


async def test_tokens_are_bounded_and_the_error_says_so(agents: AgentBench) -> None:
    agents.model.plays("think", *endless())
    error = await agents.failure(flow(agent(tools=tools("add"), limits={"tokens": 3 * TOKENS + 1})))
    assert (error["type"], "tokens" in error["message"]) == ("budget_exceeded", True)
    assert 1 < len(agents.model.exchanges) < 4, "it asks as long as the limit covers it, and not once more"


async def test_money_is_bounded_and_the_error_says_so(agents: AgentBench) -> None:
    agents.model.plays("think", *endless())
    error = await agents.failure(flow(agent(tools=tools("add"), limits={"cost": 3.5 * PRICE})))
    assert (error["type"], "cost" in error["message"] or "budget" in error["message"]) == ("budget_exceeded", True)
    assert 1 < len(agents.model.exchanges) < 5


async def test_a_limit_of_money_needs_a_price(agents: AgentBench) -> None:
    agents.model.plays("think", "cheap")
    error = await agents.failure(flow(agent(model="claude-of-tomorrow", limits={"cost": 1.0}) | {"retry": "none"}))
    assert error["type"] == "unpriced"
    assert agents.model.exchanges == []


async def test_time_is_bounded_while_a_tool_runs_which_is_stopped(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("hold", {"name": "a"})), "done")
    error = await agents.failure(flow(agent(tools=tools("hold"), limits={"time": "1s"})))
    assert (error["type"], "time" in error["message"]) == ("step_timeout", True)
    assert agents.calls()[-1] == "cancelled a"


async def test_time_is_bounded_while_people_think(skipping: AgentBench) -> None:
    skipping.model.plays("think", calls(("add", {"a": 1})), "done")
    waiting = agent(tools=tools("add"), approve=["*"], approval={"assignee": "x"}, limits={"time": "2d"})
    handle = await skipping.start(flow(waiting))
    error = await failure_of(handle)
    assert (error["type"], "time" in error["message"]) == ("step_timeout", True)
    row = await skipping.bench.store.tasks.get(f"{handle.id}:think/turn[0]/approve-0")
    assert row.status == "cancelled"


async def test_agents_called_as_tools_spend_from_the_limits_of_who_called_them(agents: AgentBench) -> None:
    declared = {"helper": {"system": "helper", "tools": tools("add")}}
    agents.model.plays("helper", *endless())
    agents.model.plays("think", calls(("helper", {"goal": "go"})), "done", "done")
    limits = {"tokens": 4 * TOKENS + 1}
    error = await agents.failure(flow(agent(tools=[{"agent": "helper"}], limits=limits), agents=declared))
    assert (error["type"], "tokens" in error["message"]) == ("budget_exceeded", True)
    assert len(agents.model.exchanges) <= 5


async def test_agents_called_side_by_side_share_what_is_left(agents: AgentBench) -> None:
    declared = {"helper": {"system": "helper", "tools": tools("add")}}
    agents.model.plays("helper", *endless())
    agents.model.plays("think", calls(*(("helper", {"goal": str(n)}) for n in range(3))), "done")
    limits = {"tokens": 12 * TOKENS}
    await agents.run(flow(agent(tools=[{"agent": "helper"}], limits=limits), agents=declared))
    assert 3 < len(agents.model.exchanges) <= 12
    assert all(told.startswith("!budget_exceeded") for told in agents.model.shown("think")[0])


async def test_usage_and_cost_are_summed_over_turns_and_the_agents_called(agents: AgentBench) -> None:
    declared = {"helper": {"system": "helper", "tools": tools("add")}}
    agents.model.plays("think", calls(("helper", {"goal": "1"}), ("helper", {"goal": "2"})), "done")
    agents.model.plays("helper", calls(("add", {"a": 1})), "added")
    text = flow(agent(tools=[{"agent": "helper"}]), output="{{ steps.think.usage }}", agents=declared)
    used = await agents.run(text)
    assert (used["input_tokens"], used["output_tokens"], used["calls"]) == (600, 60, 6)
    assert used["cost"] == pytest.approx(6 * PRICE)


async def test_a_model_without_a_price_is_unpriced_and_never_free(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "done")
    text = flow(agent(model="claude-of-tomorrow", tools=tools("add")), output="{{ steps.think.usage.cost }}")
    assert await agents.run(text) == "unpriced"


async def test_an_attempt_that_broke_off_is_paid_for_too(agents: AgentBench) -> None:
    broken = Reply.broken_stream("half of an answer")
    agents.model.plays("think", [broken, "whole"])
    step = agent() | {"retry": {"max_attempts": 2, "initial_interval": "10ms"}}
    used = await agents.run(flow(step, output="{{ steps.think.usage }}"))
    assert used["input_tokens"] == 200
    assert used["calls"] == 2


async def test_what_a_failed_agent_used_stands_in_its_error(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), Reply.refusal())
    error = await agents.failure(flow(agent(tools=tools("add"))))
    assert error["usage"]["input_tokens"] == 200


@pytest.mark.parametrize("where", ["model", "tool"])
async def test_a_cancelled_run_stops_the_agent_where_it_is(agents: AgentBench, where: str) -> None:
    slow = Reply.text("late").after(20.0)
    agents.model.plays("think", slow if where == "model" else calls(("hold", {"name": "a"})), "done")
    handle = await agents.start(flow(agent(tools=tools("hold"))))
    await (agents.until_asked("think", 0) if where == "model" else agents.until_called("start a"))
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert agents.model.turns("think") == [0]
    assert where == "model" or agents.calls()[-1] == "cancelled a"
    state: dict[str, Json] = await handle.query("state")
    running = {path for path, record in state["steps"].items() if record["status"] != "completed"}
    assert running == {"think", "think/turn[0]/model" if where == "model" else "think/turn[0]/call-0"}
    assert {state["steps"][path]["status"] for path in running} == {"cancelled"}


async def test_an_answer_that_comes_after_the_cancellation_calls_no_tool(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("hold", {"name": "a"})), "done")
    held = agents.gate.hold("think", 0, "middle")
    handle = await agents.start(flow(agent(tools=tools("hold"))))
    await asyncio.wait_for(held.arrived.wait(), 30)
    await handle.cancel()
    await until(handle, ASKED_TO_STOP)
    held.go_on.set()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert agents.calls() == []


async def test_an_agent_that_lost_a_race_calls_no_tool_though_its_answer_came(agents: AgentBench) -> None:
    agents.model.plays("fast", "first")
    agents.model.plays("slow", calls(("hold", {"name": "slow"})), "second")
    fast, slow = agents.gate.hold("fast", 0, "middle"), agents.gate.hold("slow", 0, "middle")
    config = {"wait_for": "any", "branches": [agent("slow", tools=tools("hold")), agent("fast")]}
    handle = await agents.start(flow({"id": "race", "type": "parallel", "config": config}))
    for held in (fast, slow):
        await asyncio.wait_for(held.arrived.wait(), 30)
    fast.go_on.set()
    await until(handle, ASKED_TO_STOP)
    slow.go_on.set()
    assert await agents.result(handle) == {"fast": {"text": "first"}}
    assert agents.calls() == []


async def test_a_timeout_of_the_run_stops_the_agent(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("hold", {"name": "a"})), "done")
    error = await agents.failure(flow(agent(tools=tools("hold")), timeout="1s"))
    assert error["type"] == "run_timeout"
    assert agents.calls()[-1] == "cancelled a"


async def test_a_paused_run_ends_the_turn_it_is_in_and_begins_no_other(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("hold", {"name": "a"})), "done")
    handle = await agents.start(flow(agent(tools=tools("hold"))))
    await agents.until_called("start a")
    await handle.signal("orchestrator.pause")
    HOLDS["a"].set()
    await agents.until_called("end a")
    await asyncio.sleep(0.3)
    assert agents.model.turns("think") == [0]
    await handle.signal("orchestrator.resume")
    assert await agents.result(handle) == {"text": "done"}
