"""The loop of an agent: the model is asked, what it calls is done, and it hears of it, turn after turn."""

from __future__ import annotations

import os
from typing import Any

from tests.engine.agents.bench import HOLDS, AgentBench, agent, flow, tools
from tests.engine.agents.model import calls
from tests.engine.harness import scheduled

from orchestrator.spec.loading import load_flow
from orchestrator.testing import Reply

SCHEMA = {"type": "object", "required": ["degrees"], "properties": {"degrees": {"type": "integer"}}}


async def test_an_agent_without_tools_answers_at_once(agents: AgentBench) -> None:
    agents.model.plays("think", "42")
    handle = await agents.start(flow(agent(goal="What is the answer?")))
    assert await agents.result(handle) == {"text": "42"}
    [asked] = agents.model.exchanges
    assert asked.messages == [{"role": "user", "content": [{"type": "text", "text": "What is the answer?"}]}]
    assert "tools" not in asked.body or asked.body["tools"] == []
    assert len(await scheduled(handle)) == 2, "one activity opens the agent, one asks the model"


async def test_thirty_turns_of_tool_calls_reach_their_end(agents: AgentBench) -> None:
    agents.model.plays("think", *(calls(("add", {"a": n})) for n in range(30)), "done")
    handle = await agents.start(flow(agent(tools=tools("add"))))
    assert await agents.result(handle) == {"text": "done"}
    assert agents.model.turns("think") == list(range(31))
    assert agents.calls() == [f"add {n} 1" for n in range(30)]
    assert agents.model.shown("think") == [[str(n + 1)] for n in range(30)]
    assert len(await scheduled(handle)) == 1 + 31 + 30, "each model call and each tool call is one activity"


async def test_calls_of_one_turn_run_at_once_and_their_results_come_in_the_order_of_the_calls(
    agents: AgentBench,
) -> None:
    names = ("a", "b", "c")
    agents.model.plays("think", calls(*(("hold", {"name": name}) for name in names)), "done")
    handle = await agents.start(flow(agent(tools=tools("hold"))))
    for name in names:
        await agents.until_called(f"start {name}")
    for name in reversed(names):
        HOLDS[name].set()
        await agents.until_called(f"end {name}")
    assert await agents.result(handle) == {"text": "done"}
    assert agents.model.shown("think") == [list(names)]


async def test_functions_of_every_kind_are_tools(agents: AgentBench) -> None:
    (agents.folder / "pid").write_text(str(os.getpid()))
    wanted = (("lookup", {"city": "Seoul"}), ("in_thread", {"text": "abc"}), ("crunch", {"number": 12}))
    agents.model.plays("think", calls(*wanted), "done")
    await agents.run(flow(agent(tools=tools("lookup", "in_thread", "crunch"))))
    [[weather, turned, number]] = agents.model.shown("think")
    assert ('"city"' in weather, turned, number) == (True, "cba", "144")
    [described, *_] = agents.model.exchanges[0].body["tools"]
    assert (described["name"], described["description"]) == ("lookup", "The weather of a city.")
    assert described["input_schema"]["properties"]["city"]["type"] == "string"


async def test_tools_of_an_mcp_server_are_called_through_it(agents: AgentBench) -> None:
    agents.project(mcp={"tools": agents.stdio_server()})
    agents.model.plays("think", calls(("tools__add", {"a": 2, "b": 3}), ("tools__shout", {"text": "hi"})), "done")
    await agents.run(flow(agent(tools=[{"mcp": "tools", "allow": ["add", "sh*"]}])))
    assert sorted(agents.served()) == ["add 2 3", "shout hi"]
    [[total, shouted]] = agents.model.shown("think")
    assert ('"total"' in total, "5" in total, "HI" in shouted) == (True, True, True)
    assert [tool["name"] for tool in agents.model.exchanges[0].body["tools"]] == ["tools__add", "tools__shout"]


