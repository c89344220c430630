"""What a door answers where as many runs of a flow go on as it allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door

FLOW = """
id: {id}
concurrency: {{limit: 1, key: "{{{{ inputs.shop }}}}", when_full: {when_full}}}
triggers: [{{type: webhook, path: /{id}}}]
inputs: {{shop: string}}
steps: [{{id: work, type: wait-for-event, config: {{event: [webhook, api, stop]}}}}]
output: "{{{{ steps.work.output.event.data }}}}"
"""


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> Any:
    async with open_door(temporal, tmp_path) as opened:
        yield opened


async def test_a_full_flow_that_rejects_says_so_at_the_door_and_starts_nothing(door: Door) -> None:
    await door.publish(FLOW.format(id="one-each", when_full="reject"))
    first = await door.http.post("/one-each", json={"shop": "a"}, headers={"idempotency-key": "k1"})
    assert first.status_code == 202
    refused = await door.http.post("/one-each", json={"shop": "a"}, headers={"idempotency-key": "k2"})
    assert (refused.status_code, refused.json()["type"]) == (429, "urn:orchestrator:problem:concurrency_limit")
    assert first.json()["run_id"] in refused.json()["detail"]
    again = await door.http.post("/one-each", json={"shop": "a"}, headers={"idempotency-key": "k1"})
    assert again.json()["run_id"] == first.json()["run_id"]
    other = await door.http.post("/one-each", json={"shop": "b"})
    assert other.status_code == 202
    for answer in (first, other):
        await door.client.run(answer.json()["run_id"]).deliver({"type": "stop"})
        await door.client.run(answer.json()["run_id"]).result(20)
    for _ in range(100):
        late = await door.http.post("/one-each", json={"shop": "a"}, headers={"idempotency-key": "k2"})
        if late.status_code == 202:
            break
    assert late.status_code == 202, "a refused delivery may be sent again"
    await door.client.run(late.json()["run_id"]).terminate()


async def test_a_delivery_that_joins_is_answered_with_the_run_that_goes_on_and_gets_it(door: Door) -> None:
    await door.publish(FLOW.format(id="joined", when_full="join"))
    first = await door.client.start("joined", {"shop": "a"})
    for _ in range(100):
        if (await first.state())["waits"]:
            break
    second = await door.http.post("/joined", json={"shop": "a", "more": 1})
    assert (second.status_code, second.json()["run_id"]) == (202, first.id)
    assert await first.result(20) == {"shop": "a", "more": 1}


async def test_without_a_worker_a_door_says_that_nobody_answers(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    async with open_door(temporal, tmp_path, working=False) as idle:
        await idle.publish(FLOW.format(id="idle", when_full="reject"))
        answer = await idle.http.post("/idle", json={"shop": "a"}, timeout=30)
        assert answer.status_code == 503
