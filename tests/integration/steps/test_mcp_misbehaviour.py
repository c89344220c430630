"""The mcp step against servers that no decent person would write."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.steps.mcp_lab import Call, bare, runs

from orchestrator.steps.context import StepContext
from orchestrator.steps.mcp import pool as mcp_pool
from orchestrator.steps.mcp import step

MANY = 50_000_000


@pytest.fixture
def call(make_context: Callable[..., StepContext]) -> Call:
    made = Call(make_context)
    made.entry = bare()
    return made


def peak() -> int:
    """Bytes this process had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("tool", ["huge", "huge_last"])
async def test_fifty_megabytes_of_output_are_refused_without_keeping_them(call: Call, tool: str) -> None:
    await call("echo")
    before = peak()
    error = await call.fails(tool, {"size": MANY})
    assert (error.type, error.retryable) == ("payload_too_large", False)
    assert "max_result" in error.message
    assert peak() - before < 40_000_000
    assert (await call("echo", {"a": 1}))["text"] == '{"a": 1}'


async def test_an_endless_line_that_answers_nobody_ends_the_connection(call: Call) -> None:
    error = await call.fails("no_id", {"size": MANY})
    assert (error.type, error.retryable) == ("payload_too_large", False)
    assert (await call("echo"))["text"] == "{}"


async def test_what_is_no_message_on_stdout_is_ignored(call: Call) -> None:
    call.entry = bare("greeting=Server is running on stdio")
    assert (await call("noise"))["text"] == "{}"


@pytest.mark.parametrize("given", [["babble=1"], []])
async def test_a_server_that_floods_stdout_does_not_speak_mcp(call: Call, given: list[str]) -> None:
    call.entry = bare(*given)
    error = await call.fails("flood")
    assert (error.type, error.retryable) == ("mcp_protocol_error", False)
    assert "no messages" in error.message


@pytest.mark.parametrize("tool", ["sloppy", "broken"])
async def test_an_answer_that_is_not_the_protocols_is_an_error_and_the_connection_lives_on(
    call: Call, tool: str
) -> None:
    error = await call.fails(tool)
    assert error.type == "mcp_protocol_error"
    assert (await call("echo"))["text"] == "{}"


async def test_a_server_that_says_nothing_is_given_up_when_its_time_to_connect_is_over(call: Call) -> None:
    call.entry = {"command": sys.executable, "args": ["-S", "-c", "import time; time.sleep(60)"], "connect_timeout": 1}
    started = time.monotonic()
    error = await call.fails("echo")
    assert (error.type, error.retryable) == ("timeout", True)
    assert time.monotonic() - started < 10


async def test_a_call_has_its_own_time_whatever_connecting_may_take(call: Call) -> None:
    call.entry = bare(timeout="500ms", connect_timeout="30s")
    await call("echo")
    error = await call.fails("hang")
    assert (error.type, error.retryable) == ("timeout", True)
    assert "0.5 s" in error.message


async def test_a_secret_in_the_last_words_of_a_server_is_masked_in_the_error_of_the_step(call: Call) -> None:
    call.secrets = {"TOKEN": "tok-9876543"}
    call.entry = bare(env={"TOKEN": "{{ secrets.TOKEN }}"})
    error = await call.fails("secret")
    assert call.last is not None
    assert call.last.secrets.mask_text(error.message).endswith("cannot sign in with ***")


async def test_every_page_of_a_long_list_of_tools_is_read_and_remembered(call: Call, tmp_path: Path) -> None:
    tools = [{"name": f"tool-{number}", "inputSchema": {}} for number in range(25)]
    log = tmp_path / "lists"
    call.entry = bare(f"tools={json.dumps(tools)}", "pages=10", f"log={log}")
    assert len(await step.list_tools("s", call.context())) == 25
    await call("tool-24")
    await call("tool-3")
    assert log.read_text() == "3"


async def test_the_list_of_tools_is_read_again_when_the_server_says_that_it_changed(call: Call, tmp_path: Path) -> None:
    log = tmp_path / "lists"
    call.entry = bare(f"log={log}")
    await call("echo")
    await call("echo")
    assert log.read_text() == "1"
    await call("grow")
    async with asyncio.timeout(15):
        while log.read_text() == "1":
            await call("echo")
    await call("grown")
    assert log.read_text() == "2"


async def test_servers_are_offered_questions_and_nothing_else(call: Call) -> None:
    assert (await call("offered"))["text"] == "elicitation"


async def test_allow_narrows_what_is_listed(call: Call) -> None:
    call.entry = bare(allow=["h*", "echo"])
    assert [tool.name for tool in await step.list_tools("s", call.context())] == ["echo", "huge", "huge_last", "hang"]


