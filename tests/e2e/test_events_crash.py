"""An event that was accepted reaches its flow once, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client
from tests.conftest import start_temporal, stop
from tests.e2e.product import Product, launch_verb

EVENTS = 120
DUPLICATES = 24
KILLS = 2
FLOW = """
id: on-order
triggers: [{type: event, event: order.placed, inputs: {order: "{{ trigger.body.order }}"}}]
inputs: {order: integer}
steps: [{id: keep, type: transform, config: {value: "{{ inputs.order }}"}}]
"""


def launch(folder: Path, verb: str, address: str, port: str | None = None) -> Product:
    fixed = {} if port is None else {"ORCHESTRATOR_PORT": port}
    return launch_verb(folder, verb, TEMPORAL_ADDRESS=address, **fixed)


async def send(http: httpx.AsyncClient, order: int) -> None:
    """As a patient sender does: what was not answered is sent again."""
    event = {"id": f"o-{order}", "source": "shop", "type": "order.placed", "data": {"order": order}}
    while True:
        try:
            answer = await http.post("/v1/events", json=event)
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code == 202:
            return
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.2)


async def outcomes(http: httpx.AsyncClient) -> dict[str, list[dict[str, Any]]]:
    """What became of every event, once all are routed."""
    for _ in range(1200):
        told = (await http.get("/v1/events", params={"limit": 500})).json()
        if told["waiting"] == 0 and len(told["events"]) == EVENTS:
            return {one["id"]: one["outcome"] for one in told["events"]}
        await asyncio.sleep(0.1)
    raise AssertionError(f"{told['waiting']} of {len(told['events'])} events wait")


async def test_every_accepted_event_starts_one_run_though_the_gateway_is_killed(tmp_path: Path) -> None:
    chance = random.Random(7)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "on-order.yaml").write_text(FLOW)
    temporal, address = await asyncio.to_thread(start_temporal, tmp_path / "temporal.log")
    worker = gateway = None
    try:
        gateway, worker = launch(tmp_path, "gateway", address), launch(tmp_path, "worker", address)
        assert gateway.cli("publish").returncode == 0
        orders = [*range(EVENTS), *chance.sample(range(EVENTS), DUPLICATES)]
        chance.shuffle(orders)
        async with httpx.AsyncClient(base_url=gateway.settings.gateway_url, timeout=30) as http:
            room = asyncio.Semaphore(20)

            async def paced(order: int) -> None:
                async with room:
                    await send(http, order)

            sending = [asyncio.create_task(paced(order)) for order in orders]
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                gateway.process.kill()
                gateway.process.wait()
                port = gateway.environment["ORCHESTRATOR_PORT"]
                gateway = await asyncio.to_thread(launch, tmp_path, "gateway", address, port)
            await asyncio.gather(*sending)
            became = await outcomes(http)
        started = [told["run_id"] for outcome in became.values() for told in outcome]
        assert len(started) == len(set(started)) == EVENTS
        client = await Client.connect(address)
        values: Counter[Any] = Counter()
        async for run in client.list_workflows("WorkflowType = 'on-order'"):
            values[await client.get_workflow_handle(run.id).result()] += 1
        assert values == Counter(range(EVENTS))
    finally:
        for product in (gateway, worker):
            if product is not None:
                product.process.kill()
                product.process.wait()
        stop(temporal)
