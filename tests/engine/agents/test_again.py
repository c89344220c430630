"""An agent goes on where it was: over continue-as-new, in a retried run, after what went wrong on the worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import temporalio.client
from temporalio.client import WorkflowHandle
from tests.engine.agents import test_approval, test_bounds, test_loop, test_places
from tests.engine.agents.bench import HOLDS, AgentBench, agent, flow, open_agents, tools
from tests.engine.agents.model import Turn, calls

from orchestrator import admission
from orchestrator.client import Client, Run, RunFailed
from orchestrator.spec.project import Project
from orchestrator.testing import Reply

Json = Any


@pytest.fixture
def forced(agents: AgentBench) -> AgentBench:
    """Agents in runs that continue as new whenever they can."""
    agents.bench.continue_after = 1
    return agents


async def executions(agents: AgentBench, handle: WorkflowHandle[Any, Any]) -> int:
    """How many executions a run was."""
    count, following = 0, handle.first_execution_run_id
    while following:
        count += 1
        one = agents.bench.temporal.get_workflow_handle(handle.id, run_id=following)
        last = (await one.fetch_history()).events[-1]
        following = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return count


async def test_a_run_that_continues_as_new_at_every_step_asks_the_same(forced: AgentBench) -> None:
    schema = {"type": "object", "required": ["n"]}
    turns: list[Turn] = [
        calls(("add", {"a": 1}), ("lookup", {"city": "Jeju"}), ("explode", {"why": "tea"})),
        Reply.paused("hm"),
        *(calls(("add", {"a": n})) for n in range(4)),
        "no JSON",
        Reply.json({"n": 4}),
    ]
    text = flow(agent(tools=tools("add", "lookup", "explode"), output_schema=schema))
    said: list[list[Json]] = []
    for continues in (False, True):
        forced.bench.continue_after = 1 if continues else None
        forced.model.exchanges.clear()
        forced.model.plays("think", *turns)
        handle = await forced.start(text)
        assert await forced.result(handle) == {"n": 4}
        said.append([exchange.body for exchange in forced.model.exchanges])
        assert (await executions(forced, handle) > 5) == continues
    assert said[0] == said[1]
    assert len(forced.calls()) == 2 * 7


async def test_an_approval_and_a_sub_agent_outlive_continue_as_new(forced: AgentBench) -> None:
    people = {"approve": ["add"], "approval": {"assignee": "ops", "deadline": "1h"}}
    declared = {"helper": {"system": "helper", "tools": tools("add", "lookup")} | people}
    forced.model.plays("think", calls(("helper", {"goal": "a"}), ("lookup", {"city": "Jeju"})), "done")
    forced.model.plays("helper", calls(("lookup", {"city": "x"})), calls(("add", {"a": 1}), ("add", {"a": 2})), "added")
    helped = agent(tools=[{"agent": "helper"}, *tools("lookup")])
    handle = await forced.start(flow(helped, output="{{ steps.think.usage.calls }}", agents=declared))
    for _ in range(2):
        wait = await forced.task(handle)
        await handle.execute_update(wait["step"], {"decision": "approve", "task": wait["task_id"]})
        await asyncio.sleep(0.1)
    assert await forced.result(handle) == 5
    assert sorted(forced.calls()) == ["add 1 1", "add 2 1", "lookup Jeju", "lookup x"]
    assert await executions(forced, handle) > 3


AGAIN = (
    (test_loop, "test_agents_are_tools_of_agents_of_agents"),
    (test_loop, "test_an_answer_that_misses_the_schema_twice_fails_the_step"),
    (test_loop, "test_a_flow_is_a_tool_with_its_inputs_as_arguments"),
    (test_bounds, "test_usage_and_cost_are_summed_over_turns_and_the_agents_called"),
    (test_bounds, "test_agents_called_as_tools_spend_from_the_limits_of_who_called_them"),
    (test_bounds, "test_what_a_failed_agent_used_stands_in_its_error"),
    (test_places, "test_an_agent_per_item_has_a_conversation_per_item"),
    (test_places, "test_a_saga_undoes_an_agents_work_when_a_later_step_fails"),
    (test_places, "test_an_agent_in_a_try_that_is_tried_again_begins_anew"),
    (test_approval, "test_a_refusal_and_its_reason_are_told_to_the_model_which_goes_on"),
    (test_approval, "test_two_approvals_at_once_are_two_tasks_decided_one_by_one"),
)


@pytest.mark.parametrize(("module", "name"), AGAIN, ids=[name.removeprefix("test_") for _, name in AGAIN])
async def test_what_holds_in_one_execution_holds_over_many(forced: AgentBench, module: Any, name: str) -> None:
    await getattr(module, name)(forced)


async def test_an_agent_replayed_at_every_task_does_the_same(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    """Without cached runs each workflow task begins with a replay of the whole history."""
    people = {"approve": ["lookup"], "approval": {"assignee": "ops"}}
    declared = {"helper": {"system": "helper", "tools": tools("add", "lookup")} | people}
    async with open_agents(temporal, tmp_path, cached_runs=0) as agents:
        turns = [calls(("helper", {"goal": "a"}), ("helper", {"goal": "b"}), ("add", {"a": n})) for n in range(2)]
        agents.model.plays("think", *turns, "done")
        agents.model.plays("helper", calls(("add", {"a": 5}), ("lookup", {"city": "x"})), "helped")
        helped = agent(tools=[{"agent": "helper"}, *tools("add")])
        handle = await agents.start(flow(helped, output="{{ steps.think.usage.calls }}", agents=declared))
        for n in range(2):
            for wait in await agents.tasks(handle, 2, f"think/turn[{n}]"):
                await handle.execute_update(wait["step"], {"decision": "approve", "task": wait["task_id"]})
        assert await agents.result(handle) == 11


async def test_an_agent_in_a_sub_flow_has_a_conversation_of_its_own(forced: AgentBench) -> None:
    child = flow(agent("inner", tools=tools("add")), id="child")
    await admission.publish_text(forced.bench.store, Project(), child)
    forced.model.plays("inner", calls(("add", {"a": 1})), "inner is done")
    forced.model.plays("think", calls(("child", {})), "done")
    call = {"id": "call", "type": "flow", "config": {"flow": "child"}}
    text = flow(call, agent(tools=[{"flow": "child"}]), output=["{{ steps.call.output }}", "{{ steps.think.output }}"])
    assert await forced.run(text) == [{"text": "inner is done"}, {"text": "done"}]
    assert forced.model.turns("inner") == [0, 1, 0, 1]


# -- runs that go on from older ones --------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def client(agents: AgentBench) -> Client:
    """The product's client on the same worker."""
    bench = agents.bench
    return Client(bench.settings, bench.store, bench.temporal, lambda: bench.project)


