"""The world outside: an HTTP server that notes every call of a step, and is never killed."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of a step as the other side sees it."""

    at: float
    """Seconds since the epoch, when the call came in."""
    key: str
    """The idempotency key: run, path and generation."""
    attempt: int


class Recorder:
    """All calls so far; ``url`` is where they go."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    def note(self, key: str, attempt: int) -> None:
        """A call came in."""
        with self._lock:
            self._calls.append(Call(time.time(), key, attempt))

    def calls(self) -> list[Call]:
        """In the order they came in."""
        with self._lock:
            return list(self._calls)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed does not wait for its answer."""


@contextmanager
def recording(seed: int) -> Iterator[Recorder]:
    """A recorder that answers each call after up to a fifth of a second, for kills to fall into."""
    pauses = random.Random(seed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            recorder.note(self.headers["Idempotency-Key"], int(self.headers["X-Attempt"]))
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(pauses.random() / 5)
            answer = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = _Server(("127.0.0.1", 0), Handler)
    recorder = Recorder(f"http://127.0.0.1:{server.server_port}/record")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
