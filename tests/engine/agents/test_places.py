"""Agents wherever a step can be: side by side, in loops, under try and saga, with handlers and compensations."""

from __future__ import annotations

from typing import Any

from tests.engine.agents.bench import HOLDS, AgentBench, agent, flow, tools
from tests.engine.agents.model import calls

from orchestrator.testing import Reply

Json = Any


def called(step: str, handler: str, *args: Json, **more: Json) -> dict[str, Json]:
    """A function step."""
    return {"id": step, "type": "function", "config": {"handler": handler, "args": list(args)}} | more


async def test_agents_in_branches_work_side_by_side_and_a_step_after_them_sees_all(agents: AgentBench) -> None:
    for name in ("a", "b", "c"):
        agents.model.plays(name, calls(("hold", {"name": name})), f"{name} is done")
    branches = [agent(name, tools=tools("hold")) for name in ("a", "b", "c")]
    together = {"id": "research", "parallel": branches}
    agents.model.plays("synthesis", "all of it")
    synthesis = agent("synthesis", goal="Put together: {{ steps.research.output }}")
    handle = await agents.start(flow(together, synthesis))
    for name in ("a", "b", "c"):
        await agents.until_called(f"start {name}")
    for name in ("c", "a", "b"):
        HOLDS[name].set()
    assert await agents.result(handle) == {"text": "all of it"}
    goal = agents.model.of("synthesis")[0].messages[0]["content"][0]["text"]
    assert all(f"{name} is done" in goal for name in ("a", "b", "c"))


async def test_an_agent_per_item_has_a_conversation_per_item(agents: AgentBench) -> None:
    agents.model.plays("each", calls(("in_thread", {"text": "ab"})), lambda request: Reply.text("done"))
    each = {
        "id": "all",
        "type": "for-each",
        "config": {
            "items": 6,
            "concurrency": 3,
            "steps": [agent("each", goal="Item {{ item }} of it", tools=tools("in_thread"))],
        },
    }
    assert await agents.run(flow(each)) == [{"text": "done"}] * 6
    goals = {exchange.messages[0]["content"][0]["text"] for exchange in agents.model.exchanges}
    assert len(goals) == 6
    assert sorted(agents.model.turns("each")) == [0] * 6 + [1] * 6


async def test_an_agent_in_a_loop_begins_a_conversation_in_every_pass(agents: AgentBench) -> None:
    agents.model.plays("again", calls(("add", {"a": 1})), "done")
    loop = {
        "id": "loop",
        "type": "while",
        "config": {"until": "loop.index == 2", "max_iterations": 5, "steps": [agent("again", tools=tools("add"))]},
    }
    await agents.run(flow(loop))
    assert agents.model.turns("again") == [0, 1] * 3


async def test_an_agent_that_fails_is_caught_and_its_type_is_known(agents: AgentBench) -> None:
    agents.model.plays("think", Reply.refusal("cyber"))
    caught = {
        "id": "guard",
        "type": "try",
        "config": {
            "steps": [agent()],
            "catch": [{"on": ["refusal"], "steps": [called("note", "told", "{{ error.type }} {{ error.step.id }}")]}],
        },
    }
    assert await agents.run(flow(caught)) == "refusal think"


async def test_an_agent_that_fails_is_handled_by_its_on_error(agents: AgentBench) -> None:
    agents.model.plays("think", Reply.refusal())
    step = agent() | {"on_error": [called("instead", "told", "{{ error.type }}")]}
    assert await agents.run(flow(step, output="{{ steps.think.output }}")) == "refusal"


async def test_a_saga_undoes_an_agents_work_when_a_later_step_fails(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), "booked")
    step = agent(tools=tools("add")) | {"compensate": called("back", "undo", "{{ steps.think.output.text }}")}
    error = await agents.failure(flow(step, called("late", "explode", "money", retry="none")))
    assert error["type"] == "vendor_said_no"
    assert agents.calls() == ["add 1 1", "explode money", "undo booked"]