async def failed(agents: AgentBench, client: Client, text: str, name: str = "agents") -> Run:
    """A run that failed."""
    await admission.publish_text(agents.bench.store, Project(), text)
    run = await client.start(name)
    with pytest.raises(RunFailed):
        await run.result(30)
    return run


async def test_a_retried_run_goes_on_from_the_turn_that_failed(agents: AgentBench, client: Client) -> None:
    agents.model.plays("think", calls(("add", {"a": 1}), ("add", {"a": 2})), [Reply.refusal(), "five"])
    text = flow(agent(tools=tools("add")), output=["{{ steps.think.output.text }}", "{{ steps.think.usage.calls }}"])
    run = await failed(agents, client, text)
    again = await client.retry(run.id)
    said, paid = await again.result(30)
    assert said == "five"
    assert agents.model.turns("think") == [0, 1, 1], "what was answered is not asked again"
    assert sorted(agents.calls()) == ["add 1 1", "add 2 1"], "what a tool gave is not asked for again"
    assert paid >= 2
    assert agents.model.of("think")[1].messages == agents.model.of("think")[2].messages


async def test_a_retried_run_keeps_what_tools_gave_beside_the_one_that_was_stopped(
    agents: AgentBench, client: Client
) -> None:
    agents.model.plays("think", calls(("add", {"a": 1}), ("hold", {"name": "a"}), ("add", {"a": 2})), "done")
    await admission.publish_text(agents.bench.store, Project(), flow(agent(tools=tools("add", "hold"))))
    run = await client.start("agents")
    await agents.until_called("start a")
    await agents.until_called("add 2")
    await asyncio.sleep(0.1)
    await run.cancel()
    with pytest.raises(Exception, match="cancel"):
        await run.result(30)
    HOLDS["a"].set()
    again = await client.retry(run.id)
    assert await again.result(30) == {"text": "done"}
    assert agents.model.turns("think") == [0, 1]
    begun = [line for line in agents.calls() if line.startswith("start a")]
    assert len(begun) == 2
    assert len(set(begun)) == 1, "the call that was stopped has its idempotency key again"
    assert [line for line in agents.calls() if line.startswith("add")] == ["add 1 1", "add 2 1"]


