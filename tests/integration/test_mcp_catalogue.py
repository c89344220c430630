"""Real third-party MCP servers from npm and PyPI, started by the pool and called by the mcp step: those of the catalogue
with its own arguments, each package in an environment of its own and in exactly the version the catalogue names."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import HTMLResponse, Response
from tests.conftest import free_port
from tests.integration.steps.conftest import MakeContext, Received, RecordingServer, http_server, make_context

from orchestrator.catalogue import ready_entries
from orchestrator.errors import StepError
from orchestrator.spec.acts.mcp import McpConfig
from orchestrator.spec.project import Project
from orchestrator.steps.mcp import step

pytestmark = pytest.mark.timeout(240)
__all__ = ["http_server", "make_context"]

READY = ready_entries("mcp")
PACKAGES = [ready.package for ready in READY.values() if ready.package]
NPM = [package.removeprefix("npm:") for package in PACKAGES if package.startswith("npm:")]
PYPI = [package.removeprefix("pypi:") for package in PACKAGES if package.startswith("pypi:")]
OLD = "mcp-server-sqlite==2025.4.25"
"""No longer maintained, and not in the catalogue: what servers of the first SDK speak, people still run."""
BESIDE = {OLD: ["mcp==1.30.0"]}
REACHED_BY = ("HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
"""How this machine reaches the registries, where that is not plainly: a command gets none of it by itself."""
AS_OF = "2026-11-20"
"""What the packages themselves need is taken as it was on this day."""


def uv(*arguments: str | Path) -> None:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, "uv is one of the dev requirements"
    _run([found, *map(str, arguments)])


class Offline(Exception):
    """A registry cannot be reached: then there is nothing here to be tested."""


_PATIENCE = 120
_OFFLINE = (
    "econnrefused",
    "enotfound",
    "etimedout",
    "eai_again",
    "error sending request",
    "dns error",
    "network is",
    "certificate",
)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise Offline(f"{command[0]} did not get everything within {_PATIENCE} s") from error
    said = f"{done.stdout}\n{done.stderr}"
    if done.returncode != 0 and any(word in said.lower() for word in _OFFLINE):
        raise Offline(said)
    assert done.returncode == 0, f"{command}: {said}"


def _python_package(folder: Path, package: str) -> None:
    name = package.partition("==")[0]
    uv("venv", "--quiet", "--python", sys.executable, folder / name)
    python = folder / name / "bin" / "python"
    newest = f"{AS_OF}T00:00:00Z"
    uv("pip", "install", "--quiet", "--python", python, "--exclude-newer", newest, package, *BESIDE.get(package, []))


def _node_packages(folder: Path) -> None:
    _run(
        [
            "npm",
            "install",
            "--fetch-retries",
            "1",
            "--fetch-timeout",
            "20000",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
            "--before",
            AS_OF,
            *NPM,
        ]
    )


@dataclass(frozen=True)
class Installed:
    """Where the packages are."""

    folder: Path

    def entry(self, name: str, *arguments: str, **changes: Any) -> dict[str, Any]:
        """The catalogue's entry, started from what is installed here instead of downloaded at every start."""
        given = READY[name].entry
        if given["command"] == "uvx":
            command = self.python_command(given["args"][0])
            kept = given["args"][1:]
        else:
            package = given["args"][1].rpartition("@")[0]
            command = self.node_command(package)
            kept = given["args"][2:]
        return {"use": name, "command": command, "args": [*(arguments or kept)]} | changes

    def python_command(self, package: str) -> str:
        name = package.partition("==")[0]
        return str(self.folder / name / "bin" / name)

    def node_command(self, package: str) -> str:
        return str(self.folder / "node_modules" / ".bin" / package.partition("/")[2].replace("server-", "mcp-server-"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """All packages, installed at the same time from the caches of uv and npm, or from the registries."""
    if shutil.which("npx") is None:
        pytest.skip("there is no npx here: Node servers cannot be started")
    folder = tmp_path_factory.mktemp("servers")
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(_node_packages, folder)]
        jobs += [pool.submit(_python_package, folder, package) for package in [*PYPI, OLD]]
        try:
            for job in jobs:
                job.result()
        except Offline as error:
            pytest.skip(f"the registry of third-party servers cannot be reached: {error}")
    return Installed(folder)


class Call:
    """Calls tools as a worker would, in the test's folder as the project."""

    def __init__(self, make_context: MakeContext) -> None:
        self._make = make_context

    async def __call__(
        self, entry: dict[str, Any], tool: str, secrets: dict[str, str] | None = None, /, **arguments: Any
    ) -> Any:
        context = self._make(project=Project(mcp={"s": entry}), secrets=secrets or {})
        return await step.run(McpConfig(server="s", tool=tool, arguments=arguments), context)

    async def tools(self, entry: dict[str, Any]) -> list[str]:
        """Every tool the server has, whatever the entry allows."""
        context = self._make(project=Project(mcp={"s": entry | {"allow": None}}))
        return [tool.name for tool in await step.list_tools("s", context)]


@pytest.fixture
def call(make_context: MakeContext) -> Call:
    return Call(make_context)


async def every_allowed_tool_exists(call: Call, entry: dict[str, Any], name: str) -> None:
    tools = await call.tools(entry)
    for pattern in READY[name].entry["allow"]:
        assert fnmatch.filter(tools, pattern), f"{name} has no tool like {pattern}: {tools}"


async def test_everything(installed: Installed, call: Call) -> None:
    entry = installed.entry("everything")
    assert (await call(entry, "get-sum", a=2, b=3))["text"] == "The sum of 2 and 3 is 5."
    weather = await call(entry, "get-structured-content", location="New York")
    assert set(weather) == {"temperature", "conditions", "humidity"}
    with pytest.raises(StepError) as caught:
        await call(entry, "get-sum", a=2, b="three")
    assert caught.value.type == "invalid_arguments"
    await every_allowed_tool_exists(call, entry, "everything")


async def test_filesystem_reads_the_project_and_nothing_beside_it(
    installed: Installed, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("안녕", encoding="utf-8")
    entry = installed.entry("filesystem")
    assert (await call(entry, "read_text_file", path="note.txt"))["content"] == "안녕"
    for tool, arguments, kind in (
        ("read_text_file", {"path": "/etc/hostname"}, "mcp_tool_error"),
        ("write_file", {"path": "note.txt", "content": "x"}, "not_allowed"),
    ):
        with pytest.raises(StepError) as caught:
            await call(entry, tool, **arguments)
        assert caught.value.type == kind
    await every_allowed_tool_exists(call, entry, "filesystem")


async def test_memory_keeps_what_it_is_told_in_the_project(installed: Installed, call: Call, tmp_path: Path) -> None:
    entry = installed.entry("memory", env={"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")})
    ada = {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}
    assert await call(entry, "create_entities", entities=[ada]) == {"entities": [ada]}
    assert (await call(entry, "search_nodes", query="first program"))["entities"] == [ada]
    assert (tmp_path / "memory.jsonl").exists()
    await every_allowed_tool_exists(call, entry, "memory")


async def test_sequential_thinking(installed: Installed, call: Call) -> None:
    entry = installed.entry("sequential-thinking")
    thought = {"thought": "first", "thoughtNumber": 1, "totalThoughts": 2, "nextThoughtNeeded": True}
    assert (await call(entry, "sequentialthinking", **thought))["thoughtHistoryLength"] == 1
    await every_allowed_tool_exists(call, entry, "sequential-thinking")


async def test_time(installed: Installed, call: Call) -> None:
    entry = installed.entry("time")
    found = await call(
        entry, "convert_time", source_timezone="Asia/Seoul", time="09:00", target_timezone="Asia/Kathmandu"
    )
    assert "T05:45:00+05:45" in str(found)
    await every_allowed_tool_exists(call, entry, "time")


async def test_git_reads_a_repository(installed: Installed, call: Call, tmp_path: Path) -> None:
    me = ["-c", "user.name=Kim", "-c", "user.email=kim@example.test", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], [*me, "commit", "-q", "--allow-empty", "-m", "the first commit"]):
        await asyncio.to_thread(_run, ["git", "-C", str(tmp_path), *command])
    entry = installed.entry("git", "--repository", str(tmp_path))
    assert "the first commit" in (await call(entry, "git_log", repo_path=str(tmp_path)))["text"]
    with pytest.raises(StepError) as caught:
        await call(entry, "git_commit", repo_path=str(tmp_path), message="x")
    assert caught.value.type == "not_allowed"
    await every_allowed_tool_exists(call, entry, "git")


