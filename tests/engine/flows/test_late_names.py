"""Late names in the config of a step that is no function: filled in on the worker, alone and inside text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from temporalio.client import Client
from tests.engine.harness import events, open_workbench

SECRET = "s3cret-late"


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server's URL and the headers it gets; it is down for the first request."""
    heard: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(dict(self.headers.items()))
            self.send_response(503 if len(heard) == 1 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_an_http_step_sends_its_secret_attempt_and_key(temporal: Client, tmp_path: Path) -> None:
    with listening() as (url, heard):
        flow = f"""
        id: late-names
        steps:
          - id: call
            type: http
            retry: {{initial_interval: 10ms}}
            config:
              url: {url}
              headers:
                Authorization: "Bearer {{{{ secrets.API }}}}"
                X-Attempt: "{{{{ step.attempt }}}}"
                X-Key: "{{{{ step.idempotency_key }}}}"
        """
        async with open_workbench(temporal, tmp_path, secrets={"API": SECRET}) as bench:
            handle = await bench.start(flow)
            await handle.result()
            assert [sent["X-Attempt"] for sent in heard] == ["1", "2"]
            assert {sent["Authorization"] for sent in heard} == {f"Bearer {SECRET}"}
            assert {sent["X-Key"] for sent in heard} == {f"{handle.id}/call#1"}
            for event in await events(handle):
                assert SECRET.encode() not in event.SerializeToString()
