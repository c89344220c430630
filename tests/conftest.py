"""Servers that several test folders share."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

_FAST = ("transfer", "visibility", "timer")
"""Queue processors of the dev server whose default poll rate would add about 50 ms to every step."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def temporal_binary() -> str:
    """The ``temporal`` executable: the one on PATH, else the one installed beside this Python."""
    beside = Path(sys.executable).parent / "temporal"
    return shutil.which("temporal") or str(beside)


def start_temporal(log: Path, *extra: str) -> tuple[subprocess.Popen[bytes], str]:
    """A dev server of its own: the process and its address. The caller stops the process."""
    port = free_port()
    command = [
        temporal_binary(),
        "server",
        "start-dev",
        "--headless",
        "--ip",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--dynamic-config-value", 'history.timerProcessorMaxTimeShift="10ms"']
    for name in _FAST:
        command += ["--dynamic-config-value", f"history.{name}ProcessorMaxPollRPS=2000"]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *extra], stdout=out, stderr=subprocess.STDOUT)
    address = f"127.0.0.1:{port}"
    try:
        if not asyncio.run(_answers(process, address)):
            said = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the Temporal dev server did not start:\n{said}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, address


async def _answers(process: subprocess.Popen[bytes], address: str) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            client = await Client.connect(address)
            async for _ in client.list_workflows(limit=1):
                pass
        except (RPCError, RuntimeError):
            await asyncio.sleep(0.1)
        else:
            return True
    return False


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real Temporal dev server, shared by the whole session."""
    process, address = start_temporal(tmp_path_factory.mktemp("temporal") / "server.log")
    yield address
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
async def temporal(temporal_server: str) -> Client:
    """A client of ``temporal_server``."""
    return await Client.connect(temporal_server)


@pytest.fixture
def own_temporal_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A dev server for one test, which may kill it: the process and its address."""
    process, address = start_temporal(tmp_path / "temporal.log")
    yield process, address
    process.kill()
    process.wait()