async def test_a_flow_is_a_tool_with_its_inputs_as_arguments(agents: AgentBench) -> None:
    child = (
        "id: child\ndescription: Doubles.\ninputs: {n: integer}\n"
        'steps: [{id: a, type: transform, config: {value: "{{ inputs.n * 2 }}"}}]'
    )
    await agents.bench.store.flows.publish(load_flow(child, "child.yaml", agents.bench.project))
    failing = "id: failing\nsteps: [{id: a, type: fail, config: {type: sold_out, message: nothing left}}]"
    await agents.bench.store.flows.publish(load_flow(failing, "failing.yaml", agents.bench.project))
    wanted: list[tuple[str, dict[str, Any]]] = [("child", {"n": 21}), ("child", {"n": "many"}), ("failing", {})]
    agents.model.plays("think", *(calls(call) for call in wanted), "done")
    await agents.run(flow(agent(tools=[{"flow": "child"}, {"flow": "failing"}])))
    assert agents.model.shown("think")[0] == ["42"]
    [refused] = agents.model.shown("think")[1]
    assert refused.startswith("!")
    assert "n" in refused
    [failed] = agents.model.shown("think")[2]
    assert failed.startswith("!sold_out")
    assert "nothing left" in failed
    [tool, _] = agents.model.exchanges[0].body["tools"]
    assert (tool["name"], tool["description"]) == ("child", "Doubles.")
    assert tool["input_schema"]["properties"]["n"]["type"] == "integer"


async def test_agents_are_tools_of_agents_of_agents(agents: AgentBench) -> None:
    declared = {
        "lead": {"system": "lead", "tools": [{"agent": "scout"}], "description": "Leads."},
        "scout": {"system": "scout", "tools": tools("lookup")},
    }
    agents.model.plays("think", calls(("lead", {"goal": "find out"})), "told you")
    agents.model.plays("lead", calls(("scout", {"goal": "go and see"})), "the scout saw it")
    agents.model.plays("scout", calls(("lookup", {"city": "Busan"})), "sunny")
    text = flow(agent(tools=[{"agent": "lead"}]), agents=declared)
    assert await agents.run(text) == {"text": "told you"}
    assert agents.model.of("lead")[0].messages[0]["content"][0]["text"] == "find out"
    assert agents.calls() == ["lookup Busan"]
    assert "the scout saw it" in agents.model.shown("think")[0][0]
    assert "sunny" in agents.model.shown("lead")[0][0]


IMPOSSIBLE: list[tuple[tuple[str, dict[str, Any]], str]] = [
    (("explode", {"why": "tea"}), "no tea today"),
    (("nobody", {}), "nobody"),
    (("lookup", {}), "city"),
    (("lookup", {"city": 3}), "city"),
    (("lookup", {"city": "x", "planet": "y"}), "planet"),
    (("add", {"b": 1}), "'a'"),
    (("tools__erase", {"what": "all"}), "erase"),
    (("tools__fail", {"why": "the disk is full"}), "the disk is full"),
    (("tools__add", {"a": "two", "b": 1}), "a"),
]


async def test_a_call_that_cannot_be_done_is_told_to_the_model_as_an_error_and_the_agent_goes_on(
    agents: AgentBench,
) -> None:
    await agents.serve()
    beside = ("in_thread", {"text": "ok"})
    agents.model.plays("think", *(calls(called, beside) for called, _ in IMPOSSIBLE), "I see")
    servers = [{"mcp": "tools", "allow": ["add", "fail"]}]
    text = flow(agent(tools=[*tools("explode", "lookup", "in_thread", "add"), *servers]))
    assert await agents.run(text) == {"text": "I see"}
    for (called, words), [error, other] in zip(IMPOSSIBLE, agents.model.shown("think"), strict=True):
        assert (error[0], other) == ("!", "ko"), called
        assert words in error
    assert {line.split()[0] for line in agents.calls()} == {"explode", "in_thread"}
    assert agents.served() == ["fail the disk is full"]


async def test_a_tool_is_tried_again_as_the_steps_retry_says(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("flaky", {"times": 2})), "done")
    step = agent(tools=tools("flaky")) | {"retry": {"max_attempts": 3, "initial_interval": "10ms"}}
    await agents.run(flow(step))
    assert [line.split()[1] for line in agents.calls()] == ["1", "2", "3"]
    assert len({line.split()[2] for line in agents.calls()}) == 1, "one idempotency key"
    assert '"attempt"' in agents.model.shown("think")[0][0]


