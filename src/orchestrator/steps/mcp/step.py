"""The ``mcp`` step: call a tool of an MCP server, or read one of its resources or prompts."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import difflib
import fnmatch
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

from mcp import Client, MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    REQUEST_TIMEOUT,
    URL_ELICITATION_REQUIRED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ElicitationRequiredErrorData,
    GetPromptResult,
    InputRequiredResult,
    ReadResourceResult,
    Tool,
)
from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.mcp import McpConfig, McpServer
from orchestrator.steps.context import StepContext
from orchestrator.steps.mcp.call import Asked, Call, ServerGone
from orchestrator.steps.mcp.elicit import Answers, again, answers, asked, question, required
from orchestrator.steps.mcp.errors import FAILURES, too_large, typed
from orchestrator.steps.mcp.pool import Connection, McpPool, list_prompts
from orchestrator.steps.mcp.schema import Unusable, check_arguments

T = TypeVar("T")
Json = Any
Result = CallToolResult | ReadResourceResult | GetPromptResult


class Send(Protocol):
    """Sends the request of one step, with the answers that are known."""

    async def __call__(self, client: Client, known: Answers) -> Result | InputRequiredResult: ...


TYPE = "mcp"
CONFIG = McpConfig

_TOOL_RESULT: TypeAdapter[Result | InputRequiredResult] = TypeAdapter(CallToolResult | InputRequiredResult)
_STATE_ROUNDS = 10
"""Times a server may ask to be called again without asking anything."""
_PAUSE = 0.1
_NO_SUCH_RESOURCE = (INVALID_PARAMS, -32_002)
"""Codes of 2026 and of the years before."""
_SHOWN = 500
"""Characters of a progress message that are kept."""


async def run(config: McpConfig, context: StepContext, answered: Json = None) -> Json:
    """Structured content where the server gives any, else ``{"text", "content"}``; a prompt adds
    ``messages``.

    Where the server asks something, ``context.asked`` says what, and the step is run again with ``answered``.

    Raises StepError ``network_error``, ``timeout``, ``rate_limit_exceeded``,
    ``temporary_service_unavailable``, ``mcp_protocol_error``; TerminalError ``mcp_tool_error`` (the tool
    says it failed), ``invalid_arguments``, ``not_found``, ``not_allowed``, ``http_<status>``, ``sign_in_failed``,
    ``payload_too_large``, ``elicitation_required``, ``elicitation_declined``, ``invalid_config``.
    """
    server = context.entry("mcp", config.server, McpServer)
    if config.tool is not None and not _allowed(config.tool, server):
        listed = ", ".join(server.allow or []) or "none"
        raise TerminalError("not_allowed", f"mcp.{config.server} allows {listed}; '{config.tool}' is not among them")
    known = answers(answered)

    async def once(call: Call) -> Json:
        async with _connection(config, server, context, call) as connection:
            call.answers = known.earlier if connection.legacy else {}
            if config.tool is not None:
                await _check(connection, call, config.tool, config.arguments)
            try:
                result = await _ask(connection, call, _request(config, context), known)
            except MCPError as error:
                problem = await _missing(connection, call, config, error)
                if problem is None:
                    raise
                raise problem from error
            return _bounded(_output(result, config), config.server, server)

    try:
        return await _twice(config.server, server, once)
    except Asked as questions:
        context.asked = asked(questions, known, config)
        return None


async def list_tools(name: str, context: StepContext) -> list[Tool]:
    """The tools of server ``name`` that its ``allow`` admits, asked for anew, in the server's order. Raises as
    ``run``."""
    server = context.entry("mcp", name, McpServer)

    async def once(call: Call) -> list[Tool]:
        connection = await (await _pool(context)).connection(name, server, call, context.root_id)
        return list((await connection.tools(call, refresh=True)).values())

    listed = await _twice(name, server, once)
    return [tool for tool in listed if _allowed(tool.name, server)]


async def _pool(context: StepContext) -> McpPool:
    async def opener() -> McpPool:
        return McpPool(context.settings.project_dir.resolve())

    return await context.resources.shared("mcp", opener)


async def _twice(name: str, server: McpServer, once: Callable[[Call], Awaitable[T]]) -> T:
    """A call that no server can have seen is repeated at once, on a new connection."""
    for last in (False, True):
        call = Call()
        try:
            return await once(call)
        except ServerGone as gone:
            if last or not gone.unsent:
                raise typed(name, server, gone, call) from gone
        except FAILURES as error:
            raise typed(name, server, error, call) from error
    raise AssertionError("two tries end in a result or an error")


@contextlib.asynccontextmanager
async def _connection(
    config: McpConfig, server: McpServer, context: StepContext, call: Call
) -> AsyncIterator[Connection]:
    pool = await _pool(context)
    connection = await pool.connection(config.server, server, call, context.root_id)
    # What an older server asks on a connection of this call alone is asked by this call.
    own = config.elicit is not None and connection.legacy and server.shared
    async with contextlib.AsyncExitStack() as stack:
        if own:
            connection = await stack.enter_async_context(pool.alone(config.server, server, call))
        for credential in connection.credentials:
            context.secrets.remember(credential)
        try:
            yield connection
        finally:
            for credential in connection.credentials:
                context.secrets.remember(credential)


def _request(config: McpConfig, context: StepContext) -> Send:
    tool, progress = config.tool or "", _progress(context)

    async def read(client: Client, known: Answers) -> Result | InputRequiredResult:
        return await client.session.read_resource(
            config.resource or "",
            input_responses=known.for_protocol(),
            request_state=known.state or None,
            allow_input_required=True,
        )

    async def get(client: Client, known: Answers) -> Result | InputRequiredResult:
        return await client.session.get_prompt(
            config.prompt or "",
            {key: _text(value) for key, value in config.arguments.items()},
            input_responses=known.for_protocol(),
            request_state=known.state or None,
            allow_input_required=True,
        )

    async def call_tool(client: Client, known: Answers) -> Result | InputRequiredResult:
        # Not by the SDK's own call_tool: that holds the result to the server's schema, without a bound on the time
        # its patterns may take.
        params = CallToolRequestParams(
            name=tool,
            arguments=config.arguments,
            input_responses=known.for_protocol(),
            request_state=known.state or None,
        )
        request = CallToolRequest(params=params)
        return await client.session.send_request(request, _TOOL_RESULT, progress_callback=progress)

    if config.tool is not None:
        return call_tool
    return read if config.resource is not None else get


def _progress(context: StepContext) -> ProgressFnT | None:
    """What the server reports while it works becomes the activity's heartbeat details."""
    if not activity.in_activity():
        return None
    # The SDK calls from a task of the connection, which is no activity.
    here = contextvars.copy_context()

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        said = context.secrets.mask_text(message[:_SHOWN]) if message else None
        here.run(activity.heartbeat, {"progress": progress, "total": total, "message": said})

    return tell


