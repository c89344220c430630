"""Verbs about MCP servers: list, tools, call, serve, catalogue.

What they need is imported when they are called: other verbs stay quick.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from orchestrator.cli.console import InputUnusable, run, show, show_json, show_table
from orchestrator.cli.mcp_catalogue import catalogue

Json = Any
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
Server = Annotated[str, typer.Argument(help="Its name under `mcp` in orchestrator.yaml.")]

mcp_app = typer.Typer(no_args_is_help=True, help="Try the MCP servers of orchestrator.yaml by hand.")


@mcp_app.command("list")
def list_servers(context: typer.Context, as_json: AsJson = False) -> None:
    """Every declared server: whether it can be reached, how many tools it offers, or why not."""
    from orchestrator.cli.mcp_servers import look_at_all

    servers = run(look_at_all(context.obj))
    if as_json:
        show_json(servers)
    elif not servers:
        show("no MCP server is declared; write one under `mcp` in orchestrator.yaml")
    else:
        columns = ("SERVER", "AT", "TOOLS", "STATE")
        show_table(columns, ((row["server"], row["at"], row["tools"], row["error"] or "ok") for row in servers))


@mcp_app.command("tools")
def list_tools(
    context: typer.Context,
    server: Server,
    schema: Annotated[bool, typer.Option("--schema", help="Show what arguments each tool takes.")] = False,
    as_json: AsJson = False,
) -> None:
    """The tools of a server that its `allow` admits."""
    from orchestrator.cli.mcp_servers import tools_of

    tools = run(tools_of(context.obj, server))
    if as_json:
        show_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools])
        return
    for tool in tools:
        first = (tool.description or "").strip().partition("\n")[0]
        # A server's words, on a person's terminal.
        show("".join(mark for mark in f"{tool.name}  {first}".rstrip() if mark.isprintable()))
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
    from orchestrator.cli import mcp_servers

    show_json(run(mcp_servers.call(context.obj, server, tool, _arguments(arguments, arg or []))))


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


@mcp_app.command()
def serve(context: typer.Context) -> None:
    """Offer the flows and the tools around them to an MCP client on stdin and stdout. What is said for people goes to
    stderr."""
    from orchestrator.cli.mcp_serve import serve_stdio

    serve_stdio(context.obj)


mcp_app.command("catalogue")(catalogue)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(mcp_app, name="mcp")