async def test_a_paused_turn_is_continued_with_what_was_said(agents: AgentBench) -> None:
    agents.model.plays("think", Reply.paused("let me see"), calls(("add", {"a": 1})), "2 it is")
    assert await agents.run(flow(agent(tools=tools("add")))) == {"text": "2 it is"}
    assert agents.model.turns("think") == [0, 1, 2]


BAD_ENDS = [
    (Reply.refusal("cyber", "not this"), "refusal"),
    (Reply.truncated("half of"), "max_tokens"),
    (Reply.text("no more", stop_reason="model_context_window_exceeded"), "model_context_window_exceeded"),
    (Reply.failure(400, "tools.0: bad"), "invalid_request_error"),
    (Reply.failure(401, "who are you"), "authentication_error"),
    (Reply.failure(404, "model: no such"), "not_found_error"),
]


async def test_an_answer_that_ends_badly_fails_the_step_with_its_type_and_is_not_asked_for_again(
    agents: AgentBench,
) -> None:
    for reply, kind in BAD_ENDS:
        agents.model.plays(kind, calls(("add", {"a": 1})), reply)
        error = await agents.failure(flow(agent(kind, tools=tools("add"))))
        assert (error["type"], error["step"]["id"]) == (kind, kind)
        assert agents.model.turns(kind) == [0, 1]


async def test_tools_of_a_refused_answer_are_not_called(agents: AgentBench) -> None:
    refused = Reply(calls(("add", {"a": 1})).content, "refusal", {"type": "refusal", "category": "cyber"})
    agents.model.plays("think", refused)
    assert (await agents.failure(flow(agent(tools=tools("add")))))["type"] == "refusal"
    assert agents.calls() == []


HICCUPS = {
    "rate_limited": Reply.rate_limited(0.1),
    "overloaded": Reply.overloaded(),
    "mid_stream": Reply.broken_stream("I was about to"),
    "malformed": Reply.malformed(),
    "unavailable": Reply.failure(503, "later"),
}


async def test_a_hiccup_of_the_model_is_tried_again_and_the_conversation_is_as_if_it_had_not_been(
    agents: AgentBench,
) -> None:
    retry = {"retry": {"max_attempts": 3, "initial_interval": "10ms"}}
    for name, hiccup in HICCUPS.items():
        agents.model.plays(name, calls(("add", {"a": 1})), [hiccup, hiccup, "two"])
        assert await agents.run(flow(agent(name, tools=tools("add")) | retry)) == {"text": "two"}
        assert agents.model.turns(name) == [0, 1, 1, 1]
    assert agents.calls() == ["add 1 1"] * len(HICCUPS)


async def test_a_model_that_says_when_to_come_back_is_not_asked_before(agents: AgentBench) -> None:
    agents.model.plays("think", [Reply.rate_limited(1), "now"])
    step = agent() | {"retry": {"max_attempts": 2, "initial_interval": "10ms"}}
    await agents.run(flow(step))
    first, second = agents.model.exchanges
    assert second.at - first.at >= 1.0


async def test_a_model_that_stays_away_fails_the_step_with_the_last_error(agents: AgentBench) -> None:
    agents.model.plays("think", [Reply.overloaded()])
    step = agent() | {"retry": {"max_attempts": 2, "initial_interval": "10ms"}}
    error = await agents.failure(flow(step))
    assert (error["type"], error["attempts"]) == ("temporary_service_unavailable", 2)


async def test_the_answer_with_a_schema_is_the_object_itself(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("lookup", {"city": "Jeju"})), Reply.json({"degrees": 4}))
    step = agent(tools=tools("lookup"), output_schema=SCHEMA)
    assert await agents.run(flow(step, output="{{ steps.think.output.degrees }}")) == 4


async def test_an_answer_that_misses_the_schema_is_corrected_once(agents: AgentBench) -> None:
    agents.model.plays("think", Reply.json({"degrees": "four"}), Reply.json({"degrees": 4}))
    assert await agents.run(flow(agent(output_schema=SCHEMA))) == {"degrees": 4}
    correction = agents.model.exchanges[1].messages[-1]["content"][0]["text"]
    assert "degrees" in correction


