"""Verbs about MCP servers: list, tools, call."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from orchestrator.cli import mcp_serve
from orchestrator.cli.console import InputUnusable, run, show, show_json, show_table
from orchestrator.errors import OrchestratorError, StepError
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.acts.mcp import McpConfig
from orchestrator.spec.project import load_project
from orchestrator.steps import mcp as step
from orchestrator.steps.context import Resources, StepContext
from orchestrator.steps.registry import validate_config

T = TypeVar("T")
Json = Any
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
Server = Annotated[str, typer.Argument(help="Its name under `mcp` in orchestrator.yaml.")]

_AT_ONCE = 8
"""Servers that `list` tries at the same time."""
_MISTAKES = {"invalid_arguments", "invalid_config", "missing_secret", "not_allowed", "not_found"}
"""Types of errors that the person who typed the command can mend."""

mcp_app = typer.Typer(no_args_is_help=True, help="Try the MCP servers of orchestrator.yaml by hand.")


@mcp_app.command("list")
def list_servers(context: typer.Context, as_json: AsJson = False) -> None:
    """Every declared server: whether it can be reached, how many tools it offers, or why not."""
    servers = run(_list(context.obj))
    if as_json:
        show_json(servers)
    elif not servers:
        show("no MCP server is declared; write one under `mcp` in orchestrator.yaml")
    else:
        columns = ("SERVER", "AT", "TOOLS", "STATE")
        show_table(columns, ((row["server"], row["at"], row["tools"], row["error"] or "ok") for row in servers))


async def _list(settings: Settings) -> list[dict[str, Json]]:
    project = load_project(settings.project_dir)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(name: str) -> dict[str, Json]:
        entry = project.mcp[name]
        at = (entry.get("url") or " ".join([entry.get("command", ""), *entry.get("args", [])])) if entry else ""
        found: dict[str, Json] = {"server": name, "at": at, "reachable": False, "tools": None, "error": None}
        async with gate, _attempt(settings) as attempt:
            try:
                found |= {"reachable": True, "tools": len(await step.list_tools(name, attempt))}
            except OrchestratorError as error:
                found |= {"reachable": False, "error": attempt.secrets.mask_text(str(error))}
        return found

    return list(await asyncio.gather(*(look(name) for name in project.mcp)))


@mcp_app.command("tools")
def list_tools(
    context: typer.Context,
    server: Server,
    schema: Annotated[bool, typer.Option("--schema", help="Show what arguments each tool takes.")] = False,
    as_json: AsJson = False,
) -> None:
    """The tools of a server that its `allow` admits."""
    tools = run(_asked(context.obj, lambda attempt: step.list_tools(server, attempt)))
    if as_json:
        show_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools])
        return
    for tool in tools:
        first = (tool.description or "").strip().partition("\n")[0]
        show(f"{tool.name}  {first}".rstrip())
        if schema:
            show(json.dumps(tool.input_schema, ensure_ascii=False, indent=2))


@mcp_app.command("call")
def call_tool(
    context: typer.Context,
    server: Server,
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    arguments: Annotated[str | None, typer.Argument(help="Its arguments as a JSON object.")] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", help="One argument as NAME=VALUE; a value that is JSON is read as such."),
    ] = None,
) -> None:
    """Call a tool as a step would, and write its result as JSON."""
    given = {"server": server, "tool": tool, "arguments": _arguments(arguments, arg or [])}

    async def call(attempt: StepContext) -> Json:
        config = validate_config(McpConfig, given, attempt.source)
        assert isinstance(config, McpConfig)
        return attempt.secrets.mask(await step.run(config, attempt))

    show_json(run(_asked(context.obj, call)))


def _arguments(text: str | None, pairs: list[str]) -> dict[str, Json]:
    try:
        given = json.loads(text) if text is not None else {}
    except ValueError as error:
        raise InputUnusable(f'the arguments are not JSON: {error}; write for example \'{{"path": "data"}}\'') from error
    if not isinstance(given, dict):
        raise InputUnusable('the arguments are a JSON object, such as \'{"path": "data"}\'')
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputUnusable(f"--arg {pair}: write NAME=VALUE")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


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


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    mcp_serve.add_to(mcp_app)
    app.add_typer(mcp_app, name="mcp")
