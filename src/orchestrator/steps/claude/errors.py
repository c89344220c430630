"""What the anthropic SDK raises, as step errors. Nothing else of the SDK's leaves the claude step."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.models import advice_on
from orchestrator.steps.context import StepContext
from orchestrator.steps.retry_after import retry_after

_RETRYABLE = {408, 409, 429}
_BUSY = {502, 503, 504, 529}
_TRANSIENT = {"overloaded_error", "rate_limit_error", "api_error", "timeout_error"}
_HINTS = {
    401: "check ANTHROPIC_API_KEY",
    403: "this key may not do that",
    404: "check 'model' and ANTHROPIC_BASE_URL",
    413: "send less text",
}

_SHORTEST_KEY = 8
"""Characters; shorter ones, such as a stand-in takes, are parts of words."""
_LONGEST = 500
"""Characters of what another side said that a message repeats."""

SDK_ERRORS = (anthropic.AnthropicError, httpx2.HTTPError, json.JSONDecodeError, TypeError, ValueError)
"""Everything a call of the SDK is known to raise."""


def failure_of(error: Exception, request: dict[str, Any], context: StepContext) -> StepError:
    """``step_error`` for one request, without the key: a gateway between may repeat what it was sent."""
    made = step_error(error, str(request["model"]))
    key = context.settings.anthropic_api_key
    if key and len(key) >= _SHORTEST_KEY:
        made.message = made.message.replace(key, "***")
        made.args = (made.message,)
    return made


def step_error(error: Exception, model: str = "") -> StepError:
    """The step error for an exception of ``SDK_ERRORS``: TerminalError where trying again cannot help. ``model`` is the
    one that was asked, for the advice in a message."""
    if isinstance(error, anthropic.APIStatusError):
        return _status_error(error, model)
    if isinstance(error.__cause__, httpx2.ConnectTimeout):
        return StepError("network_error", "the Claude API cannot be reached: nobody took the connection in time")
    if isinstance(error, anthropic.APITimeoutError | httpx2.TimeoutException):
        return StepError("timeout", "nothing was heard from Claude for longer than ORCHESTRATOR_CLAUDE_SILENCE allows")
    if isinstance(error, httpx2.HTTPError):
        # Inside a stream the SDK lets the HTTP library's own errors through.
        return StepError("network_error", f"the connection to Claude broke: {brief(error)}")
    if isinstance(error, anthropic.APIConnectionError):
        return StepError("network_error", f"the Claude API cannot be reached: {brief(error.__cause__ or error)}")
    if isinstance(error, json.JSONDecodeError | anthropic.APIResponseValidationError):
        return StepError("network_error", f"the Claude API's answer was not what the API promises: {brief(error)}")
    return TerminalError("invalid_request", f"the request to Claude cannot be made: {brief(error)}")


def brief(said: object) -> str:
    """What went wrong in at most a few lines: a gateway's page or half an answer may be megabytes."""
    text = str(said) or type(said).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _status_error(error: anthropic.APIStatusError, model: str) -> StepError:
    status = error.status_code
    code = error.error_code or ""
    asked = error.response.headers.get("x-should-retry")
    spend_limit = code.endswith("spend_limit_reached")
    # An error inside a stream arrives with status 200: only its type tells.
    transient = status in _RETRYABLE or status >= 500 or (status == 200 and error.type in _TRANSIENT)
    retryable = asked == "true" or (asked != "false" and transient and not spend_limit)
    kind = StepError if retryable else TerminalError
    advice = advice_on(model) if status == 404 else None
    hint = f" ({advice or _HINTS[status]})" if status in _HINTS else ""
    data: dict[str, Any] = {
        "error_type": error.type,
        "error_code": error.error_code,
        "request_id": error.request_id,
    }
    return kind(
        _type(error, code if spend_limit else ""),
        f"Claude answered {status} {error.type or ''}: {brief(error.api_message or error.message)}{hint}",
        status=status if status >= 400 else None,
        retry_after=retry_after({name.lower(): value for name, value in error.response.headers.items()}),
        data={name: value for name, value in data.items() if value is not None},
    )


def _type(error: anthropic.APIStatusError, spend_limit: str) -> str:
    """The type authors filter by: the built-in ones first, else what the API calls it."""
    if spend_limit:
        return spend_limit
    if error.status_code == 429 or error.type == "rate_limit_error":
        return "rate_limit_exceeded"
    if error.status_code in _BUSY or error.type == "overloaded_error":
        return "temporary_service_unavailable"
    return error.error_code or error.type or f"http_{error.status_code}"
