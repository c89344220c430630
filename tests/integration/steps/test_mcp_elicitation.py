"""What an MCP server asks in the middle of a call reaches the engine, and the answers reach the server: both eras, over
every transport."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integration.steps.mcp_lab import COMMAND, SERVER, Call, bare

from orchestrator.steps.context import StepContext

FLAGS = {"http": [], "handshake": ["--handshake"]}
KIM = {"assignee": "kim"}


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, dict[str, Any]]]:
    processes = {
        kind: subprocess.Popen([sys.executable, str(SERVER), "--http", "0", *flags], stdout=subprocess.PIPE)
        for kind, flags in FLAGS.items()
    }
    entries = {"stdio": COMMAND, "old stdio": bare()}
    try:
        for kind, process in processes.items():
            assert process.stdout is not None
            entries[kind] = {"url": f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"}
        yield entries
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


@pytest.fixture
def call(make_context: Callable[..., StepContext]) -> Call:
    return Call(make_context)


def answered(asked: dict[str, Any], *contents: dict[str, Any]) -> dict[str, Any]:
    """What the engine gives back when every question was answered."""
    ids = [request["id"] for request in asked["requests"]]
    responses = {name: {"action": "accept", "content": content} for name, content in zip(ids, contents, strict=True)}
    return {"state": asked["state"], "responses": responses}


@pytest.mark.parametrize("kind", ["http", "handshake", "stdio", "old stdio"])
async def test_a_question_is_asked_with_its_form_and_its_answer_given(
    call: Call, served: dict[str, dict[str, Any]], kind: str
) -> None:
    call.entry = served[kind]
    asked = await call.asks("book", {"film": "Parasite"}, elicit=KIM)
    [request] = asked["requests"]
    assert request["message"] == "How many seats?"
    assert request["schema"]["properties"]["seats"]["type"] == "integer"
    result = await call("book", {"film": "Parasite"}, elicit=KIM, answered=answered(asked, {"seats": 3}))
    assert result["text"] == "Parasite: 3"
    declined = {"state": asked["state"], "responses": {request["id"]: {"action": "decline", "content": None}}}
    assert (await call("book", {"film": "Parasite"}, elicit=KIM, answered=declined))["text"] == "Parasite: decline"


async def test_a_server_that_was_started_anew_meanwhile_gets_the_answer_all_the_same(
    call: Call, make_context: Callable[..., StepContext]
) -> None:
    asked = await call.asks("book", {"film": "Parasite"}, elicit=KIM)
    call.entry = {**COMMAND, "env": {"ANOTHER": "process"}}
    result = await call("book", {"film": "Parasite"}, elicit=KIM, answered=answered(asked, {"seats": 3}))
    assert result["text"] == "Parasite: 3"


async def test_what_was_answered_is_not_asked_again(call: Call, served: dict[str, dict[str, Any]]) -> None:
    call.entry = served["handshake"]
    first = await call.asks("ask_twice", {"film": "Oldboy"}, elicit=KIM)
    assert [request["message"] for request in first["requests"]] == ["How many seats for Oldboy?"]
    given = answered(first, {"seats": 2})
    second = await call.asks("ask_twice", {"film": "Oldboy"}, elicit=KIM, answered=given)
    assert [request["message"] for request in second["requests"]] == ["Popcorn?"]
    done = await call("ask_twice", {"film": "Oldboy"}, elicit=KIM, answered=answered(second, {"popcorn": True}))
    assert done["text"] == "2, True"


@pytest.mark.parametrize("kind", ["http", "handshake"])
async def test_a_step_that_names_nobody_fails_with_the_question_and_nothing_is_done(
    call: Call, served: dict[str, dict[str, Any]], kind: str
) -> None:
    call.entry = served[kind]
    before = (await call("booked"))["text"]
    error = await call.fails("book", {"film": "Mother"})
    assert (error.type, error.retryable) == ("elicitation_required", False)
    assert "How many seats?" in error.message
    assert "elicit" in error.message
    assert (await call("booked"))["text"] == before


async def test_questions_of_calls_side_by_side_are_told_apart(call: Call, served: dict[str, dict[str, Any]]) -> None:
    call.entry = served["handshake"]
    nap = call("nap", {"seconds": 0.5})
    error = await call.fails("ask_twice", {"film": "Burning"})
    assert "Burning" in error.message
    assert (await nap)["text"] == "rested"


async def test_answers_that_nobody_gave_so_are_refused(call: Call, served: dict[str, dict[str, Any]]) -> None:
    call.entry = served["http"]
    wrong = {"state": None, "responses": {"a": {"action": "perhaps"}}}
    error = await call.fails("book", {"film": "A"}, elicit=KIM, answered=wrong)
    assert (error.type, error.retryable) == ("invalid_config", False)
