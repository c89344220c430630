"""An agent's tools: what its MCP servers, functions, flows and fellow agents offer, as definitions for the model and
as targets for the engine. In a stable order, bounded, each name once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import jsonschema
from jsonschema.exceptions import SchemaError

from orchestrator.errors import FlowInvalid, NotFound, TerminalError, Unavailable
from orchestrator.spec.acts.agent import AgentTool
from orchestrator.spec.definition import Json
from orchestrator.spec.inputs import references
from orchestrator.spec.source import read_source
from orchestrator.steps.agent.declared import declared_agent
from orchestrator.steps.agent.names import fit_members, misfits, tool_name
from orchestrator.steps.agent.store import store_of, unavailable
from orchestrator.steps.context import StepContext
from orchestrator.steps.function.handlers import Function
from orchestrator.steps.function.schema import function_tool
from orchestrator.steps.mcp.step import list_tools

MOST_TOOLS = 300
LONGEST_DESCRIPTION = 4_000
"""Characters."""
LARGEST_SCHEMA = 64_000
"""Bytes of JSON, the description included."""
LARGEST_LIST = 1_000_000
"""Bytes of JSON that all definitions may have together: every turn sends them."""
DEEPEST_SCHEMA = 40
MOST_LISTED = 2_000
"""Tools of one server that are looked at, the ones that `allow` leaves out included."""
_MOST_LEFT_OUT = 50
"""Tools that cannot be used which are named; the others are counted."""
_SHOWN_NAME = 100
_FURTHER = "…"
_AT_THE_TOP = ("anyOf", "oneOf", "allOf", "$ref")
"""What the API does not take at the top of a tool's schema."""

Functions = Mapping[str, Function]


@dataclass(frozen=True, slots=True)
class Offered:
    """One tool. ``origin`` tells two of the same name apart; ``asked`` where the author wrote its very name."""

    name: str
    origin: str
    description: str
    schema: Json
    target: dict[str, Json]
    asked: bool = True

    @property
    def definition(self) -> dict[str, Json]:
        """As the API takes it."""
        described = {"description": self.description} if self.description else {}
        return {"name": self.name, **described, "input_schema": fit_members(self.schema)[0]}


@dataclass(slots=True)
class Toolset:
    """All tools of an agent by the name the model sees, and those that cannot be used, with the reason."""

    tools: dict[str, Offered] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    _more_left_out: int = 0

    @property
    def definitions(self) -> list[dict[str, Json]]:
        """For the model."""
        return [tool.definition for tool in self.tools.values()]

    @property
    def targets(self) -> dict[str, Json]:
        """For the engine."""
        return {name: tool.target for name, tool in self.tools.items()}

    @property
    def renamed(self) -> dict[str, dict[str, str]]:
        """By tool, the members of its arguments that the model knows under another name."""
        names = {name: fit_members(tool.schema)[1] for name, tool in self.tools.items()}
        return {name: renamed for name, renamed in names.items() if renamed}

    def add(self, tool: Offered) -> None:
        """Take a tool in. One that the model cannot be given is left out, and said: a server that offers a bad one
        beside those that are needed must not stop an agent. Raises TerminalError ``tool_unusable`` where its author
        asked for that very tool, and ``invalid_config`` for two tools of one name."""
        known = self.tools.get(tool.name)
        if known is not None:
            if known.origin != tool.origin:
                raise TerminalError(
                    "invalid_config",
                    f"two tools would be '{tool.name}' for the model: {known.origin} and {tool.origin}; "
                    "rename one, or leave one out with `allow`",
                )
            return
        problem = _problem(tool)
        if problem is None:
            self.tools[tool.name] = tool
        elif tool.asked:
            raise TerminalError("tool_unusable", f"{tool.origin} cannot be a tool of an agent: {problem}")
        elif len(self.left_out) < _MOST_LEFT_OUT or tool.name in self.left_out:
            self.left_out[tool.name] = problem
        else:
            self._more_left_out += 1
            self.left_out[_FURTHER] = f"{self._more_left_out} further tools cannot be used either"

    def check_size(self) -> None:
        """Raise TerminalError ``too_many_tools`` where a model could not be given them all."""
        hint = "narrow them with `allow`, or give parts of the work to other agents"
        if len(self.tools) > MOST_TOOLS:
            raise TerminalError(
                "too_many_tools", f"the agent has {len(self.tools)} tools; at most {MOST_TOOLS} are possible: {hint}"
            )
        size = len(json.dumps(self.definitions, ensure_ascii=False).encode())
        if size > LARGEST_LIST:
            raise TerminalError(
                "too_many_tools",
                f"the definitions of the agent's {len(self.tools)} tools have {size:,} bytes; at most "
                f"{LARGEST_LIST:,} are possible: {hint}",
            )


async def collect(tools: Iterable[AgentTool], functions: Functions, context: StepContext) -> Toolset:
    """Everything that ``tools`` name. Raises TerminalError ``not_found``, ``unknown_function``, ``tool_unusable``,
    ``too_many_tools``, ``invalid_config``, what a connection to an MCP server raises, and StepError
    ``store_unavailable``."""
    found = Toolset()
    for tool in tools:
        if tool.mcp is not None:
            for offered in await _of_server(tool.mcp, tool.allow, context):
                found.add(offered)
        elif tool.function is not None:
            found.add(_of_function(tool.function, tool.description, functions))
        elif tool.flow is not None:
            found.add(await _of_flow(tool.flow, tool.description, context))
        elif tool.agent is not None:
            found.add(_of_agent(tool.agent, tool.description, context))
    found.check_size()
    return found


