"""What went wrong with an MCP server, as the errors of a step."""

from __future__ import annotations

import ssl

import httpx2
from mcp import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    REQUEST_TIMEOUT,
)
from pydantic import ValidationError

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.mcp import McpServer
from orchestrator.steps.mcp.call import Call, ServerGone, SignInFailed, TooLarge
from orchestrator.steps.mcp.http import Compressed
from orchestrator.steps.mcp.stdio import Babble
from orchestrator.steps.retry_after import retry_after

_BUSY = {502, 503, 504, 529}
_NO_SUCH_PAGE = "Not Found"
"""What the SDK says for a 404 whose body is not the protocol's."""
_LASTING = {INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND}
_SHOWN = 500
"""Characters of a server's words in a message."""


FAILURES = (
    TooLarge,
    SignInFailed,
    TimeoutError,
    MCPError,
    httpx2.HTTPStatusError,
    ValidationError,
    RuntimeError,
    ValueError,
)
"""What a call may raise beside ServerGone and errors of the step."""


def typed(name: str, server: McpServer, error: Exception, call: Call) -> StepError:
    """The step error for whatever a call of server ``name`` raised."""
    if isinstance(error, ServerGone):
        return _gone(name, server, error, call)
    if isinstance(error, TooLarge):
        return too_large(name, server, f"more than {error.limit}")
    if isinstance(error, SignInFailed):
        return _not_signed_in(name, error)
    if isinstance(error, TimeoutError):
        message = f"mcp.{name} did not answer within {server.timeout:g} s; raise its timeout in orchestrator.yaml"
        return StepError("timeout", message)
    if isinstance(error, httpx2.HTTPStatusError):
        return _http_error(name, call)
    if isinstance(error, MCPError):
        return _protocol_error(name, error, call)
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{first['msg']} (at {where})" if where else first["msg"]
        return TerminalError("mcp_protocol_error", f"mcp.{name} answered what the protocol does not allow: {said}")
    # The SDK raises RuntimeError for versions it does not speak, and ValueError for what cannot be sent.
    return TerminalError("mcp_protocol_error", f"mcp.{name}: {str(error)[:_SHOWN] or type(error).__name__}")


def too_large(name: str, server: McpServer, size: str) -> TerminalError:
    """``size`` bytes came back, which is more than the entry of the server allows."""
    return TerminalError(
        "payload_too_large",
        f"mcp.{name} returned {size} bytes; its max_result is {server.max_result}: ask for less, or raise max_result "
        "in orchestrator.yaml",
    )


def _protocol_error(name: str, error: MCPError, call: Call) -> StepError:
    """Where HTTP said no, its status tells more than the protocol does."""
    if error.code == REQUEST_TIMEOUT:
        return StepError("timeout", f"mcp.{name} did not answer in time")
    if error.code == CONNECTION_CLOSED:
        return StepError("network_error", f"mcp.{name} closed the connection")
    explained = call.status in (400, 404) and error.code in _LASTING and error.message != _NO_SUCH_PAGE
    if call.status >= 400 and not explained:
        return _http_error(name, call)
    kind = TerminalError if error.code in _LASTING else StepError
    # The SDK quotes what it could not read, which is of no use and of any size.
    said = "the answer is no JSON-RPC message" if error.code == PARSE_ERROR else error.message[:_SHOWN]
    return kind("mcp_protocol_error", f"mcp.{name}: {said} ({error.code})", data={"code": error.code})


def _http_error(name: str, call: Call) -> StepError:
    status, wait = call.status, retry_after(call.headers or {})
    if status == 429:
        message = f"mcp.{name} answered 429: too many calls"
        return StepError("rate_limit_exceeded", message, status=status, retry_after=wait)
    if status in _BUSY:
        message = f"mcp.{name} answered {status}: it is not available now"
        return StepError("temporary_service_unavailable", message, status=status, retry_after=wait)
    hint = ": check its headers and auth in orchestrator.yaml" if status in (401, 403) else ""
    return TerminalError(f"http_{status}", f"mcp.{name} answered {status}{hint}", status=status)


def _not_signed_in(name: str, error: SignInFailed) -> StepError:
    if error.passing:
        return StepError("temporary_service_unavailable", f"signing in to mcp.{name} is not possible now: {error}")
    return TerminalError("sign_in_failed", f"signing in to mcp.{name} failed: {error}")


def _gone(name: str, server: McpServer, gone: ServerGone, call: Call) -> StepError:
    cause = gone.cause
    said = f"; its last words: {gone.said}" if gone.said else ""
    if isinstance(cause, TooLarge | SignInFailed):
        return typed(name, server, cause, call)
    if call.status >= 400:
        return _http_error(name, call)
    if isinstance(cause, TimeoutError):
        return StepError("timeout", f"mcp.{name} said nothing within {server.connect_timeout:g} s{said}")
    if isinstance(cause, FileNotFoundError | PermissionError | NotADirectoryError):
        where = f" in {server.cwd}" if server.cwd else ""
        reason = f"'{server.command}'{where}: {cause.strerror or cause}"
        return TerminalError("invalid_config", f"mcp.{name} cannot be started: {reason}")
    if isinstance(cause, Babble | Compressed):
        return TerminalError("mcp_protocol_error", f"mcp.{name} does not speak MCP: {cause}{said}")
    if isinstance(cause, ValidationError | RuntimeError | ValueError) and not isinstance(cause, ssl.SSLError):
        return typed(name, server, cause, call)
    if isinstance(cause, MCPError) and cause.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
        return _protocol_error(name, cause, call)
    reason = str(cause)[:_SHOWN] if cause is not None and str(cause) else "it ended"
    return StepError("network_error", f"mcp.{name} cannot be reached: {reason}{said}")
