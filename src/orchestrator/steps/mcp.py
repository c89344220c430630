"""The ``mcp`` step: call a tool of an MCP server, or read one of its resources or prompts."""

from __future__ import annotations

import difflib
import fnmatch
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mcp import Client, MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    REQUEST_TIMEOUT,
    CallToolResult,
    GetPromptResult,
    ReadResourceResult,
    Tool,
)
from pydantic import BaseModel, ValidationError

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.mcp import McpConfig, McpServer
from orchestrator.spec.inputs import check_json
from orchestrator.steps.context import StepContext
from orchestrator.steps.mcp_pool import Connection, HttpAnswer, McpPool, ServerGone
from orchestrator.steps.retry_after import retry_after

T = TypeVar("T")
Json = Any

TYPE = "mcp"
CONFIG = McpConfig

_BUSY = {502, 503, 504, 529}
_NO_SUCH_PAGE = "Not Found"
"""What the SDK says for a 404 whose body is not the protocol's."""
_LASTING = {INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND}


async def run(config: McpConfig, context: StepContext) -> Json:
    """Structured content where the server gives any, else ``{"text", "content"}``; a prompt adds
    ``messages``.

    Raises StepError ``network_error``, ``timeout``, ``rate_limit_exceeded``,
    ``temporary_service_unavailable``, ``mcp_protocol_error``; TerminalError ``mcp_tool_error`` (the tool
    says it failed), ``invalid_arguments``, ``not_found``, ``not_allowed``, ``http_<status>``,
    ``payload_too_large``, ``invalid_config``.
    """
    server = context.entry("mcp", config.server, McpServer)
    if config.tool is not None and not _allowed(config.tool, server):
        listed = ", ".join(server.allow or []) or "none"
        raise TerminalError("not_allowed", f"mcp.{config.server} allows {listed}; '{config.tool}' is not among them")

    pool = await pool_of(context)
    for last in (False, True):
        answer = HttpAnswer()
        try:
            return await _once(config, server, pool, answer)
        except ServerGone as gone:
            # A call that no server can have seen is repeated at once, on a new connection.
            if last or not gone.unsent:
                raise _unreachable(config.server, gone, answer) from gone
    raise AssertionError("two tries end in a result or an error")


async def pool_of(context: StepContext) -> McpPool:
    """The worker's connections."""

    async def opener() -> McpPool:
        return McpPool(context.settings.project_dir.resolve())

    return await context.resources.shared("mcp", opener)


async def list_tools(name: str, context: StepContext) -> list[Tool]:
    """The tools of server ``name`` that its ``allow`` admits, asked for anew, in the server's order. Raises as
    ``run``."""
    server = context.entry("mcp", name, McpServer)
    pool = await pool_of(context)
    for last in (False, True):
        answer = HttpAnswer()
        try:
            connection = await _connected(name, server, pool, answer)
            tools = await _tools(connection, answer, refresh=True)
            return [tool for tool in tools.values() if _allowed(tool.name, server)]
        except ServerGone as gone:
            if last or not gone.unsent:
                raise _unreachable(name, gone, answer) from gone
    raise AssertionError("two tries end in a result or an error")


async def _connected(name: str, server: McpServer, pool: McpPool, answer: HttpAnswer) -> Connection:
    try:
        return await pool.connection(name, server, answer)
    except TimeoutError:
        raise StepError("timeout", f"mcp.{name} did not answer within {server.timeout:g} s") from None


async def _tools(connection: Connection, answer: HttpAnswer, *, refresh: bool) -> dict[str, Tool]:
    try:
        return await connection.tools(answer, refresh=refresh)
    except MCPError as error:
        raise _protocol_error(connection.name, error, answer) from error


async def _once(config: McpConfig, server: McpServer, pool: McpPool, answer: HttpAnswer) -> Json:
    connection = await _connected(config.server, server, pool, answer)
    if config.resource is not None:
        uri = config.resource
        read = await _ask(connection, answer, lambda client: client.read_resource(uri))
        return _bounded(_resource(read), config, server)
    if config.prompt is not None:
        name, arguments = config.prompt, {key: _text(value) for key, value in config.arguments.items()}
        prompt = await _ask(connection, answer, lambda client: client.get_prompt(name, arguments))
        return _bounded(_prompt(prompt), config, server)
    tool = config.tool or ""
    await _check(connection, answer, tool, config.arguments)
    result = await _ask(connection, answer, lambda client: client.call_tool(tool, config.arguments))
    return _bounded(_tool(result, config), config, server)


async def _ask(connection: Connection, answer: HttpAnswer, use: Callable[[Client], Awaitable[T]]) -> T:
    answer.status, answer.headers, answer.in_session = 0, None, False
    try:
        return await connection.call(use, answer)
    except MCPError as error:
        raise _protocol_error(connection.name, error, answer) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise TerminalError(
            "mcp_protocol_error",
            f"mcp.{connection.name} answered what the protocol does not allow: {first['msg']}",
        ) from error


