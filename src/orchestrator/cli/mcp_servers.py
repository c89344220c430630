"""What the verbs about MCP servers do: ask servers as a step of type mcp would."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from mcp.types import Tool

from orchestrator.catalogue import with_ready_entry
from orchestrator.cli.console import InputUnusable
from orchestrator.errors import OrchestratorError, StepError
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.acts.mcp import McpConfig
from orchestrator.spec.project import load_project
from orchestrator.steps.context import Resources, StepContext
from orchestrator.steps.mcp import step
from orchestrator.steps.registry import validate_config

T = TypeVar("T")
Json = Any

_AT_ONCE = 8
"""Servers that ``look_at_all`` tries at the same time."""
_MISTAKES = {"invalid_arguments", "invalid_config", "missing_secret", "not_allowed", "not_found"}
"""Types of errors that the person who typed the command can mend."""


async def look_at_all(settings: Settings) -> list[dict[str, Json]]:
    """Every declared server: ``server, at, reachable, tools, error``."""
    project = load_project(settings.project_dir)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(name: str) -> dict[str, Json]:
        found: dict[str, Json] = {"server": name, "at": "", "reachable": False, "tools": None, "error": None}
        async with gate, _attempt(settings) as attempt:
            try:
                entry = with_ready_entry("mcp", project.mcp[name])
                found["at"] = entry.get("url") or " ".join([entry["command"], *entry.get("args", [])])
                found |= {"reachable": True, "tools": len(await step.list_tools(name, attempt))}
            except OrchestratorError as error:
                found |= {"error": attempt.secrets.mask_text(str(error))}
        return found

    return list(await asyncio.gather(*(look(name) for name in project.mcp)))


async def tools_of(settings: Settings, server: str) -> list[Tool]:
    """The tools of a server that its ``allow`` admits. Raises InputUnusable, OrchestratorError."""
    return await _asked(settings, lambda attempt: step.list_tools(server, attempt))


async def call(settings: Settings, server: str, tool: str, arguments: dict[str, Json]) -> Json:
    """What a tool gives, secrets masked. Raises InputUnusable, OrchestratorError."""
    given = {"server": server, "tool": tool, "arguments": arguments}

    async def ask(attempt: StepContext) -> Json:
        config = validate_config(McpConfig, given, attempt.source)
        assert isinstance(config, McpConfig)
        return attempt.secrets.mask(await step.run(config, attempt))

    return await _asked(settings, ask)


async def _asked(settings: Settings, ask: Callable[[StepContext], Awaitable[T]]) -> T:
    """What ``ask`` returns. Its errors become those of the command line, without a secret in them."""
    async with _attempt(settings) as attempt:
        try:
            return await ask(attempt)
        except StepError as error:
            kind = InputUnusable if error.type in _MISTAKES else _Failed
            raise kind(attempt.secrets.mask_text(f"{error.type}: {error.message}")) from None


class _Failed(OrchestratorError):
    """The server was asked, and it did not work."""


@contextlib.asynccontextmanager
async def _attempt(settings: Settings) -> AsyncIterator[StepContext]:
    """What a worker would give a step of type mcp."""
    resources = Resources()
    try:
        yield StepContext(
            path="mcp",
            step_id="mcp",
            step_type="mcp",
            source="the command line",
            flow="",
            version="",
            run_id="",
            root_id="",
            attempt=1,
            idempotency_key="",
            settings=settings,
            project=load_project(settings.project_dir),
            secrets=Secrets(settings.secrets),
            resources=resources,
        )
    finally:
        await resources.aclose()
