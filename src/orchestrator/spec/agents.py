"""Agents as they are declared and used: what could never work is refused when the file is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.expressions import CompiledValue, ExpressionError, Names, compile_value
from orchestrator.spec.acts.agent import DeclaredAgent
from orchestrator.spec.definition import Node
from orchestrator.spec.findings import Findings, check_model, is_template, suggestion
from orchestrator.spec.flow import Flow
from orchestrator.spec.reading import Placed
from orchestrator.spec.source import Path

Json = Any

_KEPT = "the conversation of an agent is kept, and the model reads it"
_SECRETS_BELONG = "give secrets to the MCP server (`env`, `headers`), the service or the function that needs them"
_NO_NAMES = Names()


def check_project_agents(agents: Json, findings: Findings) -> None:
    """Report every agent of orchestrator.yaml that could never work."""
    if isinstance(agents, dict):
        _entries(agents, agents, findings)


def check_agents(
    steps: list[Placed], flow: Flow, agents: dict[str, Any], mcp: dict[str, Any], findings: Findings
) -> None:
    """Report the flow's own agents, and those its steps name, that could never work; warn about MCP servers that nobody
    declares. ``agents`` and ``mcp`` are the project's."""
    known, servers = agents | flow.agents, mcp | flow.mcp
    _entries(flow.agents, known, findings)
    for name, entry in flow.agents.items():
        _servers(entry.get("tools"), ("agents", name, "tools"), servers, findings)
    for step in steps:
        for placed in step.walk():
            if placed.type == "agent":
                _named(placed.config.get("agent"), placed.config_paths.get("agent", placed.path), known, findings)
                tools, path = placed.config.get("tools"), placed.config_paths.get("tools", placed.path)
                _tools(tools, path, known, findings)
                _servers(tools, path, servers, findings)


def check_agent_step(placed: Placed, findings: Findings) -> None:
    """Report what does not go with a step that is an agent."""
    if placed.step.cache is not None:
        findings.error(
            (*placed.path, "cache"),
            f"`{placed.id}` is an agent, whose tools act: an output taken from an earlier run would leave that out",
            "`cache` inside its config is the caching of prompts; put `cache` on the steps after it",
            key=True,
        )
    for key, value in placed.config.items():
        for path, compiled in _templates(value, placed.config_paths[key]):
            for name in compiled.late_names:
                _late(name, path, f"the agent `{placed.id}`", findings)


def agent_bindings(flow: Flow, config: dict[str, Json]) -> dict[str, dict[str, Json]]:
    """The flow's own agents and MCP servers that an agent's step can reach, those its agents reach included. All of a
    kind where a name is computed, or an agent is the project's: what that one names is not known here."""
    agents: dict[str, Json] = {}
    servers: dict[str, Json] = {}
    queue: list[Json] = [config]
    for one in queue:
        for name in _agents_of(one):
            if is_template(name) or name not in flow.agents:
                new, servers = flow.agents, servers | flow.mcp
            else:
                new = {name: flow.agents[name]}
            queue.extend(entry for other, entry in new.items() if other not in agents)
            agents |= new
        for _, tool in _each_tool(one.get("tools")):
            server = tool.get("mcp")
            servers |= flow.mcp if is_template(server) else {key: flow.mcp[key] for key in flow.mcp if key == server}
        if is_template(one.get("tools")):
            agents, servers = dict(flow.agents), dict(flow.mcp)
    return {kind: entries for kind, entries in (("agents", agents), ("mcp", servers)) if entries}


def tool_kinds(tools: Json) -> list[str]:
    """The kinds of steps that an agent's ``tools`` call by themselves; all of them where the list is computed. Another
    agent is none: who declared it said what it may call."""
    kinds = ("mcp", "function", "flow")
    if is_template(tools):
        return list(kinds)
    return [kind for kind in kinds if any(tool.get(kind) is not None for _, tool in _each_tool(tools))]


def agent_flows(node: Node) -> Iterator[str]:
    """The flows that an agent's step and the flow's own agents it can reach have as tools, as far as they are written
    down."""
    for one in (node.config, *node.bindings.get("agents", {}).values()):
        for _, tool in _each_tool(one.get("tools") if isinstance(one, dict) else None):
            name = tool.get("flow")
            if isinstance(name, str) and not is_template(name):
                yield name


