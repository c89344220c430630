"""The mcp step against real MCP servers: a command on stdio, and one over HTTP, in processes that get killed."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.responses import PlainTextResponse, Response
from temporalio.testing import ActivityEnvironment
from tests.conftest import free_port
from tests.integration.steps.mcp_lab import COMMAND, SERVER, Call, HttpServer, bare, runs

from orchestrator.spec.acts.mcp import McpConfig, McpServer
from orchestrator.steps.context import StepContext

MakeContext = Callable[..., StepContext]
FLAGS = {"http": [], "handshake": ["--handshake"], "sse": ["--sse"]}


@pytest.fixture(params=["", "--handshake"])
async def http_mcp(request: pytest.FixtureRequest) -> AsyncIterator[HttpServer]:
    """A server that the test may kill."""
    server = HttpServer(*request.param.split())
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
def call(make_context: MakeContext) -> Call:
    return Call(make_context)


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, dict[str, Any]]]:
    """Entries of servers over HTTP that live as long as this module: of 2026, of the years before, and of the first
    year."""
    processes = {
        kind: subprocess.Popen([sys.executable, str(SERVER), "--http", "0", *flags], stdout=subprocess.PIPE)
        for kind, flags in FLAGS.items()
    }
    entries: dict[str, dict[str, Any]] = {}
    try:
        for kind, process in processes.items():
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            entries[kind] = {"url": f"{url}/sse", "transport": "sse"} if kind == "sse" else {"url": f"{url}/mcp"}
        yield entries
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


@pytest.fixture
def over_http(call: Call, served: dict[str, dict[str, Any]]) -> Call:
    call.entry = served["http"]
    return call


@pytest.fixture(params=[*FLAGS])
def remote(request: pytest.FixtureRequest, call: Call, served: dict[str, dict[str, Any]]) -> Call:
    """The same promises over HTTP of all years."""
    call.entry = served[request.param]
    return call


@pytest.fixture(params=["stdio", *FLAGS])
def either(request: pytest.FixtureRequest, call: Call, served: dict[str, dict[str, Any]]) -> Call:
    """The same promises over all transports."""
    call.entry = served.get(request.param, COMMAND)
    return call


async def test_structured_content_is_the_output(either: Call) -> None:
    assert await either("add", {"a": 2, "b": 3}) == {"total": 5}


async def test_without_structure_the_output_is_text_and_content(over_http: Call) -> None:
    assert await over_http("shout", {"text": "안녕 a"}) == {
        "text": "안녕 A",
        "content": [{"type": "text", "text": "안녕 A"}],
    }


async def test_resources_and_prompts_are_read(remote: Call) -> None:
    resource = await remote(resource="note://one")
    assert resource["text"] == "remember"
    assert resource["content"][0]["uri"] == "note://one"
    filled = await remote(resource="files://readme/text")
    assert filled["text"] == "the text of readme"
    binary = await remote(resource="image://one")
    assert (binary["text"], binary["content"][0]["mimeType"]) == ("", "image/png")
    assert base64.b64decode(binary["content"][0]["blob"]) == b"\x89PNG\x00"
    prompt = await remote(prompt="greet", arguments={"name": "Kim"})
    assert prompt["text"] == "Greet Kim."
    assert prompt["messages"][0]["role"] == "user"


@pytest.mark.parametrize(
    ("asked", "type_", "says"),
    [
        ({"resource": "note://none"}, "not_found", "note://none"),
        ({"prompt": "gret"}, "not_found", "'greet'"),
        ({"prompt": "greet"}, "invalid_arguments", "needs: name"),
    ],
)
async def test_what_a_server_does_not_have_is_named(remote: Call, asked: dict[str, str], type_: str, says: str) -> None:
    error = await remote.fails(**asked)
    assert (error.type, error.retryable) == (type_, False)
    assert says in error.message


async def test_a_tool_that_fails_is_a_terminal_error_with_its_words(over_http: Call) -> None:
    error = await over_http.fails("fail", {"why": "the printer is on fire"})
    assert (error.type, error.retryable) == ("mcp_tool_error", False)
    assert "the printer is on fire" in error.message


async def test_an_unknown_tool_names_the_nearest(over_http: Call) -> None:
    error = await over_http.fails("shuot", {"text": "a"})
    assert (error.type, error.retryable) == ("not_found", False)
    assert "'shout'" in error.message


async def test_arguments_are_checked_before_the_call(over_http: Call) -> None:
    error = await over_http.fails("add", {"a": 1, "b": "two"})
    assert (error.type, error.retryable) == ("invalid_arguments", False)
    assert "b:" in error.message
    assert "b" in (await over_http.fails("add", {"a": 1})).message


async def test_a_tool_that_is_not_allowed_is_never_called(call: Call) -> None:
    call.entry = bare(allow=["pid", "ec*"])
    assert (await call("echo", {"text": "a"}))["text"] == '{"text": "a"}'
    error = await call.fails("secret")
    assert (error.type, error.retryable) == ("not_allowed", False)
    assert "pid, ec*" in error.message


async def test_a_result_over_the_limit_is_refused_whole(call: Call) -> None:
    call.entry = bare(max_result=1000)
    error = await call.fails("huge", {"size": 2000})
    assert (error.type, error.retryable) == ("payload_too_large", False)
    assert "max_result" in error.message


async def test_a_result_far_over_the_limit_is_not_kept_and_the_next_call_works(remote: Call) -> None:
    error = await remote.fails("big", {"size": 6_000_000})
    assert (error.type, error.retryable) == ("payload_too_large", False)
    assert (await remote("shout", {"text": "a"}))["text"] == "A"


async def test_a_slow_tool_is_a_timeout_and_the_connection_lives_on(either: Call) -> None:
    either.entry = either.entry | {"timeout": "1s"}
    first = (await either("pid"))["text"]
    error = await either.fails("nap", {"seconds": 30})
    assert (error.type, error.retryable) == ("timeout", True)
    assert (await either("pid"))["text"] == first
    assert int((await either("cancelled"))["text"]) > 0


async def test_calls_share_one_connection_and_run_side_by_side(either: Call) -> None:
    loop = asyncio.get_running_loop()
    await either("pid")
    started = loop.time()
    naps = [either("nap", {"seconds": 1.0}) for _ in range(8)]
    pids = await asyncio.gather(*(either("pid") for _ in range(8)))
    assert {result["text"] for result in await asyncio.gather(*naps)} == {"rested"}
    assert len({result["text"] for result in pids}) == 1
    assert loop.time() - started < 6


async def test_a_killed_command_is_started_again_by_the_next_call(call: Call) -> None:
    call.entry = bare()
    first = int((await call("pid"))["text"])
    os.kill(first, signal.SIGKILL)
    while runs(first):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert int((await call("pid"))["text"]) != first


async def test_a_dead_http_server_is_a_network_error_and_no_cancellation_until_it_is_back(
    call: Call, http_mcp: HttpServer
) -> None:
    call.entry = http_mcp.entry
    first = (await call("pid"))["text"]
    await http_mcp.kill()
    for _ in range(2):
        error = await call.fails("pid")
        assert (error.type, error.retryable) == ("network_error", True)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    for _ in range(2):
        # The second time the connection of the server that is gone looks alive.
        await http_mcp.start()
        second = (await call("pid"))["text"]
        assert second != first
        first = second
        await http_mcp.kill()


@pytest.mark.parametrize("kind", ["stdio", *FLAGS])
async def test_a_server_that_dies_in_a_call_is_a_retryable_network_error(call: Call, kind: str) -> None:
    server = HttpServer(*FLAGS.get(kind, []))
    if kind in FLAGS:
        await server.start()
        call.entry = server.sse if kind == "sse" else server.entry
    error = await call.fails("die")
    await server.kill()
    assert (error.type, error.retryable) == ("network_error", True)


async def test_cancelling_the_attempt_cancels_the_call_alone(either: Call) -> None:
    first = (await either("pid"))["text"]
    attempt = asyncio.create_task(either("nap", {"seconds": 30}))
    await asyncio.sleep(0.3)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert (await either("pid"))["text"] == first


async def test_progress_becomes_heartbeat_details(remote: Call) -> None:
    seen: list[Any] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: seen.append(details[0])
    result = await environment.run(remote, "steps", {"count": 3})
    assert result["text"] == "done"
    assert {"progress": 3.0, "total": 3.0, "message": "step 3"} in seen


@pytest.mark.parametrize("kind", ["stdio", "http"])
async def test_a_server_without_sessions_says_that_its_tools_changed(
    call: Call, served: dict[str, dict[str, Any]], kind: str
) -> None:
    call.entry = served.get(kind, COMMAND)
    assert (await call("shape", {"a": 1}))["text"] == "1"
    await call("reshape")
    async with asyncio.timeout(15):
        # With the old list the server itself refuses, as mcp_tool_error.
        while (await call.fails("shape", {"a": 1})).type != "invalid_arguments":
            await asyncio.sleep(0.02)
    assert (await call("shape", {"b": 2}))["text"] == "2"


async def test_an_idle_connection_is_closed_and_opened_again(call: Call) -> None:
    call.entry = bare(idle="200ms")
    first = int((await call("pid"))["text"])
    async with asyncio.timeout(15):
        while runs(first):
            await asyncio.sleep(0.05)
    assert int((await call("pid"))["text"]) != first


async def test_a_command_that_does_not_exist_is_a_mistake_in_the_catalogue(call: Call) -> None:
    call.entry = {"command": "no-such-command-here"}
    error = await call.fails("add")
    assert (error.type, error.retryable) == ("invalid_config", False)
    assert "no-such-command-here" in error.message


async def test_a_command_that_ends_at_once_reports_its_last_words(call: Call) -> None:
    call.entry = {"command": sys.executable, "args": ["-c", "import sys; sys.exit('config file missing')"]}
    error = await call.fails("add")
    assert (error.type, error.retryable) == ("network_error", True)
    assert "config file missing" in error.message


async def test_a_command_gets_its_secrets_and_not_the_workers_environment(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-worker")
    call.secrets = {"TOKEN": "tok-123456"}
    call.entry = bare(env={"TOKEN": "{{ secrets.TOKEN }}"})
    assert (await call("variable", {"name": "TOKEN"}))["text"] == "tok-123456"
    assert (await call("variable", {"name": "ANTHROPIC_API_KEY"}))["text"] == ""


async def test_an_unreachable_url_is_a_network_error(call: Call) -> None:
    call.entry = {"url": f"http://127.0.0.1:{free_port()}/mcp"}
    error = await call.fails("add")
    assert (error.type, error.retryable) == ("network_error", True)


@pytest.mark.parametrize(
    ("status", "headers", "type_", "retryable", "wait"),
    [
        (401, {}, "http_401", False, None),
        (403, {}, "http_403", False, None),
        (429, {"retry-after": "7"}, "rate_limit_exceeded", True, 7),
        (503, {"retry-after": "3"}, "temporary_service_unavailable", True, 3),
        (500, {}, "http_500", False, None),
        (404, {}, "http_404", False, None),
    ],
)
async def test_the_http_status_is_recovered(
    call: Call, http_server: Any, status: int, headers: dict[str, str], type_: str, retryable: bool, wait: float
) -> None:
    def answer(request: Any) -> Response:
        return PlainTextResponse("no", status, headers)

    http_server.answer("/mcp", answer)
    call.entry = {"url": f"{http_server.url}/mcp", "headers": {"Authorization": "Bearer {{ secrets.KEY }}"}}
    call.secrets = {"KEY": "k-123456"}
    error = await call.fails("add", {"a": 1, "b": 2})
    assert (error.type, error.retryable, error.retry_after, error.status) == (type_, retryable, wait, status)
    assert http_server.requests[0].headers["authorization"] == "Bearer k-123456"


@pytest.mark.parametrize(
    ("model", "value", "says"),
    [
        (McpConfig, {"server": "s"}, "exactly one of 'tool', 'resource' and 'prompt'"),
        (McpConfig, {"server": "s", "tool": "t", "prompt": "p"}, "exactly one of 'tool'"),
        (McpConfig, {"server": "s", "resource": "r", "arguments": {"a": 1}}, "no 'arguments'"),
        (McpServer, {}, "exactly one of 'command' and 'url'"),
        (McpServer, {"command": "c", "url": "http://x"}, "exactly one of 'command'"),
        (McpServer, {"command": "c", "headers": {"a": "b"}}, "belong to a server with 'url'"),
        (McpServer, {"command": "c", "auth": {"token_file": "t.json"}}, "belong to a server with 'url'"),
        (McpServer, {"command": "c", "transport": "sse"}, "belong to a server with 'url'"),
        (McpServer, {"url": "http://x", "auth": {}}, "exactly one of 'client_credentials'"),
        (McpConfig, {"server": "s", "tool": "t", "elicit": {}}, "exactly one of `assignee` and `group`"),
        (McpServer, {"url": "http://x", "env": {"a": "b"}}, "belong to a server with 'command'"),
        (McpServer, {"url": "ftp://x"}, "match pattern"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(model: Any, value: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        model.model_validate(value)
