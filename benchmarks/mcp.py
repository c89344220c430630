"""A call of a tool of an MCP server over stdio: a fresh process for each call, one client of the SDK kept open, and the
``mcp`` step through the worker's pool."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from benchmarks.load import middle
from benchmarks.report import Row
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.acts.mcp import McpConfig
from orchestrator.spec.project import Project
from orchestrator.steps.context import Resources, StepContext
from orchestrator.steps.mcp import step

FRESH = "a fresh process for each call"
KEPT = "one SDK client kept open"
POOL = "the mcp step, through the pool"
_ROOT = Path(__file__).parents[1]
_COMMAND: dict[str, Any] = {"command": sys.executable, "args": ["-m", "benchmarks.mcp_server"], "cwd": str(_ROOT)}
_FRESH_CALLS = 5
_CALLS = 300
Call = Callable[[int], Awaitable[int]]


async def measure(rounds: int) -> list[Row]:
    """Milliseconds of one call, one after the other; the three variants take turns."""
    rows = []
    for number in range(rounds):
        rows.append(Row(FRESH, number, await _timed(_fresh, _FRESH_CALLS)))
        async with _kept() as call:
            rows.append(Row(KEPT, number, await _timed(call, _CALLS)))
        async with _pooled() as call:
            rows.append(Row(POOL, number, await _timed(call, _CALLS)))
    return rows


async def _timed(call: Call, times: int) -> dict[str, float]:
    taken = []
    for number in range(times):
        began = time.perf_counter()
        if await call(number) != number + 1:
            raise RuntimeError("the server cannot add")
        taken.append(1000 * (time.perf_counter() - began))
    taken.sort()
    return {"p50 ms": middle(taken), "p95 ms": taken[int(len(taken) * 0.95)], "mean ms": sum(taken) / len(taken)}


def _client() -> Client:
    return Client(stdio_client(StdioServerParameters(**_COMMAND)), cache=None)


async def _sum(client: Client, number: int) -> int:
    result = await client.call_tool("add", {"a": number, "b": 1})
    return int((result.structured_content or {})["total"])


async def _fresh(number: int) -> int:
    async with _client() as client:
        return await _sum(client, number)


@asynccontextmanager
async def _kept() -> AsyncIterator[Call]:
    async with _client() as client:
        await _sum(client, 0)

        async def call(number: int) -> int:
            return await _sum(client, number)

        yield call


@asynccontextmanager
async def _pooled() -> AsyncIterator[Call]:
    resources = Resources()
    settings = Settings(project_dir=_ROOT)
    names: dict[str, Any] = dict.fromkeys(
        ("path", "step_id", "step_type", "source", "flow", "version", "run_id", "root_id"), "bench"
    )

    async def call(number: int) -> int:
        context = StepContext(
            **names,
            attempt=1,
            idempotency_key="bench",
            settings=settings,
            project=Project(mcp={"bench": _COMMAND}),
            secrets=Secrets({}),
            resources=resources,
        )
        config = McpConfig(server="bench", tool="add", arguments={"a": number, "b": 1})
        return int((await step.run(config, context))["total"])

    try:
        await call(0)
        yield call
    finally:
        await resources.aclose()
