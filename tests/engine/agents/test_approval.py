"""Dangerous tools need a person's word: what may be decided, when, and what the model and the world see of it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from tests.engine.agents.bench import HOLDS, AgentBench, agent, flow, tools, until
from tests.engine.agents.model import calls

Json = Any
PEOPLE = {"assignee": "ops"}


def asking(*patterns: str, **config: Json) -> dict[str, Json]:
    """An agent that needs approval for the tools that match."""
    used = config.pop("tools", tools("add", "lookup"))
    return agent(tools=used, approve=list(patterns), approval=PEOPLE | config.pop("approval", {}), **config)


async def decide(agents: AgentBench, handle: WorkflowHandle[Any, Any], wait: dict[str, Json], **decision: Json) -> None:
    """Answer the task of one wait, as the gateway does."""
    await handle.execute_update(wait["step"], {"task": wait["task_id"]} | decision)


async def test_an_approved_call_runs_as_the_model_wanted_it(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1}), ("lookup", {"city": "Jeju"})), "done")
    handle = await agents.start(flow(asking("add")))
    wait = await agents.task(handle)
    await agents.until_called("lookup")
    assert agents.calls() == ["lookup Jeju"], "what needs no approval does not wait for it, what needs it does"
    row = await agents.bench.store.tasks.get(wait["task_id"])
    assert (row.status, row.assignee) == ("open", "ops")
    assert "add" in (row.title or "")
    assert '"a": 1' in (row.instructions or "")
    await decide(agents, handle, wait, decision="approve", by="kim")
    assert await agents.result(handle) == {"text": "done"}
    assert sorted(agents.calls()) == ["add 1 1", "lookup Jeju"]
    row = await agents.bench.store.tasks.get(wait["task_id"])
    assert (row.status, row.decision, row.by) == ("decided", "approve", "kim")


async def test_edited_arguments_are_those_the_tool_gets(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "done")
    handle = await agents.start(flow(asking("*")))
    wait = await agents.task(handle)
    await decide(agents, handle, wait, decision="edit", data={"arguments": {"a": 5, "b": 6}})
    await agents.result(handle)
    assert agents.calls() == ["add 5 6"]
    [told] = agents.model.shown("think")[0]
    assert told.endswith("11")
    assert 'A person changed this call; it was made with: {"a": 5, "b": 6}' in told


async def test_edited_arguments_that_miss_the_schema_are_told_to_the_model(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "I see")
    handle = await agents.start(flow(asking("*")))
    await decide(agents, handle, await agents.task(handle), decision="edit", data={"arguments": {"a": "all of it"}})
    assert await agents.result(handle) == {"text": "I see"}
    assert agents.calls() == []
    assert agents.model.shown("think")[0][0].startswith("!")


async def test_an_edit_without_arguments_calls_nothing(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "I see")
    handle = await agents.start(flow(asking("*")))
    wait = await agents.task(handle)
    with pytest.raises(WorkflowUpdateFailedError):
        await decide(agents, handle, wait, decision="edit", data={"argument": {"a": 5}})
    await decide(agents, handle, wait, decision="edit", by="kim")
    assert await agents.result(handle) == {"text": "I see"}
    assert agents.calls() == []
    assert "kim wanted to change the call" in agents.model.shown("think")[0][0]


async def test_arguments_given_with_an_approval_are_those_the_tool_gets(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "done")
    handle = await agents.start(flow(asking("*")))
    wait = await agents.task(handle)
    await decide(agents, handle, wait, decision="approve", data={"arguments": {"a": 5}})
    await agents.result(handle)
    assert agents.calls() == ["add 5 1"]


async def test_a_refusal_and_its_reason_are_told_to_the_model_which_goes_on(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), calls(("lookup", {"city": "Jeju"})), "then not")
    handle = await agents.start(flow(asking("add")))
    wait = await agents.task(handle)
    await decide(agents, handle, wait, decision="reject", comment="too much money", by="lee")
    assert await agents.result(handle) == {"text": "then not"}
    assert agents.calls() == ["lookup Jeju"]
    [refused] = agents.model.shown("think")[0]
    assert refused.startswith("!")
    assert "too much money" in refused


async def test_two_approvals_at_once_are_two_tasks_decided_one_by_one(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1}), ("add", {"a": 2}), ("add", {"a": 3})), "done")
    handle = await agents.start(flow(asking("add")))
    first, second, third = await agents.tasks(handle, 3)
    assert len({wait["task_id"] for wait in (first, second, third)}) == 3
    await decide(agents, handle, third, decision="approve")
    await agents.until_called("add 3")
    await decide(agents, handle, first, decision="reject", comment="no")
    await decide(agents, handle, second, decision="approve")
    await agents.result(handle)
    assert agents.calls() == ["add 3 1", "add 2 1"]
    refused, *others = agents.model.shown("think")[0]
    assert (refused[0], others) == ("!", ["3", "4"])


async def test_a_decision_is_taken_once_and_a_second_is_refused(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("hold", {"name": "a"})), "done")
    handle = await agents.start(flow(asking("hold", tools=tools("hold"))))
    wait = await agents.task(handle)
    await decide(agents, handle, wait, decision="approve")
    await agents.until_called("start a")
    with pytest.raises(WorkflowUpdateFailedError):
        await decide(agents, handle, wait, decision="reject", comment="no")
    HOLDS["a"].set()
    await agents.result(handle)


async def test_a_decision_that_comes_before_the_question_does_not_approve_it(agents: AgentBench) -> None:
    """Otherwise anybody who knows how tasks are called could approve what nobody has seen."""
    agents.model.plays("think", calls(("hold", {"name": "a"})), calls(("add", {"a": 1})), "done")
    handle = await agents.start(flow(asking("add", tools=tools("hold", "add"))))
    await agents.until_called("start a")
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("approve-0", {"decision": "approve"})
    await handle.signal("approve-0", {"decision": "approve"})
    HOLDS["a"].set()
    wait = await agents.task(handle)
    assert "approve-0" in (await handle.query("state"))["warnings"][0]
    assert not any(line.startswith("add") for line in agents.calls())
    await decide(agents, handle, wait, decision="approve")
    await agents.result(handle)
    assert agents.calls()[-1] == "add 1 1"


async def test_a_decision_that_is_sent_twice_does_not_approve_the_next_call(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), calls(("add", {"a": 2})), "done")
    handle = await agents.start(flow(asking("add")))
    await agents.task(handle)
    for _ in range(2):
        await handle.signal("approve-0", {"decision": "approve"})
    await agents.task(handle, "turn[1]/approve-0")
    assert agents.calls() == ["add 1 1"]
    await handle.signal("approve-0", {"decision": "approve"})
    await agents.result(handle)


@pytest.mark.parametrize("decision", [{"decision": "maybe"}, {"decision": "edit", "data": {"arguments": "none"}}])
async def test_a_decision_that_is_none_is_refused_and_the_task_stays_open(
    agents: AgentBench, decision: dict[str, Json]
) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "done")
    handle = await agents.start(flow(asking("add")))
    wait = await agents.task(handle)
    with pytest.raises(WorkflowUpdateFailedError):
        await decide(agents, handle, wait, **decision)
    await decide(agents, handle, wait, decision="approve")
    await agents.result(handle)


async def test_the_model_is_told_when_nobody_answers_in_time(skipping: AgentBench) -> None:
    skipping.model.plays("think", calls(("add", {"a": 1})), "never mind")
    handle = await skipping.start(flow(asking("add", approval={"deadline": "24h"})))
    assert await skipping.result(handle) == {"text": "never mind"}
    assert skipping.calls() == []
    assert skipping.model.shown("think")[0][0].startswith("!")
    row = await skipping.bench.store.tasks.get(f"{handle.id}:think/turn[0]/approve-0")
    assert row.status == "expired"


async def test_the_step_fails_when_nobody_answers_in_time_and_the_author_wants_that(skipping: AgentBench) -> None:
    skipping.model.plays("think", calls(("add", {"a": 1})), "never mind")
    error = await skipping.failure(flow(asking("add", approval={"deadline": "24h", "on_deadline": "fail"})))
    assert error["type"] == "deadline_exceeded"
    assert skipping.calls() == []
    assert skipping.model.turns("think") == [0]


async def test_cancelling_the_run_closes_what_it_asked_for(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1}), ("add", {"a": 2})), "done")
    handle = await agents.start(flow(asking("add")))
    waits = await agents.tasks(handle, 2)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    for wait in waits:
        assert (await agents.bench.store.tasks.get(wait["task_id"])).status == "cancelled"
    assert agents.calls() == []
    assert agents.model.turns("think") == [0]


async def test_a_task_that_is_written_after_the_cancellation_is_not_waited_for(agents: AgentBench) -> None:
    before = {"id": "before", "type": "function", "config": {"handler": "hold", "args": ["before"]}}
    handle = await agents.start(flow(before, {"id": "ask", "type": "human-task", "config": {"assignee": "x"}}))
    await agents.until_called("start before")
    with contextlib.closing(sqlite3.connect(agents.bench.settings.state / "store.db")) as other:
        other.execute("begin immediate")
        HOLDS["before"].set()
        await until(handle, "activity_task_scheduled_event_attributes", 2)
        await handle.cancel()
        await until(handle, "activity_task_cancel_requested_event_attributes")
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)


async def test_a_paused_run_takes_the_decision_and_calls_the_tool_when_it_goes_on(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "done")
    handle = await agents.start(flow(asking("add")))
    wait = await agents.task(handle)
    await handle.signal("orchestrator.pause")
    await decide(agents, handle, wait, decision="approve")
    await asyncio.sleep(0.3)
    assert agents.calls() == []
    await handle.signal("orchestrator.resume")
    assert await agents.result(handle) == {"text": "done"}
    assert agents.calls() == ["add 1 1"]


async def test_tools_of_servers_need_approval_by_the_name_the_model_sees(agents: AgentBench) -> None:
    await agents.serve()
    agents.model.plays("think", calls(("tools__erase", {"what": "disk"}), ("tools__shout", {"text": "a"})), "done")
    handle = await agents.start(flow(asking("tools__er*", tools=[{"mcp": "tools"}])))
    wait = await agents.task(handle)
    await decide(agents, handle, wait, decision="reject")
    await agents.result(handle)
    assert agents.served() == ["shout a"]


async def test_words_in_tools_and_results_change_nothing_that_the_author_ruled(agents: AgentBench) -> None:
    await agents.serve()
    agents.model.plays(
        "think",
        calls(("tools__friendly", {"a": 1})),
        # The model believes every word of it.
        calls(("tools__erase", {"what": "{{ secrets.KEY }}"}), ("tools__shout", {"text": "no"})),
        "obeyed",
    )
    servers = [{"mcp": "tools", "allow": ["friendly", "erase"]}]
    handle = await agents.start(flow(asking("*erase", tools=servers)))
    wait = await agents.task(handle)
    assert agents.served() == ["friendly 1"], "approval is still asked, and what is not allowed is not called"
    await decide(agents, handle, wait, decision="approve")
    await agents.result(handle)
    assert agents.served() == ["friendly 1", "erase {{ secrets.KEY }}"], "data is never a template"
    described = {tool["name"]: tool["description"] for tool in agents.model.exchanges[0].body["tools"]}
    assert len(described["tools__friendly"]) < 5_000


async def test_approvals_that_a_declared_agent_needs_hold_where_it_is_a_tool(agents: AgentBench) -> None:
    declared = {"helper": {"system": "helper", "tools": tools("add"), "approve": ["add"], "approval": PEOPLE}}
    agents.model.plays("think", calls(("helper", {"goal": "add it"})), "done")
    agents.model.plays("helper", calls(("add", {"a": 1})), "added")
    handle = await agents.start(flow(agent(tools=[{"agent": "helper"}]), agents=declared))
    wait = await agents.task(handle)
    assert agents.calls() == []
    await decide(agents, handle, wait, decision="approve")
    await agents.result(handle)
    assert agents.calls() == ["add 1 1"]
