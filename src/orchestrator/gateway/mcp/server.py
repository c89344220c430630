"""The server of the protocol: which tools there are, and what a call of one answers."""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
)

from orchestrator.client import Client
from orchestrator.errors import FieldProblem, InputsInvalid, OrchestratorError
from orchestrator.gateway.mcp import flow_tools, run_tools, task_tools
from orchestrator.gateway.mcp.exposed import FlowTool, FlowTools
from orchestrator.gateway.mcp.outcome import FailedRun, RunAnswer, outcome
from orchestrator.gateway.mcp.tool import (
    LONGEST_NAME,
    MOST_PROBLEMS,
    ArgumentsInvalid,
    BuiltIn,
    Call,
    Json,
    answered,
    refused,
    schema_of,
)
from orchestrator.settings import Settings
from orchestrator.spec.findings import suggestion
from orchestrator.spec.inputs import check_inputs
from orchestrator.spec.project import Project
from orchestrator.store.database import Store

Context = ServerRequestContext[Any, Any]

_LOGGER = logging.getLogger("orchestrator.gateway")
_INSTRUCTIONS = """\
Orchestrator runs flows: YAML files whose steps are durable. Flows that opt in are tools of their own; every other \
published flow is started with start_run. A run goes on when the call that started it has ended: ask get_run.
To write a flow: flow_format, then validate_flow until nothing is found, then publish_flow.
Runs may wait for people: list_tasks shows what is open; decide_task answers for a person, never without that person's \
word."""
_IDEMPOTENCY_KEY = "idempotencykey"
_LONGEST_KEY = 1000


def create_server(client: Client, store: Store, project: Callable[[], Project], settings: Settings) -> Server[Any]:
    """The MCP server over a connected client and an open store, which stay the caller's to close."""
    catalogue = Catalogue(client, store, project, settings)
    return Server(
        "orchestrator",
        version=version("orchestrator"),
        title="Orchestrator",
        instructions=_INSTRUCTIONS,
        on_list_tools=catalogue.list,
        on_call_tool=catalogue.call,
        # Without it every call with arguments lists all tools first, to look for headers that none of ours declares.
        get_tool_input_schema=_no_headers,
    )


class Catalogue:
    """Every tool: the built-in ones, and the flows that opted in."""

    def __init__(self, client: Client, store: Store, project: Callable[[], Project], settings: Settings) -> None:
        self._client = client
        self._largest = settings.max_body
        self._built_in: dict[str, BuiltIn] = {}
        self._flows = FlowTools(store, self._built_in)
        tools = [
            *flow_tools.tools(store, project, self._flows),
            *run_tools.tools(client),
            *task_tools.tools(client),
        ]
        self._built_in.update((tool.name, tool) for tool in tools)
        self._output = schema_of(RunAnswer)

    async def list(self, _: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        """Every tool of this moment. Raises MCPError where the store cannot be asked."""
        try:
            flows = await self._flows.all()
        except OrchestratorError as error:
            raise MCPError(_UNAVAILABLE, f"{error.code}: {error}") from error
        return ListToolsResult(
            tools=[
                *(tool.shown() for tool in self._built_in.values()),
                *(tool.shown(name, self._output) for name, tool in flows.items()),
            ]
        )

    async def call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """Call a tool. What the caller can act on is a result that says so; MCPError is raised for a tool that there
        is not, and for a defect of ours, whose own words go to the log alone."""
        try:
            return await self._called(context, params)
        except MCPError:
            raise
        except Exception as error:
            _LOGGER.exception("the tool %s failed", params.name[:LONGEST_NAME])
            raise MCPError(INTERNAL_ERROR, "something unexpected happened; it is in the server's log") from error

    async def _called(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        try:
            arguments = self._arguments(params)
            call = _call(context)
            tool = self._built_in.get(params.name)
            if tool is not None:
                answer = await tool.run(tool.read(arguments), call)
            else:
                answer = await self._start(await self._flow(params.name), arguments, call)
        except OrchestratorError as error:
            return refused(error.code, str(error))
        failed = isinstance(answer, FailedRun)
        return answered(answer, failed=failed, told=answer.told if isinstance(answer, FailedRun) else None)

    async def _flow(self, name: str) -> FlowTool:
        flows = await self._flows.all()
        if name in flows:
            return flows[name]
        shown = name[:LONGEST_NAME]
        near = difflib.get_close_matches(shown, [*self._built_in, *flows], 3)
        hint = f"did you mean {', '.join(near)}?" if near else "tools/list shows what there is"
        raise MCPError(INVALID_PARAMS, f"there is no tool '{shown}'; {hint}")

    async def _start(self, tool: FlowTool, inputs: Mapping[str, Json], call: Call) -> RunAnswer:
        """Start a run of a flow and wait as long as the flow says."""
        _check_names(tool, inputs)
        run = await self._client.start(tool.flow, inputs, idempotency_key=call.key)
        return await outcome(run, tool.wait, call)

    def _arguments(self, params: CallToolRequestParams) -> dict[str, Json]:
        """The arguments as JSON that can be stored. Raises ArgumentsInvalid."""
        arguments = params.arguments or {}
        try:
            size = len(json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode())
        except UnicodeEncodeError as error:
            raise ArgumentsInvalid("the arguments hold half of a character (a lone surrogate)") from error
        except RecursionError as error:
            raise ArgumentsInvalid("the arguments are nested too deeply") from error
        except ValueError as error:
            raise ArgumentsInvalid(f"the arguments are no JSON: {error}") from error
        if size > self._largest:
            raise ArgumentsInvalid(
                f"the arguments have {size} bytes and may have {self._largest}: pass a reference to large data"
            )
        return arguments


_UNAVAILABLE = -32000
"""Of the range that the protocol leaves to servers."""


def _call(context: Context) -> Call:
    meta = (context.params or {}).get("_meta")
    meta = meta if isinstance(meta, Mapping) else {}
    asked = meta.get("progressToken") is not None

    async def report(done: float, total: float, told: str) -> None:
        await context.session.report_progress(done, total, told)

    return Call(key=_key(meta), report=report if asked else None)


def _key(meta: Mapping[str, Json]) -> str | None:
    """The idempotency key of a call: ``_meta``'s ``idempotencyKey``, however it is spelt and prefixed."""
    for name, value in meta.items():
        bare = name.rpartition("/")[2].replace("-", "").replace("_", "").lower()
        if bare == _IDEMPOTENCY_KEY and isinstance(value, str) and value:
            if len(value) > _LONGEST_KEY or "\x00" in value:
                raise ArgumentsInvalid(f"an idempotency key has at most {_LONGEST_KEY} characters, and no NUL")
            return value
    return None


def _check_names(tool: FlowTool, inputs: Mapping[str, Json]) -> None:
    """A model that misspells an input shall learn it, though a start leaves out what is not declared. Raises
    InputsInvalid naming everything that is wrong."""
    declared = tool.inputs.get("properties", {})
    unknown = [name for name in inputs if name not in declared]
    if not unknown or tool.inputs.get("additionalProperties") is not False:
        return
    found = [_unknown(name[:LONGEST_NAME], declared) for name in unknown[:MOST_PROBLEMS]]
    try:
        check_inputs(tool.flow, dict(tool.inputs), dict(inputs))
    except InputsInvalid as error:
        found += error.problems
    raise InputsInvalid(tool.flow, found)


def _unknown(name: str, declared: Mapping[str, Json]) -> FieldProblem:
    return FieldProblem(name, f"is no input of it ({suggestion(name, declared) or 'it takes none'})")


def _no_headers(_: str) -> None:
    return None
