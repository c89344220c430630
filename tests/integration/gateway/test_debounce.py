"""Triggers with `debounce`: webhook, event and api deliveries that follow each other start one run with the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.gateway.conftest import Door

from orchestrator.worker import FlowWorker

FLOW = """
id: {id}
triggers:
  - {{type: webhook, path: /saved, debounce: {{wait: 1s, key: "{{{{ trigger.body.doc }}}}"}},
     idempotency_key: "{{{{ trigger.body.delivery | default('') }}}}"}}
  - {{type: event, event: doc.saved, debounce: {{wait: 1s, max_wait: 5m, key: "{{{{ trigger.body.doc }}}}"}}}}
  - {{type: api, debounce: {{wait: 1s}}}}
inputs: {{doc: string, text: {{type: integer}}}}
steps: [{{id: seen, type: transform, config: {{value: "{{{{ inputs.text }}}}"}}}}]
"""


@asynccontextmanager
async def working(door: Door) -> AsyncIterator[None]:
    """Only from here on does time pass for what is held: however slow the deliveries were, none came too late."""
    async with FlowWorker(door.settings, door.client.temporal, door.store, lambda: door.project):
        yield


async def publish(door: Door) -> str:
    """A flow of this test's own: they share a Temporal server."""
    flow = f"settled-{uuid4().hex[:8]}"
    await door.publish(FLOW.format(id=flow))
    return flow


async def runs(door: Door, flow: str, count: int) -> list[str]:
    """Ids of the flow's runs, once there are so many."""
    for _ in range(1200):
        found = [run.id for run in await door.client.runs(flow)]
        if len(found) >= count:
            return sorted(found)
        await asyncio.sleep(0.05)
    raise AssertionError(f"{found} instead of {count} runs")


async def post(door: Door, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await door.http.post(path, json=body)
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_webhooks_last_delivery_starts_the_run_for_each_key(idle: Door) -> None:
    flow = await publish(idle)
    told = [await post(idle, "/saved", {"doc": "a", "text": number}) for number in range(3)]
    other = await post(idle, "/saved", {"doc": "b", "text": 9})
    assert told[-1]["held_for"] == 1.0
    async with working(idle):
        assert await runs(idle, flow, 2) == sorted([told[-1]["run_id"], other["run_id"]])
        assert await idle.client.run(told[-1]["run_id"]).result(30) == 2
    assert (await idle.http.get(f"/v1/runs/{told[0]['run_id']}")).status_code == 404


async def test_a_delivery_that_no_run_could_start_with_takes_nobodys_place(idle: Door) -> None:
    flow = await publish(idle)
    good = await post(idle, "/saved", {"doc": "a", "text": 1})
    bad = await idle.http.post("/saved", json={"doc": "a", "text": "many"})
    assert bad.status_code == 422
    await idle.publish(
        FLOW.format(id=f"{flow}-pages").replace("/saved", "/printed").replace("body.doc }", "body.page }")
    )
    nowhere = await idle.http.post("/printed", json={"doc": "a", "text": 1})
    assert (nowhere.status_code, nowhere.json()["errors"][0]["field"]) == (422, "debounce.key")
    async with working(idle):
        assert await runs(idle, flow, 1) == [good["run_id"]]


async def test_the_same_delivery_again_changes_nothing_also_after_its_run(idle: Door) -> None:
    flow = await publish(idle)
    first = await post(idle, "/saved", {"doc": "a", "text": 1, "delivery": "d1"})
    second = await post(idle, "/saved", {"doc": "a", "text": 2, "delivery": "d2"})
    assert await post(idle, "/saved", {"doc": "a", "text": 1, "delivery": "d1"}) == first
    async with working(idle):
        assert await runs(idle, flow, 1) == [second["run_id"]]
        assert await idle.client.run(second["run_id"]).result(30) == 2
        assert await post(idle, "/saved", {"doc": "a", "text": 1, "delivery": "d1"}) == first
        assert await post(idle, "/saved", {"doc": "a", "text": 2, "delivery": "d2"}) == second
        third = await post(idle, "/saved", {"doc": "a", "text": 3, "delivery": "d3"})
        assert await runs(idle, flow, 2) == sorted([second["run_id"], third["run_id"]])
    other = await idle.http.post("/saved", json={"doc": "a", "text": 7, "delivery": "d1"})
    assert other.status_code == 422


async def test_the_last_event_starts_the_run(idle: Door) -> None:
    flow = await publish(idle)
    for number in range(3):
        event = {"specversion": "1.0", "id": f"e{number}", "source": "/docs", "type": "doc.saved"}
        answer = await idle.http.post(
            "/v1/events",
            json=event | {"data": {"doc": "a", "text": number}},
            headers={"Content-Type": "application/cloudevents+json"},
        )
        assert answer.status_code == 202, answer.text
        for _ in range(1200):
            kept = (await idle.http.get("/v1/events", params={"type": "doc.saved"})).json()["events"]
            if all(one["routed_at"] for one in kept):
                break
            await asyncio.sleep(0.05)
    async with working(idle):
        [run] = await runs(idle, flow, 1)
        assert await idle.client.run(run).result(30) == 2
    assert run in {told["run_id"] for one in kept for told in one["outcome"]}


async def test_a_start_over_the_api_waits_too_unless_it_asks_for_more_than_inputs(idle: Door) -> None:
    flow = await publish(idle)
    path = f"/v1/flows/{flow}/runs"
    mine = f"mine-{flow}"
    now = await post(idle, path, {"inputs": {"doc": "a", "text": 0}, "run_id": mine})
    assert "held_for" not in now
    told = [await post(idle, path, {"inputs": {"doc": "a", "text": number}}) for number in (1, 2)]
    async with working(idle):
        assert await runs(idle, flow, 2) == sorted([mine, told[-1]["run_id"]])
        assert await idle.client.run(told[-1]["run_id"]).result(30) == 2


@pytest.mark.parametrize(
    ("trigger", "why"),
    [
        ("{type: webhook, path: /x, respond: result, debounce: {wait: 1s}}", "whether a run starts is not known yet"),
        ("{type: event, event: a, delay: 1m, debounce: {wait: 1s}}", "`batch` and `delay` do not go with it"),
        ("{type: webhook, path: /x, debounce: {wait: 1m, max_wait: 1s}}", "`max_wait` is shorter than `wait`"),
        ("{type: webhook, path: /x, debounce: {wait: 1s, key: '{{ inputs.a }}'}}", "inputs"),
        ("{type: webhook, path: /x, debounce: {wait: 0s}}", "wait"),
        ("{type: queue, queue: q, debounce: {wait: 1s}}", "unknown key `debounce`"),
    ],
)
async def test_a_rule_that_could_not_work_is_refused(idle: Door, trigger: str, why: str) -> None:
    text = (
        f"id: f\ntriggers: [{trigger}]\ninputs: {{a: {{default: 1}}}}\nsteps: [{{type: wait, config: {{duration: 1}}}}]"
    )
    answer = await idle.http.post("/v1/flows", content=text, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 422
    assert why in answer.text
