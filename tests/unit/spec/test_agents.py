"""Agents as files declare and use them."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from tests.unit.spec.conftest import Load, Problems

from orchestrator.errors import FlowInvalid
from orchestrator.spec.computed import StepsInvalid, prepare
from orchestrator.spec.project import load_project
from orchestrator.spec.subflows import subflow_calls

FLOW = """
id: team
agents:
  writer: {system: You write., tools: [{agent: reader}, {flow: publish}]}
  reader: {tools: [{mcp: library, allow: [find]}]}
  idle: {tools: [{mcp: other}]}
mcp:
  library: {command: library}
  other: {command: other}
steps:
  - id: write
    type: agent
    config: {agent: writer, goal: Write., tools: [{function: count}]}
"""


def with_agents(agents: str, step: str = "{agent: a, goal: Go.}", more: str = "") -> str:
    return (
        "id: f\nagents:\n"
        + textwrap.indent(textwrap.dedent(agents).strip(), "  ")
        + f"\nsteps:\n  - {{id: go, type: agent, config: {step}{more}}}\n"
    )


def test_a_step_takes_along_what_of_the_flow_its_agents_can_reach_and_nothing_else(load: Load) -> None:
    [node] = load(FLOW).definition.steps
    assert list(node.bindings["agents"]) == ["writer", "reader"]
    assert list(node.bindings["mcp"]) == ["library"]


def test_a_step_whose_agent_is_the_projects_or_computed_takes_everything_along(load: Load) -> None:
    [node] = load(FLOW.replace("agent: writer", "agent: theirs"), agents={"theirs": {}}).definition.steps
    assert list(node.bindings["agents"]) == ["writer", "reader", "idle"]
    assert list(node.bindings["mcp"]) == ["library", "other"]
    [node] = load(FLOW.replace("agent: writer", "agent: '{{ trigger.body.who }}'")).definition.steps
    assert list(node.bindings["agents"]) == ["writer", "reader", "idle"]


def test_flows_that_agents_have_as_tools_are_known_as_subflows(load: Load) -> None:
    [call] = subflow_calls(load(FLOW).definition)
    assert (call.step, call.flow, call.always) == ("write", "publish", False)


@pytest.mark.parametrize(
    ("agents", "says"),
    [
        ("a: {sytem: x}", "3:7: unknown key `sytem` in the agent `a` (did you mean `system`?)"),
        ("a: text", "3:6: "),
        ("a: {limits: {turns: 0}}", "3:23: "),
        ("a: {tools: [{mcp: s, function: f}]}", "3:15: "),
        ("a: {tools: [{function: f, allow: [x]}]}", "3:15: "),
        ("a: {tools: [{agent: writr}]}\nwriter: {}", "3:23: no agent `writr` is declared (did you mean `writer`?)"),
        ("a: {system: 'Use {{ secrets.KEY }}.'}", "3:15: `secrets.KEY` cannot be used in the agent `a`"),
        ("a: {system: 'For {{ inputs.who }}.'}", "3:15: `inputs` is not known where an agent is declared"),
        ("a: {system: 'For {{ 1 + }}.'}", "3:15: "),
        ("a: {approval: {group: x, assignee: y}}", "3:17: "),
    ],
)
def test_an_agent_that_could_never_work_is_refused_with_its_place(problems: Problems, agents: str, says: str) -> None:
    assert [problem[: len(says)] for problem in problems(with_agents(agents))] == [says]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("{agent: b, goal: x}", "no agent `b` is declared"),
        ("{goal: x, tools: [{agent: b}]}", "no agent `b` is declared"),
        ("{goal: 'Use {{ secrets.KEY }}.'}", "`secrets.KEY` cannot be used in the agent `go`"),
        ("{goal: x, tools: [{function: f, description: '{{ secrets.KEY }}'}]}", "`secrets.KEY` cannot be used"),
        ("{goal: 'Try {{ step.attempt }}'}", "`step.attempt` cannot be used in the agent `go`"),
        ("{agent: a, goal: x, system: y}", "give either `agent`"),
        ("{goal: x, temperature: 0}", "'temperature' is no longer a parameter of the Claude API"),
    ],
)
def test_a_step_that_could_never_work_is_refused(problems: Problems, step: str, says: str) -> None:
    [problem] = problems(with_agents("a: {}", step))
    assert says in problem


def test_an_agents_step_has_no_cache_and_is_never_express(problems: Problems) -> None:
    [problem] = problems(with_agents("a: {}", more=", cache: {key: x}"))
    assert "an output taken from an earlier run would leave that out" in problem
    found = problems(with_agents("a: {}") + "defaults: {durability: express}\n")
    assert "takes longer than that" in found[0]


@pytest.mark.parametrize(
    ("agents", "circle"),
    [
        ("a: {tools: [{agent: a}]}", "a → a"),
        ("a: {tools: [{agent: b}]}\nb: {tools: [{agent: c}]}\nc: {tools: [{agent: a}]}", "a → b → c → a"),
    ],
)
def test_agents_that_call_each_other_in_a_circle_are_refused_with_it(
    problems: Problems, agents: str, circle: str
) -> None:
    [problem] = problems(with_agents(agents))
    assert problem.startswith("3:")
    assert f"in a circle: {circle} " in problem


def test_a_circle_through_the_projects_agents_is_found(problems: Problems) -> None:
    [problem] = problems(with_agents("a: {tools: [{agent: b}]}"), agents={"b": {"tools": [{"agent": "a"}]}})
    assert "a → b → a" in problem


def test_many_agents_with_a_common_one_are_no_circle(problems: Problems) -> None:
    agents = "a: {tools: [{agent: b}, {agent: c}]}\nb: {tools: [{agent: d}]}\nc: {tools: [{agent: d}]}\nd: {}"
    assert problems(with_agents(agents)) == []


def test_a_server_that_nobody_declares_is_a_warning(load: Load) -> None:
    text = with_agents("a: {tools: [{mcp: libary}]}", "{agent: a, goal: x, tools: [{mcp: wiki}]}")
    warnings = load(text, mcp={"library": {}}).warnings
    assert [warning.message for warning in warnings] == [
        "no MCP server `libary` is declared",
        "no MCP server `wiki` is declared",
    ]
    assert warnings[0].hint == "did you mean `library`?"


def test_computed_names_are_left_to_the_run(load: Load) -> None:
    text = with_agents("a: {}", "{agent: '{{ vars.who }}', goal: x, tools: '{{ vars.tools }}'}")
    assert load(text + "vars: {who: a, tools: []}\n").warnings == ()


@pytest.mark.parametrize(
    ("agents", "says"),
    [
        ("a: {goal: x}", "orchestrator.yaml:2:7: unknown key `goal` in the agent `a`"),
        ("a: {tools: [{agent: b}]}", "orchestrator.yaml:2:23: no agent `b` is declared"),
        ("a: {system: '{{ secrets.KEY }}'}", "orchestrator.yaml:2:15: `secrets.KEY` cannot be used"),
        ("a: {tools: [{agent: b}]}\n  b: {tools: [{agent: a}]}", "in a circle: a → b → a"),
    ],
)
def test_agents_of_the_project_are_checked_when_it_is_read(tmp_path: Path, agents: str, says: str) -> None:
    (tmp_path / "orchestrator.yaml").write_text(f"agents:\n  {agents}\n")
    with pytest.raises(FlowInvalid) as caught:
        load_project(tmp_path)
    assert says in str(caught.value)


def test_a_computed_agent_is_held_to_the_same_rules(load: Load) -> None:
    flow = load("id: f\nsteps: [{id: run, type: run-steps, config: {steps: [], allow: [agent]}}]").definition
    step = {"type": "agent", "config": {"goal": "x"}}
    assert len(prepare([step], ["agent"], 5, flow, [], "run").steps) == 1
    with pytest.raises(StepsInvalid, match="whose tools act"):
        prepare([step | {"cache": {"key": "x"}}], ["agent"], 5, flow, [], "run")