async def test_a_retried_run_goes_on_inside_the_agent_that_was_a_tool(agents: AgentBench, client: Client) -> None:
    declared = {"helper": {"system": "helper", "tools": tools("add")}}
    agents.model.plays("think", calls(("helper", {"goal": "go"})), [Reply.refusal(), "done"])
    agents.model.plays("helper", calls(("add", {"a": 1})), "added")
    run = await failed(agents, client, flow(agent(tools=[{"agent": "helper"}]), agents=declared))
    again = await client.retry(run.id)
    assert await again.result(30) == {"text": "done"}
    assert agents.model.turns("helper") == [0, 1]
    assert agents.model.turns("think") == [0, 1, 1]


async def test_a_retry_after_two_misses_of_the_schema_asks_once_more(agents: AgentBench, client: Client) -> None:
    schema = {"type": "object", "required": ["n"]}
    agents.model.plays("think", "no", "no again", Reply.json({"n": 1}))
    run = await failed(agents, client, flow(agent(output_schema=schema)))
    again = await client.retry(run.id)
    assert await again.result(30) == {"n": 1}
    assert agents.model.turns("think") == [0, 1, 2]


async def test_a_step_that_failed_after_an_agent_is_retried_without_the_agent(
    agents: AgentBench, client: Client
) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "done")
    late = {"id": "late", "type": "function", "retry": "none", "config": {"handler": "flaky", "args": [1]}}
    run = await failed(agents, client, flow(agent(tools=tools("add")), late))
    again = await client.retry(run.id)
    with pytest.raises(RunFailed):
        await again.result(30)
    assert agents.model.turns("think") == [0, 1]


async def test_a_run_again_from_the_agent_is_a_new_conversation(agents: AgentBench, client: Client) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "done")
    await admission.publish_text(agents.bench.store, Project(), flow(agent(tools=tools("add"))))
    run = await client.start("agents")
    assert await run.result(30) == {"text": "done"}
    again = await client.rerun(run.id, "think")
    assert await again.result(30) == {"text": "done"}
    assert agents.model.turns("think") == [0, 1, 0, 1]
    assert agents.calls() == ["add 1 1"] * 2
    agents.model.check()


async def test_the_tools_an_agent_began_with_stay_the_same_while_it_runs(agents: AgentBench) -> None:
    agents.project(agents={"helper": {"system": "helper", "tools": tools("hold", "add")}})
    agents.model.plays("helper", calls(("hold", {"name": "a"})), calls(("add", {"a": 1})), "done")
    handle = await agents.start(flow(agent(agent="helper")))
    await agents.until_called("start a")
    agents.project(agents={"helper": {"system": "somebody else", "tools": []}})
    HOLDS["a"].set()
    assert await agents.result(handle) == {"text": "done"}
    assert "add 1 1" in agents.calls()


async def test_a_cancelled_model_call_is_asked_again_by_a_retried_run(agents: AgentBench, client: Client) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), [Reply.text("late").after(20), "in time"])
    await admission.publish_text(agents.bench.store, Project(), flow(agent(tools=tools("add"))))
    run = await client.start("agents")
    await agents.until_asked("think", 1)
    await run.cancel()
    with pytest.raises(Exception, match="cancel"):
        await run.result(30)
    again = await client.retry(run.id)
    assert await again.result(30) == {"text": "in time"}
    assert agents.model.turns("think") == [0, 1, 1]
    assert agents.calls() == ["add 1 1"]


async def test_what_was_approved_is_not_asked_again_and_what_was_not_is(agents: AgentBench, client: Client) -> None:
    agents.model.plays("think", calls(("hold", {"name": "a"}), ("add", {"a": 1})), "done")
    text = flow(agent(tools=tools("hold", "add"), approve=["*"], approval={"assignee": "ops"}))
    await admission.publish_text(agents.bench.store, Project(), text)
    run = await client.start("agents")
    handle = agents.bench.temporal.get_workflow_handle(run.id)
    first, second = await agents.tasks(handle, 2)
    await client.decide(first["task_id"], "approve")
    await agents.until_called("start a")
    await run.cancel()
    with pytest.raises(Exception, match="cancel"):
        await run.result(30)
    assert (await agents.bench.store.tasks.get(second["task_id"])).status == "cancelled"
    HOLDS["a"].set()
    again = await client.retry(run.id)
    handle = agents.bench.temporal.get_workflow_handle(again.id)
    [wait] = await agents.tasks(handle, 1)
    assert wait["path"].endswith("approve-1")
    await client.decide(wait["task_id"], "approve")
    assert await again.result(30) == {"text": "done"}
    assert agents.model.turns("think") == [0, 1]
    assert agents.calls().count("add 1 1") == 1