async def test_excel_reads_what_it_wrote_and_writes_only_where_it_may(
    installed: Installed, call: Call, tmp_path: Path
) -> None:
    writing = installed.entry("excel", "stdio", "--allow-dir", ".", allow=["create_workbook", "write_range"])
    await call(writing, "create_workbook", path="book.xlsx")
    rows = [["name", "plan"], ["Ann", "pro"]]
    await call(writing, "write_range", path="book.xlsx", sheet="Sheet1", at="A1", rows=rows)
    entry = installed.entry("excel")
    found = await call(entry, "read_range", path="book.xlsx", sheet="Sheet1")
    assert "Ann" in str(found)
    assert (tmp_path / "book.xlsx").exists()
    tools = await call.tools(entry)
    assert "write_range" not in tools
    await every_allowed_tool_exists(call, entry, "excel")


def _shop(folder: Path) -> Path:
    with contextlib.closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executescript("CREATE TABLE orders (total INTEGER); INSERT INTO orders VALUES (41), (1);")
    return folder / "shop.db"


async def test_sql_alchemy_lists_tables_and_takes_its_url_from_a_secret(
    installed: Installed, call: Call, tmp_path: Path
) -> None:
    secrets = {"DB_URL": f"sqlite:///{_shop(tmp_path)}"}
    entry = installed.entry("sql-alchemy")
    assert "orders" in str(await call(entry, "all_table_names", secrets))
    wider = installed.entry("sql-alchemy", allow=["execute_query"])
    assert "42" in str(await call(wider, "execute_query", secrets, query="SELECT sum(total) AS s FROM orders"))
    await every_allowed_tool_exists(call, entry | {"env": secrets}, "sql-alchemy")


