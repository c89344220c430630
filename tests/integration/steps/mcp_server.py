"""A small real MCP server for the tests: ``python mcp_server.py [--http]``. Over HTTP it prints its port first."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Annotated, Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

server = MCPServer("test")
CANCELLED: list[float] = []
BOOKED: list[str] = []


class Sum(BaseModel):
    """A typed result."""

    total: int


@server.tool()
def add(a: int, b: int) -> Sum:
    """Add two numbers."""
    return Sum(total=a + b)


@server.tool(structured_output=False)
def shout(text: str) -> str:
    """Plain text, no structure."""
    return text.upper()


@server.tool()
def fail(why: str) -> str:
    """Fail as a tool does."""
    raise ToolError(why)


@server.tool(structured_output=False)
def pid() -> str:
    """The process that answers."""
    return str(os.getpid())


@server.tool(structured_output=False)
def variable(name: str) -> str:
    """One environment variable."""
    return os.environ.get(name, "")


@server.tool(structured_output=False)
async def nap(seconds: float) -> str:
    """Take a while."""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        CANCELLED.append(seconds)
        raise
    return "rested"


@server.tool(structured_output=False)
def cancelled() -> str:
    """How many naps were cut short."""
    return str(len(CANCELLED))


@server.tool(structured_output=False)
async def steps(count: int, context: Context[Any, Any]) -> str:
    """Report progress."""
    for done in range(count):
        await context.report_progress(done + 1, count, f"step {done + 1}")
        await asyncio.sleep(0.05)
    return "done"


@server.tool(structured_output=False)
def big(size: int) -> str:
    """A long text."""
    return "x" * size


@server.tool()
def die() -> str:
    """End the whole server in the middle of a call."""
    os._exit(1)


def old_shape(a: int) -> str:
    """As it was."""
    return str(a)


def new_shape(b: int) -> str:
    """As it is after ``reshape``."""
    return str(b)


server.add_tool(old_shape, name="shape", structured_output=False)


@server.tool(structured_output=False)
async def reshape(context: Context[Any, Any]) -> str:
    """Give a tool other arguments, and say so."""
    server.remove_tool("shape")
    server.add_tool(new_shape, name="shape", structured_output=False)
    await context.notify_tools_changed()
    return "reshaped"


class Seats(BaseModel):
    """What is asked."""

    seats: int


class Extra(BaseModel):
    """What is asked after that."""

    popcorn: bool


async def ask_seats() -> Elicit[Seats]:
    """The same question in both eras."""
    return Elicit("How many seats?", Seats)


@server.tool(structured_output=False)
async def book(film: str, answer: Annotated[ElicitationResult[Seats], Resolve(ask_seats)]) -> str:
    """Ask before booking."""
    BOOKED.append(film)
    return f"{film}: {answer.data.seats}" if answer.action == "accept" else f"{film}: {answer.action}"


@server.tool(structured_output=False)
def booked() -> str:
    """How often something was booked."""
    return str(len(BOOKED))


@server.tool(structured_output=False)
async def ask_twice(film: str, context: Context[Any, Any]) -> str:
    """Ask two things, one after the other, as servers with sessions do."""
    first = await context.elicit(f"How many seats for {film}?", Seats)
    second = await context.elicit("Popcorn?", Extra)
    if first.action != "accept" or second.action != "accept":
        return f"{first.action}, {second.action}"
    return f"{first.data.seats}, {second.data.popcorn}"


@server.resource("note://one")
def note() -> str:
    """A resource."""
    return "remember"


@server.resource("files://{name}/text")
def templated(name: str) -> str:
    """A resource of a template."""
    return f"the text of {name}"


@server.resource("image://one", mime_type="image/png")
def image() -> bytes:
    """A resource that is no text."""
    return b"\x89PNG\x00"


@server.prompt()
def greet(name: str) -> str:
    """A prompt."""
    return f"Greet {name}."


class OnlyHandshake:
    """The same server as one of the years when every client began with ``initialize`` and kept a session."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        if b'"server/discover"' in body:
            unknown = {"code": -32601, "message": "Method not found"}
            answer = JSONResponse({"jsonrpc": "2.0", "id": json.loads(body)["id"], "error": unknown})
            await answer(scope, receive, send)
            return
        sent = False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


def main() -> None:
    """Serve on stdio, or on a free port (or the one given) over HTTP."""
    if "--http" not in sys.argv:
        server.run()
        return
    port = int(sys.argv[sys.argv.index("--http") + 1])
    listener = socket.create_server(("127.0.0.1", port))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app: ASGIApp = server.streamable_http_app()
    if "--sse" in sys.argv:
        app = server.sse_app()
    if "--handshake" in sys.argv:
        app = OnlyHandshake(app)
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