async def test_an_agent_can_be_what_compensates(agents: AgentBench) -> None:
    agents.model.plays("repair", calls(("add", {"a": 7})), "repaired")
    repair = agent("repair", goal="Undo {{ steps.work.output }} after {{ error.type }}", tools=tools("add"))
    step = called("work", "told", "x", compensate=repair)
    await agents.failure(flow(step, called("late", "explode", "money", retry="none")))
    assert agents.calls() == ["told x", "explode money", "add 7 1"]
    assert agents.model.of("repair")[0].messages[0]["content"][0]["text"] == "Undo x after vendor_said_no"


async def test_an_agent_in_finally_runs_after_a_failure(agents: AgentBench) -> None:
    agents.model.plays("report", calls(("add", {"a": 3})), "reported")
    text = flow(
        called("work", "explode", "money", retry="none"),
        error_handling={"finally": [agent("report", tools=tools("add"))]},
    )
    await agents.failure(text)
    assert agents.calls() == ["explode money", "add 3 1"]


async def test_the_first_agent_to_answer_ends_the_race_and_the_other_is_stopped(agents: AgentBench) -> None:
    agents.model.plays("fast", "first")
    agents.model.plays("slow", calls(("hold", {"name": "slow"})), "second")
    race = {
        "id": "race",
        "type": "parallel",
        "config": {"wait_for": "any", "branches": [agent("slow", tools=tools("hold")), agent("fast")]},
    }
    assert await agents.run(flow(race)) == {"fast": {"text": "first"}}
    assert agents.model.turns("slow") in ([], [0])


async def test_an_agent_in_a_try_that_is_tried_again_begins_anew(agents: AgentBench) -> None:
    agents.model.plays("think", [calls(("add", {"a": 1})), calls(("add", {"a": 2}))], "done")
    body = [agent(tools=tools("add")), called("shaky", "flaky", 1, retry="none")]
    again = {
        "id": "again",
        "type": "try",
        "config": {"steps": body, "retry": {"max_attempts": 2, "initial_interval": "10ms"}},
    }
    error = await agents.failure(flow(again))
    assert error["type"] == "network_error"
    assert agents.model.turns("think") == [0, 1, 0, 1]
    assert [line for line in agents.calls() if line.startswith("add")] == ["add 1 1", "add 2 1"]


async def test_two_runs_at_once_never_share_a_conversation(agents: AgentBench) -> None:
    agents.model.plays("think", lambda request: calls(("in_thread", {"text": "ab"})), "done")
    text = flow(agent(goal="for {{ run.id }}", tools=tools("in_thread")))
    first, second = await agents.start(text), await agents.start(text)
    assert await agents.result(first) == await agents.result(second) == {"text": "done"}
    assert sorted(agents.model.turns("think")) == [0, 0, 1, 1]


async def test_a_declared_agent_is_used_by_many_steps_each_adding_to_it(agents: AgentBench) -> None:
    declared = {"writer": {"system": "writer", "model": "claude-haiku-5-5", "tools": tools("add"), "effort": "low"}}
    agents.model.plays("writer", "written")
    steps = (
        agent("one", agent="writer", goal="1"),
        agent("two", agent="writer", goal="2", tools=tools("lookup"), effort="high"),
    )
    await agents.run(flow(*steps, agents=declared))
    first, second = agents.model.exchanges
    assert [tool["name"] for tool in first.body["tools"]] == ["add"]
    assert sorted(tool["name"] for tool in second.body["tools"]) == ["add", "lookup"]
    assert (first.body["model"], second.body["model"]) == ("claude-haiku-5-5",) * 2
    assert [one.body["output_config"]["effort"] for one in (first, second)] == ["low", "high"]


async def test_a_projects_agent_is_known_and_the_flows_own_comes_first(agents: AgentBench) -> None:
    agents.project(agents={"one": {"system": "of the project"}, "two": {"system": "hidden"}})
    agents.model.plays("of the project", "1")
    agents.model.plays("of the flow", "2")
    text = flow(agent("a", agent="one"), agent("b", agent="two"), agents={"two": {"system": "of the flow"}})
    assert await agents.run(text) == {"text": "2"}
    assert [exchange.who for exchange in agents.model.exchanges] == ["of the project", "of the flow"]