async def test_an_agent_that_another_version_describes_otherwise_begins_anew(
    agents: AgentBench, client: Client
) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), Reply.refusal())
    agents.model.plays("better", calls(("add", {"a": 2})), "done")
    run = await failed(agents, client, flow(agent(tools=tools("add")), id="two", version="1"), "two")
    better = flow(agent(system="better", tools=tools("add")), id="two", version="2")
    await admission.publish_text(agents.bench.store, Project(), better)
    again = await client.restart(run.id)
    assert await again.result(30) == {"text": "done"}
    assert agents.model.turns("better") == [0, 1]
    assert agents.calls() == ["add 1 1", "add 2 1"]


async def test_a_run_that_has_the_id_of_one_that_failed_begins_anew(agents: AgentBench, client: Client) -> None:
    agents.model.plays("think", [calls(("add", {"a": 1})), calls(("add", {"a": 2}))], [Reply.refusal(), "done"])
    await admission.publish_text(agents.bench.store, Project(), flow(agent(tools=tools("add"))))
    first = await client.start("agents", idempotency_key="order-1")
    with pytest.raises(RunFailed):
        await first.result(30)
    second = await client.start("agents", idempotency_key="order-1")
    assert second.id == first.id
    assert await second.result(30) == {"text": "done"}
    assert agents.model.turns("think") == [0, 1, 0, 1]
    assert agents.calls() == ["add 1 1", "add 2 1"]


async def test_an_agent_that_fails_in_a_try_that_is_tried_again_begins_anew(agents: AgentBench) -> None:
    held = [calls(("hold", {"name": "a"})), calls(("hold", {"name": "a"}))]
    agents.model.plays("think", held, [Reply.refusal(), "done"])
    HOLDS["a"].set()
    retry = {"max_attempts": 2, "initial_interval": "10ms", "on": ["*"]}
    again = {"id": "again", "type": "try", "config": {"steps": [agent(tools=tools("hold"))], "retry": retry}}
    assert await agents.run(flow(again)) == {"text": "done"}
    assert agents.model.turns("think") == [0, 1, 0, 1]
    keys = [line.split()[2] for line in agents.calls() if line.startswith("start a")]
    assert len(set(keys)) == 2, "another conversation's call is another call"


async def test_a_retried_run_goes_on_in_the_agent_and_the_flow_that_were_stopped_as_tools(
    agents: AgentBench, client: Client
) -> None:
    declared = {"helper": {"system": "helper", "tools": tools("add", "hold")}}
    steps = [{"id": "h", "type": "function", "config": {"handler": "hold", "args": ["child"]}}]
    await admission.publish_text(agents.bench.store, Project(), flow(*steps, id="child"))
    agents.model.plays("think", calls(("helper", {"goal": "go"}), ("child", {})), "done")
    agents.model.plays("helper", calls(("add", {"a": 1})), calls(("hold", {"name": "a"}), ("add", {"a": 2})), "helped")
    text = flow(agent(tools=[{"agent": "helper"}, {"flow": "child"}]), agents=declared)
    await admission.publish_text(agents.bench.store, Project(), text)
    run = await client.start("agents")
    for word in ("start a", "start child", "add 2"):
        await agents.until_called(word)
    await asyncio.sleep(0.1)
    await run.cancel()
    with pytest.raises(Exception, match="cancel"):
        await run.result(30)
    for name in ("a", "child"):
        HOLDS[name].set()
    again = await client.retry(run.id)
    assert await again.result(30) == {"text": "done"}
    assert agents.model.turns("helper") == [0, 1, 2]
    assert agents.model.turns("think") == [0, 1]
    assert sorted(line for line in agents.calls() if line.startswith("add")) == ["add 1 1", "add 2 1"]
    assert agents.model.shown("think") == [["helped", "child"]]