async def _check(connection: Connection, answer: HttpAnswer, tool: str, arguments: dict[str, Json]) -> None:
    """Raise when the server has no such tool or the arguments do not match it. A remembered list may be old,
    so it is read again before anything is refused."""
    problem = _problem(connection.name, await _tools(connection, answer, refresh=False), tool, arguments)
    if problem is not None:
        problem = _problem(connection.name, await _tools(connection, answer, refresh=True), tool, arguments)
    if problem is not None:
        raise problem


def _problem(server: str, tools: dict[str, Tool], tool: str, arguments: dict[str, Json]) -> TerminalError | None:
    if tool not in tools:
        near = difflib.get_close_matches(tool, tools, 3) or sorted(tools)[:20]
        listed = ", ".join(f"'{name}'" for name in near) or "none"
        return TerminalError("not_found", f"mcp.{server} has no tool '{tool}'; there: {listed}")
    try:
        found = check_json(tools[tool].input_schema, arguments)
    except ValueError:
        # A schema that cannot be used here, such as a pattern with look-around: then the server itself refuses.
        return None
    if not found:
        return None
    listed = "; ".join(f"{problem.field or 'arguments'}: {problem.message}" for problem in found[:5])
    return TerminalError("invalid_arguments", f"the arguments do not match tool '{tool}' of mcp.{server}: {listed}")


def _allowed(tool: str, server: McpServer) -> bool:
    return server.allow is None or any(fnmatch.fnmatchcase(tool, pattern) for pattern in server.allow)


def _tool(result: CallToolResult, config: McpConfig) -> Json:
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


def _resource(result: ReadResourceResult) -> Json:
    contents = [_plain(content) for content in result.contents]
    return {
        "text": "\n".join(content["text"] for content in contents if "text" in content),
        "content": contents,
    }


def _prompt(result: GetPromptResult) -> Json:
    content, text = _blocks([message.content for message in result.messages])
    return {"text": text, "content": content, "messages": [_plain(message) for message in result.messages]}


def _blocks(blocks: Any) -> tuple[list[dict[str, Json]], str]:
    content = [_plain(block) for block in blocks]
    return content, "\n".join(block["text"] for block in content if block.get("type") == "text")


def _plain(value: BaseModel) -> dict[str, Json]:
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bounded(output: Json, config: McpConfig, server: McpServer) -> Json:
    size = len(json.dumps(output, ensure_ascii=False).encode())
    if size > server.max_result:
        raise TerminalError(
            "payload_too_large",
            f"mcp.{config.server} returned {size} bytes; its max_result is {server.max_result}: ask for "
            "less, or raise max_result in orchestrator.yaml",
        )
    return output


def _protocol_error(server: str, error: MCPError, answer: HttpAnswer) -> StepError:
    """The step error for what the SDK raised; where HTTP said no, its status tells more than the protocol
    does."""
    if error.code == REQUEST_TIMEOUT:
        return StepError("timeout", f"mcp.{server} did not answer in time; raise its timeout in orchestrator.yaml")
    if error.code == CONNECTION_CLOSED:
        return StepError("network_error", f"mcp.{server} closed the connection")
    explained = answer.status in (400, 404) and error.code in _LASTING and error.message != _NO_SUCH_PAGE
    if answer.status >= 400 and not explained:
        return _http_error(server, answer)
    kind = TerminalError if error.code in _LASTING else StepError
    return kind("mcp_protocol_error", f"mcp.{server}: {error.message} ({error.code})", data={"code": error.code})


def _http_error(server: str, answer: HttpAnswer) -> StepError:
    status, wait = answer.status, retry_after(answer.headers or {})
    if status == 429:
        return StepError(
            "rate_limit_exceeded",
            f"mcp.{server} answered 429: too many calls",
            status=status,
            retry_after=wait,
        )
    if status in _BUSY:
        message = f"mcp.{server} answered {status}: it is not available now"
        return StepError("temporary_service_unavailable", message, status=status, retry_after=wait)
    hint = ": check its headers in orchestrator.yaml" if status in (401, 403) else ""
    return TerminalError(f"http_{status}", f"mcp.{server} answered {status}{hint}", status=status)


def _unreachable(server: str, gone: ServerGone, answer: HttpAnswer) -> StepError:
    cause = gone.cause
    if answer.status >= 400:
        return _http_error(server, answer)
    if isinstance(cause, FileNotFoundError | PermissionError | NotADirectoryError):
        return TerminalError("invalid_config", f"mcp.{server} cannot be started: {cause}")
    if isinstance(cause, MCPError) and cause.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
        return _protocol_error(server, cause, answer)
    said = f"; its last words: {gone.said}" if gone.said else ""
    reason = str(cause) if cause is not None and str(cause) else "it ended"
    return StepError("network_error", f"mcp.{server} cannot be reached: {reason}{said}")
