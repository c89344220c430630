"""An `orchestrator` command that need not import anything: a process that has imported everything forks for each call.

The suite calls the command some hundred times, and nine tenths of a call, or of a product's start, are imports.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

_SHIM = """#!{python} -IS
import json, os, socket, struct, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
    link.connect({address!r})
    order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(link, [struct.pack("!I", len(order))], [0, 1, 2])
    link.sendall(order)
    link.recv(4, socket.MSG_WAITALL)
    code = link.recv(4, socket.MSG_WAITALL)
sys.exit(struct.unpack("!i", code)[0] & 255 if code else 70)
"""
_LENGTH = struct.Struct("!I")
_NUMBER = struct.Struct("!i")
"""What is answered: the process id at once, the exit code when it has ended."""
_LOST = 70
_READY_SECONDS = 60.0


class Running(Protocol):
    """What tests use of a process, however it was started."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """An `orchestrator` verb in a process of its own, forked from the warm one; used like ``Popen``."""

    def __init__(self, verb: str, environment: Mapping[str, str], out: int) -> None:
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._code: int | None = None
        self._link.connect(str(_warm() / "socket"))
        order = json.dumps([[verb], str(Path.cwd()), dict(environment)]).encode()
        with Path(os.devnull).open("rb") as nothing:
            socket.send_fds(self._link, [_LENGTH.pack(len(order))], [nothing.fileno(), out, out])
        self._link.sendall(order)
        self.pid: int = _NUMBER.unpack(self._link.recv(_NUMBER.size, socket.MSG_WAITALL))[0]

    def poll(self) -> int | None:
        """The exit code, a signal's as a negative number; None while it runs."""
        return self._code if self._code is not None or not self._told(0) else self._read()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once there is one. Raises subprocess.TimeoutExpired."""
        if self._code is None and not self._told(timeout):
            raise subprocess.TimeoutExpired("orchestrator", timeout or 0)
        return self._read() if self._code is None else self._code

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended: its id may then be somebody else's."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)

    def _told(self, seconds: float | None) -> bool:
        return bool(select.select([self._link], [], [], seconds)[0])

    def _read(self) -> int:
        told = self._link.recv(_NUMBER.size, socket.MSG_WAITALL)
        self._link.close()
        self._code = _NUMBER.unpack(told)[0] if told else _LOST
        return self._code


def warm_folder() -> Path:
    """A folder with an `orchestrator` command, for the front of PATH."""
    return _warm() / "bin"


@functools.cache
def _warm() -> Path:
    """The folder of the warm process, which is started for the first who asks and ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    address = Path(folder.name) / "socket"
    command = [sys.executable, "-m", "tests.e2e.warm", str(address)]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE)

    def end() -> None:
        assert server.stdin is not None
        server.stdin.close()
        server.wait(30)
        folder.cleanup()

    atexit.register(end)
    deadline = time.monotonic() + _READY_SECONDS
    while not address.exists():
        assert server.poll() is None, "the warm command ended"
        assert time.monotonic() < deadline, "the warm command does not begin"
        time.sleep(0.05)
    shim = Path(folder.name) / "bin" / "orchestrator"
    shim.parent.mkdir()
    shim.write_text(_SHIM.format(python=sys.executable, address=str(address)), encoding="utf-8")
    shim.chmod(0o755)
    return Path(folder.name)


def serve(address: str) -> None:
    """Fork for every call until stdin ends, as it does with whoever started this."""
    # Imported here: the tests' own process needs none of it. With these comes all that verbs import when called.
    import orchestrator.cli.doctor
    import orchestrator.cli.dry_run
    import orchestrator.cli.mcp_serve
    import orchestrator.cli.mutation
    import orchestrator.cli.recording
    import orchestrator.cli.serving  # noqa: F401
    from orchestrator.cli.main import main

    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(f"{address}.new")
        door.listen(64)
        # A thread would be missing in every fork, and what it holds would be held for ever.
        assert len(os.listdir("/proc/self/task")) == 1, "something that was imported has started threads"  # noqa: PTH208
        Path(f"{address}.new").rename(address)
        while sys.stdin not in (ready := select.select([door, sys.stdin], [], [])[0]):
            assert ready
            link, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _keep(link, main)
            link.close()


def _keep(link: socket.socket, command: Callable[[Sequence[str]], int]) -> NoReturn:
    """Fork once more for the call itself, and tell its process id and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    head, streams, _, _ = socket.recv_fds(link, _LENGTH.size, 3)
    wanted = _LENGTH.unpack(head)[0]
    order = link.recv(wanted, socket.MSG_WAITALL)
    if (pid := os.fork()) == 0:
        link.close()
        _call(order, streams, command)
    for stream in (0, 1, 2, *streams):
        os.close(stream)
    try:
        link.sendall(_NUMBER.pack(pid))
        link.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    finally:
        # Whoever asked may be gone.
        os._exit(0)


def _call(order: bytes, streams: Sequence[int], command: Callable[[Sequence[str]], int]) -> NoReturn:
    code = _LOST
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        arguments, folder, environment = json.loads(order)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        random.seed()
        code = command(arguments)
    finally:
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
