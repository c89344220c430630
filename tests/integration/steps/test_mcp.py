"""The mcp step against real MCP servers: a command on stdio, and one over HTTP, in processes that get killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.responses import PlainTextResponse, Response

from orchestrator.errors import StepError
from orchestrator.spec.acts.mcp import McpConfig, McpServer
from orchestrator.spec.project import Project
from orchestrator.steps import mcp as step
from orchestrator.steps.context import StepContext

MakeContext = Callable[..., StepContext]
SERVER = Path(__file__).with_name("mcp_server.py")
COMMAND: dict[str, Any] = {"command": sys.executable, "args": [str(SERVER)]}


class HttpServer:
    """The server as a process of its own, on a port that stays the same over restarts."""

    def __init__(self, *flags: str) -> None:
        self.port = 0
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None

    @property
    def entry(self) -> dict[str, Any]:
        return {"url": f"http://127.0.0.1:{self.port}/mcp"}

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SERVER), "--http", str(self.port), *self._flags), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        self.port = int(await asyncio.wait_for(self._process.stdout.readline(), 30))

    async def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


@pytest.fixture(params=["", "--handshake"])
async def http_mcp(request: pytest.FixtureRequest) -> AsyncIterator[HttpServer]:
    server = HttpServer(*request.param.split())
    await server.start()
    yield server
    await server.kill()


class Call:
    """Runs the step as the worker would, with one catalogue entry ``s``."""

    def __init__(self, make_context: MakeContext) -> None:
        self._make = make_context
        self.entry: dict[str, Any] = dict(COMMAND)
        self.secrets: dict[str, str] = {}

    async def __call__(self, tool: str | None = None, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
        config = {"server": "s", "tool": tool, "arguments": arguments or {}} | more
        given = {key: value for key, value in config.items() if value is not None}
        context = self._make(project=Project(mcp={"s": self.entry}), secrets=self.secrets)
        return await step.run(McpConfig.model_validate(given), context)

    async def fails(self, *given: Any, **more: Any) -> StepError:
        with pytest.raises(StepError) as caught:
            await self(*given, **more)
        return caught.value


@pytest.fixture
def call(make_context: MakeContext) -> Call:
    return Call(make_context)


@pytest.fixture(params=["stdio", "http", "handshake"])
async def either(request: pytest.FixtureRequest, call: Call) -> AsyncIterator[Call]:
    """The same promises over both transports, and for HTTP servers of both eras."""
    if request.param == "stdio":
        yield call
        return
    server = HttpServer(*(["--handshake"] if request.param == "handshake" else []))
    await server.start()
    call.entry = server.entry
    yield call
    await server.kill()


async def test_structured_content_is_the_output(either: Call) -> None:
    assert await either("add", {"a": 2, "b": 3}) == {"total": 5}


async def test_without_structure_the_output_is_text_and_content(either: Call) -> None:
    assert await either("shout", {"text": "안녕 a"}) == {
        "text": "안녕 A",
        "content": [{"type": "text", "text": "안녕 A"}],
    }


async def test_resources_and_prompts_are_read(either: Call) -> None:
    resource = await either(resource="note://one")
    assert resource["text"] == "remember"
    assert resource["content"][0]["uri"] == "note://one"
    prompt = await either(prompt="greet", arguments={"name": "Kim"})
    assert prompt["text"] == "Greet Kim."
    assert prompt["messages"][0]["role"] == "user"


async def test_a_tool_that_fails_is_a_terminal_error_with_its_words(either: Call) -> None:
    error = await either.fails("fail", {"why": "the printer is on fire"})
    assert (error.type, error.retryable) == ("mcp_tool_error", False)
    assert "the printer is on fire" in error.message


async def test_an_unknown_tool_names_the_nearest(either: Call) -> None:
    error = await either.fails("shuot", {"text": "a"})
    assert (error.type, error.retryable) == ("not_found", False)
    assert "'shout'" in error.message


async def test_arguments_are_checked_before_the_call(either: Call) -> None:
    error = await either.fails("add", {"a": 1, "b": "two"})
    assert (error.type, error.retryable) == ("invalid_arguments", False)
    assert "b:" in error.message
    assert "b" in (await either.fails("add", {"a": 1})).message


async def test_a_tool_that_is_not_allowed_is_never_called(call: Call) -> None:
    call.entry = COMMAND | {"allow": ["add", "sh*"]}
    assert (await call("shout", {"text": "a"}))["text"] == "A"
    error = await call.fails("die")
    assert (error.type, error.retryable) == ("not_allowed", False)
    assert "add, sh*" in error.message


async def test_a_result_over_the_limit_is_refused_whole(call: Call) -> None:
    call.entry = COMMAND | {"max_result": 1000}
    error = await call.fails("big", {"size": 2000})
    assert (error.type, error.retryable) == ("payload_too_large", False)
    assert "max_result" in error.message


async def test_a_slow_tool_is_a_timeout_and_the_connection_lives_on(either: Call) -> None:
    either.entry = either.entry | {"timeout": "2s"}
    first = (await either("pid"))["text"]
    error = await either.fails("nap", {"seconds": 30})
    assert (error.type, error.retryable) == ("timeout", True)
    assert (await either("pid"))["text"] == first


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
    first = int((await call("pid"))["text"])
    os.kill(first, signal.SIGKILL)
    while _runs(first):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert int((await call("pid"))["text"]) != first


async def test_a_restarted_http_server_is_connected_again_by_the_next_call(call: Call, http_mcp: HttpServer) -> None:
    call.entry = http_mcp.entry
    first = (await call("pid"))["text"]
    await http_mcp.kill()
    await http_mcp.start()
    assert (await call("pid"))["text"] != first


async def test_a_dead_http_server_is_a_network_error_and_no_cancellation(call: Call, http_mcp: HttpServer) -> None:
    call.entry = http_mcp.entry
    await call("pid")
    await http_mcp.kill()
    for _ in range(2):
        error = await call.fails("pid")
        assert (error.type, error.retryable) == ("network_error", True)
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    await http_mcp.start()
    assert (await call("pid"))["text"]


async def test_a_server_that_dies_in_a_call_is_a_retryable_network_error(either: Call) -> None:
    error = await either.fails("die")
    assert (error.type, error.retryable) == ("network_error", True)


async def test_cancelling_the_attempt_cancels_the_call_alone(either: Call) -> None:
    first = (await either("pid"))["text"]
    attempt = asyncio.create_task(either("nap", {"seconds": 30}))
    await asyncio.sleep(0.3)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert (await either("pid"))["text"] == first


async def test_an_idle_connection_is_closed_and_opened_again(call: Call) -> None:
    call.entry = COMMAND | {"idle": "200ms"}
    first = int((await call("pid"))["text"])
    async with asyncio.timeout(15):
        while _runs(first):
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


async def test_a_command_that_never_speaks_is_a_timeout(call: Call) -> None:
    call.entry = {"command": sys.executable, "args": ["-c", "import time; time.sleep(60)"], "timeout": 1}
    error = await call.fails("add")
    assert (error.type, error.retryable) == ("timeout", True)


async def test_a_command_gets_its_secrets_and_not_the_workers_environment(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-worker")
    call.secrets = {"TOKEN": "tok-123456"}
    call.entry = COMMAND | {"env": {"TOKEN": "{{ secrets.TOKEN }}"}}
    assert (await call("variable", {"name": "TOKEN"}))["text"] == "tok-123456"
    assert (await call("variable", {"name": "ANTHROPIC_API_KEY"}))["text"] == ""


async def test_an_unreachable_url_is_a_network_error(call: Call, http_mcp: HttpServer) -> None:
    call.entry = http_mcp.entry
    await http_mcp.kill()
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
        (McpServer, {"command": "c", "headers": {"a": "b"}}, "'headers' belong"),
        (McpServer, {"url": "http://x", "env": {"a": "b"}}, "belong to a server with 'command'"),
        (McpServer, {"url": "ftp://x"}, "match pattern"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(model: Any, value: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        model.model_validate(value)


def _runs(process: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
