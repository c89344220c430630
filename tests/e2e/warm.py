"""An `orchestrator` command that need not import anything: a process that has imported everything forks for each call.

The suite's shell blocks call the command some two hundred times, and nine tenths of each call are imports.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_SHIM = """#!{python} -IS
import json, os, socket, struct, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
    link.connect({address!r})
    order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(link, [struct.pack("!I", len(order))], [0, 1, 2])
    link.sendall(order)
    code = link.recv(1)
sys.exit(code[0] if code else 70)
"""
_LENGTH = struct.Struct("!I")
_READY_SECONDS = 60.0


@contextmanager
def warm_command() -> Iterator[Path]:
    """A folder with an `orchestrator` command, for the front of PATH."""
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        folder = Path(name)
        address = str(folder / "socket")
        server = subprocess.Popen([sys.executable, "-m", "tests.e2e.warm", address], cwd=Path(__file__).parents[2])
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while not Path(address).exists():
                assert server.poll() is None, "the warm command ended"
                assert time.monotonic() < deadline, "the warm command does not begin"
                time.sleep(0.05)
            shim = folder / "orchestrator"
            shim.write_text(_SHIM.format(python=sys.executable, address=address), encoding="utf-8")
            shim.chmod(0o755)
            yield folder
        finally:
            server.terminate()
            server.wait(30)


def serve(address: str) -> None:
    """Fork for every call until this process is told to end."""
    from orchestrator.cli.main import main  # imported here: the fixture's process needs none of it

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(f"{address}.new")
        door.listen(64)
        Path(f"{address}.new").rename(address)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            link, _ = door.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                door.close()
                code = _call(link, main)
                link.sendall(bytes([code]))
                os._exit(0)
            link.close()


def _call(link: socket.socket, command: Callable[[Sequence[str]], int]) -> int:
    head, streams, _, _ = socket.recv_fds(link, _LENGTH.size, 3)
    wanted = _LENGTH.unpack(head)[0]
    order = b""
    while len(order) < wanted:
        order += link.recv(wanted - len(order))
    arguments, folder, environment = json.loads(order)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return command(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
