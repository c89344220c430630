"""Processes a measurement needs: a fresh Temporal server, the echo server, hosts; and the CPU time each has used."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.flows import write_project
from orchestrator.devserver.temporal import TemporalServer, die_with_parent, free_port
from orchestrator.settings import Settings
from orchestrator.telemetry import SEARCH_ATTRIBUTES

_START_SECONDS = 60
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Bench:
    """One fresh set of servers around one project folder."""

    folder: Path
    address: str
    temporal_pid: int
    echo_port: int

    def settings(self) -> Settings:
        """How a client of this set connects."""
        return Settings(project_dir=self.folder, temporal_address=self.address, task_queue="orchestrator-bench")


@dataclass(frozen=True, slots=True)
class Host:
    """A started host process."""

    pid: int
    port: int


def cpu_seconds(pid: int) -> float:
    """User and system time the process has used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.asynccontextmanager
async def open_bench() -> AsyncIterator[Bench]:
    """Temporal as ``up`` runs it, an empty store, an echo server, a project folder; all gone when left."""
    async with open_echo() as echo_port:
        with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
            folder = Path(name)
            write_project(folder, echo_port)
            server = TemporalServer(folder / ".orchestrator", free_port(), free_port(), SEARCH_ATTRIBUTES)
            async with server:
                yield Bench(folder, server.address, _listener(server.address), echo_port)


@contextlib.asynccontextmanager
async def open_echo() -> AsyncIterator[int]:
    """The echo server; gives its port."""
    async with open_module("benchmarks.echo") as (_, line):
        yield int(line)


@contextlib.asynccontextmanager
async def open_host(kind: str, bench: Bench) -> AsyncIterator[Host]:
    """A host process of ``kind`` (see ``host``) on these servers."""
    given = ["--address", bench.address, "--folder", str(bench.folder), "--echo-port", str(bench.echo_port)]
    async with open_module("benchmarks.host", kind, *given) as (pid, line):
        yield Host(pid, json.loads(line)["port"])


@contextlib.asynccontextmanager
async def open_module(*command: str, python: str | Path = sys.executable) -> AsyncIterator[tuple[int, str]]:
    """Runs ``python -m …``; gives its pid and the first line it printed."""
    process = await asyncio.create_subprocess_exec(
        python, "-m", *command, stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent()
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        if not line:
            raise RuntimeError(f"'{' '.join(command[:2])}' ended before it served; its reason is above")
        yield process.pid, line.decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()


def children_of(pid: int) -> list[int]:
    """The processes that this one has started and that still are (Linux)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
    return found


def _listener(address: str) -> int:
    """The pid of our child that listens on the address: the server does not tell its own."""
    port = address.rpartition(":")[2]
    for child in children_of(os.getpid()):
        with contextlib.suppress(OSError):
            if f"--port={port}" in Path(f"/proc/{child}/cmdline").read_text():
                return child
    raise RuntimeError(f"no child of this process listens on port {port}")