async def _ask(connection: Connection, call: Call, send: Send, known: Answers) -> Result:
    """The result, called again as long as the server wants that without asking anything. Raises Asked."""
    given, begun_again = (Answers() if connection.legacy else known), False
    for _ in range(_STATE_ROUNDS):
        try:
            result = await connection.call(functools.partial(send, known=given), call)
        except MCPError as error:
            if error.code == URL_ELICITATION_REQUIRED:
                raise _links(connection.name, error, known) from error
            if error.code != INVALID_PARAMS or not given.state or begun_again:
                raise
            # The server does not know its own state any more.
            given, begun_again = Answers(), True
            continue
        if not isinstance(result, InputRequiredResult):
            return result
        questions = required(result, connection.name)
        if questions is None:
            given = Answers(state=result.request_state)
            await asyncio.sleep(_PAUSE)
            continue
        answers_again = again(questions, known) if begun_again else None
        if answers_again is None:
            raise questions
        given = answers_again
    raise TerminalError("mcp_protocol_error", f"mcp.{connection.name} wants to be called again without end")


def _links(server: str, error: MCPError, known: Answers) -> Exception:
    """The places a user has to visit before the call can be made, as an older server names them."""
    if any(answer["action"] != "accept" for answer in known.responses.values()):
        return TerminalError("elicitation_declined", f"what mcp.{server} asked for was declined: {error.message}")
    try:
        named = ElicitationRequiredErrorData.model_validate(error.error.data)
    except ValidationError:
        return error
    return Asked([question(params, params.elicitation_id) for params in named.elicitations])


