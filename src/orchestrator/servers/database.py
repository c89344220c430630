"""The MCP server for SQL databases: ``python -m orchestrator.servers.database --url sqlite:///data/shop.db``.

It reads, within limits; with ``--write`` it also inserts. Over stdio, or with ``--http`` over HTTP."""

from __future__ import annotations

import asyncio
import hmac
import sys
from collections.abc import Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import ToolAnnotations
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.errors import StepError
from orchestrator.servers.access import Access, Limits

Json = Any

_LOCAL = ("127.0.0.1", "localhost", "::1")
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)


class Rows(BaseModel):
    """What a query returned."""

    rows: list[dict[str, Any]]
    count: int
    complete: bool
    """False where rows were left out."""
    note: str | None
    """Says in words that and why rows were left out."""


class Table(BaseModel):
    """One table or view."""

    name: str
    kind: str


class Tables(BaseModel):
    """What there is to query."""

    tables: list[Table]
    note: str | None


class Column(BaseModel):
    """One column; ``generated`` ones are filled in by the database."""

    name: str
    type: str
    nullable: bool
    default: str | None
    generated: bool


class ForeignKey(BaseModel):
    """Columns whose values are those of another table."""

    columns: list[str]
    table: str
    to: list[str]


class Description(BaseModel):
    """What a table is made of."""

    table: str
    kind: str
    columns: list[Column]
    primary_key: list[str]
    foreign_keys: list[ForeignKey]


class Inserted(BaseModel):
    """How many records there are more."""

    inserted: int


def build(access: Access, *, write: bool) -> MCPServer[Any]:
    """The server with its tools; ``bulk_insert`` only where it may write."""
    places = "?" if access.dialect == "SQLite" else "$1, $2"
    server: MCPServer[Any] = MCPServer(
        "orchestrator-database",
        instructions=f"A {access.dialect} database. Look at list_tables and describe_table before you query. Values "
        "belong into `parameters`, never into the query's text.",
    )

    @server.tool(
        annotations=_READS,
        description=f"Run one {access.dialect} query (SELECT, VALUES or WITH) that only reads. Put values into "
        f"`parameters`: an object for places written :name, or a list for places written {places}. At most `limit` "
        "rows come back; `complete` is false and `note` says so where rows were left out.",
    )
    async def query_data(
        query: str, parameters: list[Any] | dict[str, Any] | None = None, limit: int | None = None
    ) -> Rows:
        return Rows.model_validate(await _told(access.query(query, parameters, limit)))

    @server.tool(annotations=_READS, description="The tables and views that can be queried.")
    async def list_tables() -> Tables:
        return Tables.model_validate(await _told(access.tables()))

    @server.tool(annotations=_READS, description="Columns, types, primary key and foreign keys of a table or view.")
    async def describe_table(table: str) -> Description:
        return Description.model_validate(await _told(access.describe(table)))

    if write:

        @server.tool(
            annotations=_ADDS,
            description="Insert records, objects of column and value, into a table: all of them in one transaction, or "
            "none. What a record leaves out gets the column's default.",
        )
        async def bulk_insert(table: str, records: list[dict[str, Any]]) -> Inserted:
            return Inserted.model_validate(await _told(access.insert(table, records)))

    return server


async def _told(asked: Awaitable[Json]) -> Json:
    """Errors reach the caller as words: any other exception's text is hidden from it."""
    try:
        return await asked
    except StepError as error:
        raise ToolError(f"{error.type}: {error.message}") from error


class Bearer:
    """Lets requests through that carry the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or pass the request on."""
        if scope["type"] == "http":
            given = Headers(scope=scope).get("authorization", "")
            if not hmac.compare_digest(given.encode(), self._expected):
                await PlainTextResponse("give the server's token: Authorization: Bearer …", 401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def http_app(server: MCPServer[Any], *, host: str, hosts: list[str], token: str | None) -> ASGIApp:
    """The server at ``/mcp``. Requests that name another Host than those are refused: a page in a browser could
    otherwise reach a server on this machine."""
    named = [*_LOCAL, "[::1]", host, *hosts]
    security = TransportSecuritySettings(
        allowed_hosts=[*named, *(f"{name}:*" for name in named)],
        allowed_origins=[f"http://{name}:*" for name in named],
    )
    app: ASGIApp = server.streamable_http_app(stateless_http=True, json_response=True, transport_security=security)
    return app if token is None else Bearer(app, token)


async def _serve(
    access: Access, *, write: bool, port: int | None, host: str, hosts: list[str], token: str | None
) -> None:
    async with _opened(access):
        server = build(access, write=write)
        if port is None:
            await server.run_stdio_async()
            return
        config = uvicorn.Config(
            http_app(server, host=host, hosts=hosts, token=token), host=host, port=port, log_level="warning"
        )
        await uvicorn.Server(config).serve()


@asynccontextmanager
async def _opened(access: Access) -> Any:
    try:
        if await access.privileged():
            _say(
                "the account is a superuser, who reaches files and programs of the database's machine: give the server "
                "an account that may only read"
            )
        yield
    finally:
        await access.aclose()


def main(
    url: Annotated[
        str,
        typer.Option(
            envvar="ORCHESTRATOR_DATABASE_URL",
            help="sqlite:///data/shop.db or postgresql://user:password@host/name; better in the environment, where "
            "other users of the machine do not see it.",
        ),
    ],
    write: Annotated[bool, typer.Option("--write", help="Offer bulk_insert.")] = False,
    tables: Annotated[str | None, typer.Option(help="The only tables to offer, separated by commas.")] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of one answer.")] = 1_000,
    max_bytes: Annotated[int, typer.Option(min=1_000, help="Bytes of one answer.")] = 1_000_000,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds one query may take.")] = 30.0,
    http: Annotated[int | None, typer.Option(metavar="PORT", help="Serve /mcp over HTTP instead of stdio.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this machine's needs a token.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A Host header to accept beside this machine's names.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="ORCHESTRATOR_DATABASE_TOKEN", help="What HTTP clients must send as bearer token."),
    ] = None,
) -> None:
    """Serve a SQL database over MCP: list_tables, describe_table, query_data and, with --write, bulk_insert."""
    if http is not None and host not in _LOCAL and not token:
        raise typer.BadParameter("set ORCHESTRATOR_DATABASE_TOKEN: other machines can reach this address")
    limits = Limits(rows=max_rows, bytes=max_bytes, seconds=timeout)
    offered = None if tables is None else [name for name in tables.split(",") if name.strip()]
    try:
        access = Access(url, Path.cwd(), tables=offered, write=write, limits=limits)
        asyncio.run(_serve(access, write=write, port=http, host=host, hosts=allow_host or [], token=token))
    except StepError as error:
        _say(f"{error.type}: {error.message}")
        raise typer.Exit(2) from error


def _say(text: str) -> None:
    # stdout is the protocol's.
    sys.stderr.write(f"orchestrator database server: {text}\n")


if __name__ == "__main__":
    typer.run(main)
