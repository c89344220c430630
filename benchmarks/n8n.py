"""n8n as a process under measurement: a fresh one with W5 published, on SQLite, as it is in production by default."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from benchmarks import n8n_workflow, w5
from benchmarks.load import Connection
from benchmarks.servers import children_of, open_echo
from orchestrator.devserver.temporal import die_with_parent, free_port

_HOME = Path(__file__).parent / ".n8n"
_COMMAND = _HOME / "node_modules" / "n8n" / "bin" / "n8n"
_START_SECONDS = 240
"""n8n makes its tables before it serves, which takes a busy machine long."""
_PATH = f"/webhook/{n8n_workflow.PATH}"
_QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_DYNAMIC_BANNERS_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
    "N8N_DISABLED_MODULES": "mcp-registry",
    "N8N_LOG_LEVEL": "warn",
    "NODE_ENV": "production",
}
"""Nothing goes out to n8n's makers, and nothing is printed for each run."""


def missing_n8n() -> str | None:
    """Why n8n is left out, and how to have it; None where it is there."""
    if not _COMMAND.exists():
        return "n8n is left out; to have it: make bench-peers"
    if _node() is None:
        return "n8n is left out: there is no Node.js to run it; to have one: make bench-peers"
    return None


@contextlib.asynccontextmanager
async def open_n8n(**given: str) -> AsyncIterator[w5.Target]:
    """W5 on a fresh n8n, set as it is by default but for what is ``given`` by the names of its environment, and an echo
    server; all gone when left. Raises RuntimeError with n8n's last words where it does not come to serve."""
    async with open_echo() as echo_port:
        with tempfile.TemporaryDirectory(prefix="orchestrator-bench-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            port = free_port()
            environment = _environment(folder, port) | given
            drawn = folder / "w5.json"
            drawn.write_text(json.dumps(n8n_workflow.workflow(echo_port)))
            await _finish(environment, folder, "import:workflow", f"--input={drawn}")
            await _finish(environment, folder, "publish:workflow", f"--id={n8n_workflow.ID}")
            async with _started(environment, folder, "start") as process:
                await _serving(process, port, folder)
                yield w5.Target(port, _PATH, lambda: [process.pid, *children_of(process.pid)], list)


def _node() -> str | None:
    """The Node.js that was installed beside n8n, otherwise the machine's."""
    beside = sorted(_HOME.glob("node/node_modules/node-linux-*/bin/node"))
    return str(beside[0]) if beside else shutil.which("node")


def _environment(folder: Path, port: int) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("N8N_", "EXECUTIONS_", "DB_"))}
    return {
        **ours,
        **_QUIET,
        "N8N_USER_FOLDER": str(folder),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_PORT": str(port),
        "N8N_RUNNERS_BROKER_PORT": str(free_port()),
    }


@contextlib.asynccontextmanager
async def _started(environment: dict[str, str], folder: Path, *given: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with _log(folder).open("ab") as log:
        process = await _spawn(environment, folder, log, given)
    try:
        yield process
    finally:
        await _end(process)


async def _spawn(
    environment: dict[str, str], folder: Path, log: IO[bytes], given: tuple[str, ...]
) -> asyncio.subprocess.Process:
    node = _node()
    assert node is not None
    return await asyncio.create_subprocess_exec(
        node,
        str(_COMMAND),
        *given,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=die_with_parent(),
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), 30)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _finish(environment: dict[str, str], folder: Path, *given: str) -> None:
    async with _started(environment, folder, *given) as process:
        try:
            status = await asyncio.wait_for(process.wait(), _START_SECONDS)
        except TimeoutError:
            raise RuntimeError(_last_words(folder, f"'n8n {given[0]}' took over {_START_SECONDS} s")) from None
    if status != 0:
        raise RuntimeError(_last_words(folder, f"'n8n {given[0]}' failed"))


async def _serving(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    """Waits until the webhook gives the right answer."""
    end = time.monotonic() + _START_SECONDS
    while await _answer(port) != (200, w5.ANSWER):
        if process.returncode is not None:
            raise RuntimeError(_last_words(folder, "n8n ended before it served"))
        if time.monotonic() > end:
            raise RuntimeError(_last_words(folder, f"n8n gave no right answer within {_START_SECONDS} s"))
        await asyncio.sleep(0.2)


async def _answer(port: int) -> tuple[int, object]:
    connection = Connection(port)
    try:
        return await connection.post(_PATH, w5.BODY)
    except (OSError, asyncio.IncompleteReadError, StopIteration, ValueError):
        # Not there yet, or there and not yet with its webhooks.
        return 0, None
    finally:
        with contextlib.suppress(OSError):
            await connection.aclose()


def _last_words(folder: Path, what: str) -> str:
    lines = _log(folder).read_text(errors="replace").splitlines()[-15:]
    return "\n".join([f"{what}; its last words:", *lines])


def _log(folder: Path) -> Path:
    return folder / "n8n.log"