async def test_an_old_server_that_nobody_maintains_is_still_understood(
    installed: Installed, call: Call, tmp_path: Path
) -> None:
    entry = {"command": installed.python_command(OLD), "args": ["--db-path", str(_shop(tmp_path))]}
    assert "42" in (await call(entry, "read_query", query="SELECT sum(total) AS s FROM orders"))["text"]


async def test_fetch_turns_a_page_into_text(
    installed: Installed,
    call: Call,
    http_server: RecordingServer,
) -> None:
    def page(_: Received) -> Response:
        paragraph = "<p>A crane lifts the beam while the crew below waits and watches.</p>"
        return HTMLResponse(f"<html><body><article><h1>Cranes</h1>{paragraph * 8}</article></body></html>")

    http_server.answer("/robots.txt", lambda _: Response(status_code=404))
    http_server.answer("/page", page)
    entry = installed.entry("fetch", "--allow-private-ips")
    assert "A crane lifts the beam" in str(await call(entry, "fetch", url=f"{http_server.url}/page"))
    await every_allowed_tool_exists(call, entry, "fetch")


async def test_calculator(installed: Installed, call: Call) -> None:
    entry = installed.entry("calculator")
    assert "42" in str(await call(entry, "calculate", expression="6 * 7"))
    await every_allowed_tool_exists(call, entry, "calculator")


@contextlib.asynccontextmanager
async def served(command: str, *arguments: str, port: int, **environment: str) -> AsyncIterator[str]:
    """A server over HTTP, as its own process."""
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    process = await asyncio.create_subprocess_exec(
        command,
        *arguments,
        env=base | environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(90):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                assert process.returncode is None, f"{command} ended with {process.returncode}"
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        # Servers that are asked politely wait for the pool, which still listens to them.
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_everything_over_http(installed: Installed, call: Call) -> None:
    port = free_port()
    command = installed.node_command("@modelcontextprotocol/server-everything")
    async with served(command, "streamableHttp", port=port, PORT=str(port)) as url:
        sums = [call({"use": "everything", "url": url}, "get-sum", a=n, b=1) for n in range(5)]
        assert [found["text"] for found in await asyncio.gather(*sums)] == [
            f"The sum of {n} and 1 is {n + 1}." for n in range(5)
        ]


async def test_excel_over_http(installed: Installed, call: Call, tmp_path: Path) -> None:
    port = free_port()
    flags = ("streamable-http", "--host", "127.0.0.1", "--port", str(port), "--allow-dir", str(tmp_path))
    command = installed.python_command(next(package for package in PYPI if package.startswith("excel")))
    async with served(command, *flags, "--allow-unauthenticated", port=port) as url:
        entry = {"use": "excel", "url": url, "allow": None}
        await call(entry, "create_workbook", path="over-http.xlsx", sheets=["January"])
        assert "January" in str(await call(entry, "describe_workbook", path="over-http.xlsx"))


async def test_entries_start_as_they_stand_in_the_catalogue(installed: Installed, call: Call, tmp_path: Path) -> None:
    # A first start downloads; the caches are warm by now.
    reach = {"env": {name: os.environ[name] for name in REACHED_BY if name in os.environ}, "connect_timeout": "120s"}
    thought = {"thought": "x", "thoughtNumber": 1, "totalThoughts": 1, "nextThoughtNeeded": False}
    url = {"DATABASE_URL": f"sqlite:///{_shop(tmp_path).name}"}
    thinking, zone, rows = await asyncio.gather(
        call({"use": "sequential-thinking"} | reach, "sequentialthinking", **thought),
        call({"use": "time"} | reach, "get_current_time", timezone="Asia/Seoul"),
        call({"use": "database"}, "query_data", url, query="SELECT sum(total) AS s FROM orders"),
    )
    assert thinking["thoughtHistoryLength"] == 1
    assert "Asia/Seoul" in str(zone)
    assert rows["rows"] == [{"s": 42}]


async def test_a_missing_secret_is_told_by_name_and_where_it_comes_from_before_anything_starts(call: Call) -> None:
    with pytest.raises(StepError) as caught:
        await call({"use": "github"}, "get_me")
    assert caught.value.type == "missing_secret"
    assert "secret 'GITHUB_TOKEN' is not set: give the worker ORCHESTRATOR_SECRET_GITHUB_TOKEN" in caught.value.message
    assert "github.com/settings/personal-access-tokens" in caught.value.message


async def test_an_entry_that_uses_an_unknown_one_says_which_are_near(call: Call) -> None:
    with pytest.raises(StepError) as caught:
        await call({"use": "postgress"}, "query")
    assert caught.value.type == "invalid_config"
    assert "mcp.s in orchestrator.yaml: the catalogue has no ready entry 'postgress'" in caught.value.message
