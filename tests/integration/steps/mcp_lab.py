"""What the tests of the mcp step share: the step as a worker runs it, and servers in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StepError
from orchestrator.spec.acts.mcp import McpConfig
from orchestrator.spec.project import Project
from orchestrator.steps.context import StepContext
from orchestrator.steps.mcp import step

HERE = Path(__file__).parent
SERVER = HERE / "mcp_server.py"
COMMAND: dict[str, Any] = {"command": sys.executable, "args": [str(SERVER)]}


def bare(*given: str, **more: Any) -> dict[str, Any]:
    """The entry of the server without a library: it starts at once, and misbehaves on request."""
    return {"command": sys.executable, "args": ["-S", str(HERE / "bare_mcp_server.py"), *given], **more}


class HttpServer:
    """The server as a process of its own, on a port that stays the same over restarts."""

    def __init__(self, *flags: str) -> None:
        self.port = 0
        self._flags = flags
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def entry(self) -> dict[str, Any]:
        return {"url": f"{self.url}/mcp"}

    @property
    def sse(self) -> dict[str, Any]:
        return {"url": f"{self.url}/sse", "transport": "sse"}

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


class Call:
    """Runs the step as the worker would, with one catalogue entry ``s``."""

    def __init__(self, make_context: Callable[..., StepContext]) -> None:
        self._make = make_context
        self.entry: dict[str, Any] = dict(COMMAND)
        self.secrets: dict[str, str] = {}
        self.last: StepContext | None = None

    def context(self, **fields: Any) -> StepContext:
        self.last = self._make(project=Project(mcp={"s": self.entry}), secrets=self.secrets, **fields)
        return self.last

    async def __call__(self, tool: str | None = None, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
        context = self.context(root_id=more.pop("run", "run-1"))
        answered = more.pop("answered", None)
        config = {"server": "s", "tool": tool, "arguments": arguments or {}} | more
        given = {key: value for key, value in config.items() if value is not None}
        return await step.run(McpConfig.model_validate(given), context, answered)

    async def fails(self, *given: Any, **more: Any) -> StepError:
        with pytest.raises(StepError) as caught:
            await self(*given, **more)
        return caught.value

    async def asks(self, *given: Any, **more: Any) -> dict[str, Any]:
        assert await self(*given, **more) is None
        assert self.last is not None
        assert self.last.asked is not None
        return self.last.asked


def runs(process: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
