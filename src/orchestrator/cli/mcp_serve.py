"""``mcp serve``: the MCP server over stdin and stdout, for clients that start their servers themselves."""

from __future__ import annotations

import signal

from mcp.server.stdio import stdio_server

from orchestrator.cli.console import run, say
from orchestrator.cli.serving import log_to_stderr
from orchestrator.devserver.connect import connected
from orchestrator.gateway.mcp.server import create_server
from orchestrator.settings import Settings
from orchestrator.spec.project import load_project


def serve_stdio(settings: Settings) -> None:
    """Serve until stdin ends. What is said for people goes to stderr."""
    log_to_stderr(settings)
    # The thread that reads stdin cannot be interrupted, and there is nothing to clean up: runs are Temporal's.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with connected(settings) as parts:
        server = create_server(parts.client, parts.store, lambda: load_project(settings.project_dir), settings)
        say(f"MCP server on stdin and stdout, for the flows of {settings.address}", "dim")
        async with stdio_server() as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())