def _entries(entries: Mapping[str, Json], known: Mapping[str, Json], findings: Findings) -> None:
    for name, entry in entries.items():
        path: Path = ("agents", name)
        check_model(DeclaredAgent, entry, findings, path, f" in the agent `{name}`")
        for at, compiled in _templates(entry, path, findings):
            for late in compiled.late_names:
                _late(late, at, f"the agent `{name}`", findings)
            if compiled.references:
                findings.error(
                    at,
                    f"`{compiled.references[0].root}` is not known where an agent is declared: outside any run",
                    "put what changes from run to run into the step's `goal`",
                )
        if isinstance(entry, dict):
            _tools(entry.get("tools"), (*path, "tools"), known, findings)
    _circles(entries, known, findings)


def _tools(tools: Json, path: Path, known: Mapping[str, Json], findings: Findings) -> None:
    for index, tool in _each_tool(tools):
        _named(tool.get("agent"), (*path, index, "agent"), known, findings)


def _named(name: Json, path: Path, known: Mapping[str, Json], findings: Findings) -> None:
    if not isinstance(name, str) or is_template(name) or name in known:
        return
    near = suggestion(name, known)
    findings.error(path, f"no agent `{name}` is declared", near or "declare it under `agents`, here or in the project")


def _servers(tools: Json, path: Path, known: Mapping[str, Json], findings: Findings) -> None:
    for index, tool in _each_tool(tools):
        name = tool.get("mcp")
        if isinstance(name, str) and not is_template(name) and name not in known:
            near = suggestion(name, known)
            hint = near if near and near.startswith("did") else "declare it under `mcp` in orchestrator.yaml"
            findings.warn((*path, index, "mcp"), f"no MCP server `{name}` is declared", hint)


def _circles(entries: Mapping[str, Json], known: Mapping[str, Json], findings: Findings) -> None:
    """Report agents that have each other as tools. Each circle once, at its first agent in this file."""
    reported: list[frozenset[str]] = []
    for name, entry in entries.items():
        for index, tool in _each_tool(entry.get("tools") if isinstance(entry, dict) else None):
            way = _way(tool.get("agent"), name, known)
            if way is None or frozenset(way) in reported:
                continue
            reported.append(frozenset(way))
            findings.error(
                ("agents", name, "tools", index, "agent"),
                f"these agents call each other in a circle: {' → '.join((name, *way))}",
                "take one of them out of the other's `tools`",
            )


def _way(start: Json, goal: str, known: Mapping[str, Json]) -> tuple[str, ...] | None:
    """The shortest way from one agent to another, both named in it."""
    if not isinstance(start, str):
        return None
    ways: dict[str, tuple[str, ...]] = {start: (start,)}
    for name in (queue := [start]):
        if name == goal:
            return ways[name]
        for _, tool in _each_tool((known.get(name) or {}).get("tools") if isinstance(known.get(name), dict) else None):
            following = tool.get("agent")
            if isinstance(following, str) and following not in ways:
                ways[following] = (*ways[name], following)
                queue.append(following)
    return None


def _agents_of(one: Json) -> Iterator[str]:
    """The agents that a step's config or a declared agent names."""
    named = [one.get("agent"), *(tool.get("agent") for _, tool in _each_tool(one.get("tools")))]
    yield from (name for name in named if isinstance(name, str))


def _each_tool(tools: Json) -> Iterator[tuple[int, dict[str, Json]]]:
    for index, tool in enumerate(tools if isinstance(tools, list) else []):
        if isinstance(tool, dict):
            yield index, tool


def _templates(value: Json, path: Path, findings: Findings | None = None) -> Iterator[tuple[Path, CompiledValue]]:
    """Every text of a JSON value that is a template. What is wrong with one is reported, given ``findings``: the
    templates of steps are checked elsewhere."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _templates(member, (*path, key), findings)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _templates(item, (*path, index), findings)
    elif isinstance(value, str) and ("{{" in value or "{%" in value):
        try:
            yield path, compile_value(value, _NO_NAMES)
        except ExpressionError as error:
            if findings is not None:
                findings.error(path, str(error))


def _late(name: str, path: Path, where: str, findings: Findings) -> None:
    if name.startswith("secrets."):
        findings.error(path, f"`{name}` cannot be used in {where}: {_KEPT}", _SECRETS_BELONG)
    else:
        findings.error(path, f"`{name}` cannot be used in {where}: it is no step of one attempt", "leave it out")
