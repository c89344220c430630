"""Telling people from a flow: the same steps through the engine, retries and late names included."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.engine.flows.recorder import Recorder, open_recorder
from tests.engine.harness import Workbench

PROJECT = """
slack: {{token: xoxb-1234, api: "{url}/api"}}
contacts:
  ops: {{members: [kim]}}
  kim: {{webhook: "{url}/hook"}}
"""


@pytest.fixture
def recorder(workbench: Workbench) -> Iterator[Recorder]:
    with open_recorder() as opened:
        (workbench.settings.project_dir / "orchestrator.yaml").write_text(PROJECT.format(url=opened.url))
        yield opened


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