def schema(**properties: Any) -> str:
    return "tools=" + json.dumps([{"name": "t", "inputSchema": {"type": "object", "properties": properties}}])


TREE = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/properties/tree"}}}}


@pytest.mark.parametrize(
    ("properties", "good", "bad", "says"),
    [
        ({"a": {"type": ["string", "null"]}}, {"a": None}, {"a": 1}, "a: must be text or null"),
        ({"a": {"anyOf": [{"type": "integer"}, {"enum": ["all"]}]}}, {"a": "all"}, {"a": "some"}, "a:"),
        ({"a": {"$ref": "#/properties/b"}, "b": {"type": "integer"}}, {"a": 1}, {"a": "1"}, "a: must be a whole"),
        ({"tree": TREE}, {"tree": {"kids": [{"kids": []}]}}, {"tree": {"kids": [{"kids": 1}]}}, "tree.kids[0].kids"),
        ({"a": {"pattern": "^[a-z]+$"}}, {"a": "abc"}, {"a": "a1"}, "a: must match"),
    ],
    ids=["type list", "anyOf", "$ref", "recursive", "pattern"],
)
async def test_arguments_are_held_to_the_schemas_that_servers_write(
    call: Call, properties: Any, good: Any, bad: Any, says: str
) -> None:
    call.entry = bare(schema(**properties))
    await call("t", good)
    error = await call.fails("t", bad)
    assert (error.type, error.retryable) == ("invalid_arguments", False)
    assert says in error.message


DOUBLING = {f"d{n}": {"anyOf": [{"$ref": f"#/properties/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {"type": "null"}}


@pytest.mark.parametrize(
    "properties",
    [
        {"a": {"type": "stirng"}},
        {"a": {"$ref": "#/nowhere"}},
        {"a": {"$ref": "#/properties/a"}},
        {"a": {"$ref": "#/properties/d0"}, **DOUBLING},
        {"a": {"pattern": "(?<=x)y"}},
        {"a": {"description": "x" * 120_000}},
    ],
    ids=["no schema", "dangling", "endless", "doubling", "look-behind", "very long"],
)
async def test_with_a_schema_that_is_of_no_use_the_server_decides(call: Call, properties: Any) -> None:
    call.entry = bare(schema(**properties))
    started = time.monotonic()
    assert (await call("t", {"a": "value"}))["text"] == '{"a": "value"}'
    assert time.monotonic() - started < 10


async def test_nothing_is_fetched_for_a_schema_that_refers_to_somewhere_else(call: Call, http_server: Any) -> None:
    call.entry = bare(schema(a={"$ref": f"{http_server.url}/schema.json"}))
    assert (await call("t", {"a": 1}))["text"] == '{"a": 1}'
    assert http_server.requests == []


async def test_a_pattern_that_would_take_for_ever_takes_no_time(call: Call) -> None:
    call.entry = bare(schema(a={"pattern": "^(a+)+$"}))
    started = time.monotonic()
    error = await call.fails("t", {"a": "a" * 60 + "b"})
    assert error.type == "invalid_arguments"
    assert time.monotonic() - started < 10


async def test_a_place_the_user_must_visit_is_asked_and_the_call_made_again(call: Call, tmp_path: Path) -> None:
    visited = tmp_path / "visited"
    arguments = {"done": str(visited)}
    error = await call.fails("link", arguments)
    assert error.type == "elicitation_required"
    assert "https://example.com/in" in error.message
    asked = await call.asks("link", arguments, elicit={"assignee": "kim"})
    assert asked["requests"][0]["id"] == "e1"
    declined = {"state": asked["state"], "responses": {"e1": {"action": "decline"}}}
    error = await call.fails("link", arguments, elicit={"assignee": "kim"}, answered=declined)
    assert (error.type, error.retryable) == ("elicitation_declined", False)
    visited.touch()
    accepted = {"state": asked["state"], "responses": {"e1": {"action": "accept", "content": {}}}}
    done = await call("link", arguments, elicit={"assignee": "kim"}, answered=accepted)
    assert json.loads(done["text"]) == arguments


async def test_a_server_that_is_not_shared_is_one_of_each_run(call: Call) -> None:
    call.entry = bare(shared=False)
    await call("grow", run="one")
    await call("grown", run="one")
    assert (await call.fails("grown", run="two")).type == "not_found"


async def test_of_many_runs_with_servers_of_their_own_the_longest_unused_goes(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_pool, "_MOST_OPEN", 2)
    call.entry = bare(shared=False)
    pids = {run: int((await call("pid", run=run))["text"]) for run in "abcd"}
    async with asyncio.timeout(15):
        while runs(pids["a"]) or runs(pids["b"]):
            await asyncio.sleep(0.02)
    assert [int((await call("pid", run=run))["text"]) for run in "cd"] == [pids["c"], pids["d"]]