async def _of_server(server: str, allow: list[str] | None, context: StepContext) -> list[Offered]:
    tools = {tool.name: tool for tool in await list_tools(server, context)}
    if len(tools) > MOST_LISTED:
        raise TerminalError(
            "too_many_tools",
            f"mcp.{server} offers {len(tools):,} tools; at most {MOST_LISTED:,} can be looked through: narrow them "
            "with the server's own `allow`",
        )
    for wanted in allow or ():
        if "*" not in wanted and wanted not in tools:
            near = difflib.get_close_matches(wanted, tools, 3) or sorted(tools)[:20]
            there = ", ".join(name[:_SHOWN_NAME] for name in near) or "none"
            raise TerminalError("not_found", f"mcp.{server} has no tool '{wanted}' that may be used; there: {there}")
    # By name: the order of the definitions must not change between two runs for the sake of prompt caching.
    return [
        Offered(
            tool_name(f"{server}__{name}"),
            f"tool '{name[:_SHOWN_NAME]}' of mcp.{server}",
            tool.description or "",
            tool.input_schema,
            {"type": "mcp", "server": server, "tool": name},
            asked=allow is not None and name in allow,
        )
        for name, tool in sorted(tools.items())
        if allow is None or any(fnmatchcase(name, pattern) for pattern in allow)
    ]


def _of_function(handler: str, description: str | None, functions: Functions) -> Offered:
    function = functions.get(handler)
    if function is None:
        near = difflib.get_close_matches(handler, functions, 1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        known = ", ".join(sorted({found.name for found in functions.values()})) or "none"
        raise TerminalError("unknown_function", f"no function '{handler}' in activities/; there: {known}.{meant}")
    tool = function_tool(function)
    target: dict[str, Json] = {"type": "function", "handler": handler, "style": tool.style, "order": list(tool.order)}
    said = description or tool.description
    return Offered(tool_name(handler), f"function '{handler}'", said, tool.schema, target)


async def _of_flow(flow: str, description: str | None, context: StepContext) -> Offered:
    try:
        found = await store_of(context).flows.current(flow)
    except NotFound as error:
        raise TerminalError("not_found", f"the agent has the flow '{flow}' as a tool: {error}") from error
    except Unavailable as error:
        raise unavailable(error) from error
    if not found.enabled:
        raise TerminalError("refused", f"the agent has the flow '{flow}' as a tool, which is disabled; enable it")
    said = description or _written_description(found.text, flow) or found.definition.name or ""
    return Offered(tool_name(flow), f"flow '{flow}'", said, found.definition.inputs, {"type": "flow", "flow": flow})


def _written_description(text: str, flow: str) -> str:
    """What the flow's author wrote under ``description``."""
    try:
        data = read_source(text, flow).data
    except FlowInvalid:
        # Published by a release that read YAML otherwise.
        return ""
    given = data.get("description") if isinstance(data, dict) else None
    return given if isinstance(given, str) else ""


def _of_agent(name: str, description: str | None, context: StepContext) -> Offered:
    declared = declared_agent(name, context)
    said = description or declared.description or f"Another agent: {name}. It does not see this conversation."
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {"goal": {"type": "string", "description": "What to do, with everything it needs to know."}},
        "required": ["goal"],
        "additionalProperties": False,
    }
    return Offered(tool_name(name), f"agent '{name}'", said, schema, {"type": "agent", "agent": name})


def _problem(tool: Offered) -> str | None:
    """Why a model cannot be given this tool."""
    if len(tool.description) > LONGEST_DESCRIPTION:
        # Not cut: half of a description may say the opposite of the whole.
        return f"its description has {len(tool.description):,} characters; at most {LONGEST_DESCRIPTION:,} are possible"
    schema = tool.schema
    if not isinstance(schema, dict):
        return "its schema is no object"
    if _depth(schema) > DEEPEST_SCHEMA:
        return f"its schema is nested more than {DEEPEST_SCHEMA} levels deep"
    try:
        size = len(json.dumps([tool.description, schema], ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return "its description or schema holds half of a character (a lone surrogate)"
    if size > LARGEST_SCHEMA:
        return f"its schema has {size:,} bytes of JSON; at most {LARGEST_SCHEMA:,} are possible"
    if schema.get("type") != "object":
        return "its schema does not say `type: object`"
    combined = [key for key in _AT_THE_TOP if key in schema]
    if combined:
        return f"its schema has `{combined[0]}` at the top, which the Claude API does not take"
    unfit = misfits(schema)
    if unfit:
        return f"the Claude API takes no argument named {unfit[0][:100]!r}, and what is left of it is another's name"
    return _invalid(schema)


def _invalid(schema: dict[str, Json]) -> str | None:
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = ".".join(str(part) for part in error.absolute_path) or "the top"
        return f"its schema is no JSON Schema: {error.message[:200]} (at {where})"
    for _, reference in references(schema):
        if not reference.startswith("#"):
            return f"its schema refers to {reference[:200]!r}, and nothing is fetched"
    return None


def _depth(value: Json) -> int:
    """Levels of nesting, counted no further than needed."""
    level = [value]
    for depth in range(DEEPEST_SCHEMA + 2):
        level = [
            member
            for one in level
            if isinstance(one, dict | list)
            for member in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return depth
    return DEEPEST_SCHEMA + 1
