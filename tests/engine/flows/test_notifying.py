"""Telling people from a flow: the same steps through the engine, retries and late names included."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest
from tests.engine.harness import Workbench

PROJECT = """
slack: {{token: xoxb-1234, api: "{url}/api"}}
contacts:
  ops: {{members: [kim]}}
  kim: {{webhook: "{url}/hook"}}
"""


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


@pytest.fixture
async def recorder(workbench: Workbench) -> AsyncIterator[Recorder]:
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
    (workbench.settings.project_dir / "orchestrator.yaml").write_text(PROJECT.format(url=recorder.url))
    yield recorder
    recorder.over.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


async def test_a_retry_of_several_channels_sends_only_what_is_missing(workbench: Workbench, recorder: Recorder) -> None:
    recorder.refusals = {"/api/chat.postMessage": 2}
    text = """
id: news
inputs: {n: integer}
steps:
  - id: told
    type: multi-channel
    retry: {max_attempts: 5, initial_interval: 20ms}
    config:
      require: all
      channels:
        - slack: {channel: "#ops", message: "Order {{ inputs.n }}"}
        - notification: {target: ops, message: "Order {{ inputs.n }}", data: {key: "{{ step.idempotency_key }}"}}
output: {told: "{{ steps.told.output }}", attempts: "{{ steps.told.attempts }}"}
"""
    output = await workbench.run(text, {"n": 7})
    assert output["attempts"] == 3
    assert output["told"]["slack"] == {"id": "1.5", "channel": "C1"}
    assert list(output["told"]["notification"]["channels"]) == ["kim.webhook"]
    assert sorted(recorder.paths()) == ["/api/chat.postMessage", "/hook"]
    [hook] = [body for path, body in recorder.posted if path == "/hook"]
    assert hook["id"].startswith(hook["data"]["key"])


async def test_an_attempt_that_ran_out_of_time_has_sent_what_it_has_sent(
    workbench: Workbench, recorder: Recorder
) -> None:
    recorder.hangs = {"/api/chat.postMessage"}
    text = """
id: slow-news
steps:
  - id: told
    type: multi-channel
    timeout: 1s
    retry: {max_attempts: 3, initial_interval: 20ms}
    config: {channels: [{notification: {target: ops, message: hello}}, {slack: {channel: "#ops", message: hello}}]}
output: "{{ steps.told.attempts }}"
"""
    assert await workbench.run(text) == 2
    assert sorted(recorder.paths()) == ["/api/chat.postMessage", "/hook"]


async def test_a_failed_flow_tells_its_contact_in_one_line(workbench: Workbench, recorder: Recorder) -> None:
    text = """
id: broken
steps: [{type: fail, config: {message: no}}]
error_handling: {fallback: [{type: notification, target: ops, message: "{{ error.message }}", severity: error}]}
"""
    failure = await workbench.failure(text)
    assert "no" in failure["message"]
    [(path, body)] = recorder.posted
    assert (path, body["message"], body["severity"], body["flow"]) == ("/hook", "no", "error", "broken")