async def test_tools_may_be_called_again_while_an_answer_is_corrected(agents: AgentBench) -> None:
    agents.model.plays("think", "not JSON at all", calls(("lookup", {"city": "Jeju"})), Reply.json({"degrees": 4}))
    assert await agents.run(flow(agent(tools=tools("lookup"), output_schema=SCHEMA))) == {"degrees": 4}


async def test_an_answer_that_misses_the_schema_twice_fails_the_step(agents: AgentBench) -> None:
    agents.model.plays("think", "{}", '{"degrees": null}', Reply.json({"degrees": 4}))
    error = await agents.failure(flow(agent(output_schema=SCHEMA)))
    assert error["type"] == "invalid_output"
    assert "degrees" in error["message"]
    assert agents.model.turns("think") == [0, 1]


async def test_a_huge_result_is_cut_for_the_model_and_it_is_told(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("big", {"size": 1_500_000})), "long")
    assert await agents.run(flow(agent(tools=tools("big"), max_tool_result=2_000))) == {"text": "long"}
    [[shown]] = agents.model.shown("think")
    assert len(shown) < 3_000
    assert "1500000" in shown.replace(",", "").replace("_", "") or "cut" in shown


async def test_fifty_megabytes_of_tool_output_are_an_error_for_the_model_and_nothing_else(agents: AgentBench) -> None:
    await agents.serve()
    huge = (("big", {"size": 50_000_000}), ("tools__big", {"size": 5_000_000}), ("tools__add", {"a": 1, "b": 1}))
    agents.model.plays("think", calls(*huge), "well")
    assert await agents.run(flow(agent(tools=[{"mcp": "tools"}, *tools("big")]))) == {"text": "well"}
    [[*refused, total]] = agents.model.shown("think")
    assert all(text.startswith("!") and len(text) < 2_000 for text in refused)
    assert not total.startswith("!")


async def test_more_tools_than_a_model_can_choose_from_are_refused_clearly(agents: AgentBench) -> None:
    await agents.serve(more=310)
    error = await agents.failure(flow(agent(tools=[{"mcp": "tools"}])))
    assert "300" in error["message"]
    assert "allow" in error["message"]
    assert agents.model.exchanges == []
    agents.model.plays("think", "fine")
    assert await agents.run(flow(agent(tools=[{"mcp": "tools", "allow": ["tool_1*"]}]))) == {"text": "fine"}


async def test_two_tools_of_one_name_are_refused_before_the_model_is_asked(agents: AgentBench) -> None:
    declared = {"add": {"system": "x"}}
    error = await agents.failure(flow(agent(tools=[{"function": "add"}, {"agent": "add"}]), agents=declared))
    assert "'add'" in error["message"]
    assert agents.model.exchanges == []


async def test_what_an_agent_names_and_nobody_has_fails_the_step_before_the_model_is_asked(agents: AgentBench) -> None:
    for kind, name in (("function", "nothing_here"), ("flow", "no-such-flow"), ("mcp", "nowhere")):
        error = await agents.failure(flow(agent(tools=[{kind: name}]) | {"retry": "none"}))
        assert name in error["message"]
    assert agents.model.exchanges == []


async def test_agents_in_agents_go_only_so_deep_and_the_last_is_told(agents: AgentBench) -> None:
    declared: dict[str, Any] = {f"a{n}": {"system": f"a{n}", "tools": [{"agent": f"a{n + 1}"}]} for n in range(8)}
    declared["a8"] = {"system": "a8"}
    for n in range(8):
        agents.model.plays(f"a{n}", calls((f"a{n + 1}", {"goal": "deeper"})), f"{n} is enough")
    assert await agents.run(flow(agent("first", agent="a0"), agents=declared)) == {"text": "0 is enough"}
    asked = list(dict.fromkeys(exchange.who for exchange in agents.model.exchanges))
    assert asked == [f"a{n}" for n in range(6)]
    [[told]] = agents.model.shown("a5")
    assert told.startswith("!too_deep")