async def _check(connection: Connection, call: Call, tool: str, arguments: dict[str, Json]) -> None:
    """Raise when the server has no such tool or the arguments do not match it. A remembered list may be old,
    so it is read again before anything is refused."""
    problem = await _problem(connection.name, await connection.tools(call), tool, arguments)
    if problem is not None:
        problem = await _problem(connection.name, await connection.tools(call, refresh=True), tool, arguments)
    if problem is not None:
        raise problem


async def _problem(server: str, tools: dict[str, Tool], tool: str, arguments: dict[str, Json]) -> TerminalError | None:
    if tool not in tools:
        near = difflib.get_close_matches(tool, tools, 3) or sorted(tools)[:20]
        listed = ", ".join(f"'{name}'" for name in near) or "none"
        return TerminalError("not_found", f"mcp.{server} has no tool '{tool}'; there: {listed}")
    try:
        found = await check_arguments(tools[tool].input_schema, arguments)
    except Unusable:
        # Then the server itself refuses.
        return None
    if not found:
        return None
    listed = "; ".join(f"{problem.field or 'arguments'}: {problem.message}" for problem in found[:5])
    return TerminalError("invalid_arguments", f"the arguments do not match tool '{tool}' of mcp.{server}: {listed}")


async def _missing(connection: Connection, call: Call, config: McpConfig, error: MCPError) -> TerminalError | None:
    """What is wrong with the resource or prompt that was asked for, where that is why the server refused it: servers
    have no common way to say so."""
    if config.resource is not None and error.code in _NO_SUCH_RESOURCE:
        return TerminalError("not_found", f"mcp.{config.server} has no resource '{config.resource}': {error.message}")
    if config.prompt is None or call.status >= 400 or error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
        return None
    prompts = await connection.call(list_prompts, call)
    if config.prompt not in prompts:
        near = difflib.get_close_matches(config.prompt, prompts, 3) or sorted(prompts)[:20]
        listed = ", ".join(f"'{name}'" for name in near) or "none"
        return TerminalError("not_found", f"mcp.{config.server} has no prompt '{config.prompt}'; there: {listed}")
    wanted = prompts[config.prompt].arguments or []
    missing = [argument.name for argument in wanted if argument.required and argument.name not in config.arguments]
    if not missing:
        return None
    message = f"prompt '{config.prompt}' of mcp.{config.server} needs: {', '.join(missing)}"
    return TerminalError("invalid_arguments", message)


def _allowed(tool: str, server: McpServer) -> bool:
    return server.allow is None or any(fnmatch.fnmatchcase(tool, pattern) for pattern in server.allow)


def _output(result: Result, config: McpConfig) -> Json:
    if isinstance(result, ReadResourceResult):
        contents = [_plain(content) for content in result.contents]
        return {"text": "\n".join(content["text"] for content in contents if "text" in content), "content": contents}
    if isinstance(result, GetPromptResult):
        content, text = _blocks([message.content for message in result.messages])
        return {"text": text, "content": content, "messages": [_plain(message) for message in result.messages]}
    content, text = _blocks(result.content)
    if result.is_error:
        raise TerminalError(
            "mcp_tool_error",
            f"tool '{config.tool}' of mcp.{config.server} failed: {text[:1000] or 'it does not say why'}",
            data={"text": text[:10_000]},
        )
    if result.structured_content is not None:
        return result.structured_content
    return {"text": text, "content": content}


def _blocks(blocks: Any) -> tuple[list[dict[str, Json]], str]:
    content = [_plain(block) for block in blocks]
    return content, "\n".join(block["text"] for block in content if block.get("type") == "text")


def _plain(value: BaseModel) -> dict[str, Json]:
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bounded(output: Json, name: str, server: McpServer) -> Json:
    size = len(json.dumps(output, ensure_ascii=False).encode(errors="replace"))
    if size > server.max_result:
        raise too_large(name, server, str(size))
    return output
