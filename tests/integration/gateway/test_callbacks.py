"""Addresses that a run hands out, and what the outside world answers there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door

from orchestrator.client import RunFailed
from orchestrator.security import tokens

FUNCTIONS = '''
import json
from pathlib import Path

from temporalio import activity


@activity.defn
async def send(params):
    """Hand an address to the outside world."""
    with (Path(__file__).parent / "sent.jsonl").open("a") as sent:
        sent.write(json.dumps(params) + "\\n")
'''
ONE = """
id: pay
steps:
  - {id: ask, type: function, config: {handler: send, params: {url: "{{ callback.paid.url }}", note: "go to {{ callback.paid.url }}"}}}
  - {id: hold, type: wait-for-event, config: {signal: go}}
  - {id: paid, type: wait-for-event, config: {callback: true, timeout: 1h}}
output: "{{ steps.paid.output.event.data }}"
"""
EACH = """
id: pay-each
steps:
  - id: each
    type: for-each
    config:
      items: 3
      concurrency: 3
      steps:
        - {id: ask, type: function, config: {handler: send, params: {index: "{{ loop.index }}", url: "{{ callback.paid.url }}"}}}
        - {id: paid, type: wait-for-event, config: {callback: true}}
output: "{{ steps.each.output | map('event') | map('data') }}"
"""


@pytest.fixture
async def open_gateway(temporal: temporalio.client.Client, tmp_path: Path) -> Any:
    (tmp_path / "activities").mkdir()
    (tmp_path / "activities" / "sending.py").write_text(FUNCTIONS)
    async with open_door(temporal, tmp_path, public_url="https://flows.example.com/") as door:
        yield door


async def sent(door: Door, count: int) -> list[dict[str, Any]]:
    """What the run has handed out, once it has."""
    file = door.settings.project_dir / "activities" / "sent.jsonl"
    for _ in range(400):
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            return [json.loads(line) for line in lines]
        await asyncio.sleep(0.025)
    raise AssertionError(f"{len(lines)} of {count} addresses were handed out")


def path_of(url: str) -> str:
    assert url.startswith("https://flows.example.com/v1/callbacks/")
    return url.removeprefix("https://flows.example.com")


async def test_an_answer_before_the_wait_is_kept_and_a_second_one_is_409(open_gateway: Door) -> None:
    await open_gateway.publish(ONE)
    run = await open_gateway.client.start("pay")
    [told] = await sent(open_gateway, 1)
    assert told["note"] == f"go to {told['url']}"
    first = await open_gateway.http.post(path_of(told["url"]), json={"amount": 7})
    assert (first.status_code, first.json()) == (202, {"accepted": True, "run_id": run.id})
    second = await open_gateway.http.post(path_of(told["url"]), json={"amount": 8})
    assert (second.status_code, second.json()["type"]) == (409, "urn:orchestrator:problem:conflict")
    await run.signal("go")
    assert await run.result(20) == {"amount": 7}
    late = await open_gateway.http.post(path_of(told["url"]), json={"amount": 9})
    assert late.status_code == 409
    assert "is over" in late.json()["detail"]


async def test_each_pass_of_a_loop_hands_out_its_own_address(open_gateway: Door) -> None:
    await open_gateway.publish(EACH)
    run = await open_gateway.client.start("pay-each")
    for told in await sent(open_gateway, 3):
        answer = await open_gateway.http.post(path_of(told["url"]), json=told["index"] * 10)
        assert answer.status_code == 202
    assert await run.result(20) == [0, 10, 20]


async def test_an_error_fails_the_waiting_step_and_a_retried_run_hands_out_what_reaches_it(open_gateway: Door) -> None:
    await open_gateway.publish(ONE)
    run = await open_gateway.client.start("pay")
    [told] = await sent(open_gateway, 1)
    answer = await open_gateway.http.post(
        path_of(told["url"]), json={"error": {"type": "declined", "message": "no funds"}}
    )
    assert answer.status_code == 202
    await run.signal("go")
    with pytest.raises(RunFailed, match="no funds"):
        await run.result(20)
    again = await open_gateway.client.retry(run.id)
    # The old address leads to the newest run of the chain.
    answer = await open_gateway.http.post(path_of(told["url"]), data={"amount": "7"})
    assert (answer.status_code, answer.json()["run_id"]) == (202, again.id)
    assert await again.result(20) == {"amount": "7"}


@pytest.mark.parametrize("token", ["x", "a.b", "%F0%9F%92%A9", "." * 5000])
async def test_an_address_that_is_none_of_ours_is_404(open_gateway: Door, token: str) -> None:
    answer = await open_gateway.http.post(f"/v1/callbacks/{token}", json={})
    assert answer.status_code == 404


async def test_nobody_else_can_make_an_address(open_gateway: Door) -> None:
    await open_gateway.publish(ONE)
    run = await open_gateway.client.start("pay")
    [told] = await sent(open_gateway, 1)
    said, _, signature = told["url"].rpartition("/")[2].partition(".")
    forged = tokens.sign(b"a guess", [run.id, "paid"])
    for token in (forged, f"{said}.", f"{said[:-2]}AA.{signature}", said):
        assert (await open_gateway.http.post(f"/v1/callbacks/{token}", json={})).status_code == 404
    malformed = await open_gateway.http.post(path_of(told["url"]), json={"error": "no"})
    assert malformed.status_code == 422
    await run.terminate()
