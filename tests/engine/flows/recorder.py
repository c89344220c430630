"""A server that keeps what it is posted, for steps that tell somebody something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any


class Recorder:
    """A server that answers 503 so often and then ``ok``, by path, and keeps what it was posted."""

    def __init__(self) -> None:
        self.refusals: dict[str, int] = {}
        self.hangs: set[str] = set()
        """Paths of which the first request is left without an answer."""
        self.over = Event()
        self.posted: list[tuple[str, Any]] = []
        self.url = ""

    def paths(self) -> list[str]:
        return [path for path, _ in self.posted]

    def answer(self, path: str, body: bytes) -> int:
        if path in self.hangs:
            self.hangs.discard(path)
            self.over.wait(20)
            return 503
        if self.refusals.get(path, 0) > 0:
            self.refusals[path] -= 1
            return 503
        self.posted.append((path, json.loads(body)))
        return 200


@contextmanager
def open_recorder() -> Iterator[Recorder]:
    """A recorder on a port of its own."""
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = recorder.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            content = b'{"ok": true, "ts": "1.5", "channel": "C1"}'
            if recorder.over.is_set():
                return
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    yield recorder
    recorder.over.set()
    server.shutdown()
    server.server_close()
    thread.join(5)
