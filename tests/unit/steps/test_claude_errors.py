"""Exceptions of the SDK and of the HTTP library under it, as step errors."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest

from orchestrator.errors import TerminalError
from orchestrator.steps.claude.errors import SDK_ERRORS, step_error

REQUEST = httpx2.Request("POST", "https://api.anthropic.com/v1/messages")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "type_", "says"),
    [
        (caused(anthropic.APITimeoutError(REQUEST), httpx2.ConnectTimeout("")), "network_error", "took the connection"),
        (caused(anthropic.APITimeoutError(REQUEST), httpx2.ReadTimeout("")), "timeout", "CLAUDE_SILENCE"),
        (httpx2.ReadTimeout(""), "timeout", "CLAUDE_SILENCE"),
        (httpx2.RemoteProtocolError("peer closed"), "network_error", "peer closed"),
        (httpx2.ReadError(""), "network_error", "ReadError"),
        (
            caused(anthropic.APIConnectionError(request=REQUEST), OSError("no route")),
            "network_error",
            "cannot be reached: no route",
        ),
        (json.JSONDecodeError("odd", "{", 1), "network_error", "not what the API promises"),
        (ValueError("x" * 10_000), "invalid_request", "cannot be made"),
    ],
)
def test_every_way_to_fail_has_its_type(error: Exception, type_: str, says: str) -> None:
    assert isinstance(error, SDK_ERRORS)
    made = step_error(error)
    assert made.type == type_
    assert says in made.message
    assert len(made.message) < 700
    assert isinstance(made, TerminalError) is (type_ == "invalid_request")
