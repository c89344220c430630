"""What waits before a run starts (a batch, a debounce, a permit) outlives everything that holds it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from tests.conftest import free_port, start_temporal, stop
from tests.e2e.product import Product, launch_verb

READINGS = 22
"""Of two rooms in turn: the last batch of each is not full and waits."""
DOCUMENTS = ("a", "b", "c")
SAVES = 4
QUEUED = 5
SECONDS = 90.0
FLOWS = {
    "gathered": """
id: gathered
triggers: [{type: event, event: reading.taken, batch: {size: 4, max_wait: 2s, key: "{{ trigger.body.room }}"}, inputs: {all: "{{ trigger.body }}"}}]
inputs: {all: array}
steps: [{id: all, type: transform, config: {value: "{{ inputs.all }}"}}]
""",
    "settled": """
id: settled
triggers:
  - {type: webhook, path: /saved, debounce: {wait: 2s, key: "{{ trigger.body.doc }}"}, idempotency_key: "{{ trigger.body.doc }} {{ trigger.body.text }}"}
inputs: {doc: string, text: integer}
steps: [{id: seen, type: transform, config: {value: ["{{ inputs.doc }}", "{{ inputs.text }}"]}}]
""",
    "in-turn": """
id: in-turn
concurrency: {limit: 1, when_full: queue}
triggers: [{type: webhook, path: /queued, idempotency_key: "{{ trigger.body.number }}"}]
inputs: {number: integer}
steps: [{id: hold, type: wait, config: {duration: 300ms}}, {id: number, type: transform, config: {value: "{{ inputs.number }}"}}]
""",
}


async def send(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    """As a patient sender does: what was not acknowledged is sent again."""
    while True:
        try:
            answer = await http.post(path, json=body)
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if answer.status_code == 202:
            return
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.1)


async def send_share(http: httpx.AsyncClient, share: Callable[[int], bool]) -> None:
    """Send those of everything whose number ``share`` takes; the saves of a document one after the other."""

    async def saves(doc: str) -> None:
        for text in filter(share, range(SAVES)):
            await send(http, "/saved", {"doc": doc, "text": text})

    def reading(number: int) -> dict[str, Any]:
        data = {"room": "ab"[number % 2], "number": number}
        return {"id": f"r-{number}", "source": "house", "type": "reading.taken", "data": data}

    await asyncio.gather(
        *(send(http, "/v1/events", reading(number)) for number in filter(share, range(READINGS))),
        *(saves(doc) for doc in DOCUMENTS),
        *(send(http, "/queued", {"number": number}) for number in filter(share, range(QUEUED))),
    )


async def outputs(client: Client, flow: str, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """What the flow's runs gave, once they are enough and all of them have ended."""
    deadline = time.monotonic() + SECONDS
    found: list[Any] = []
    while time.monotonic() < deadline:
        runs = [run async for run in client.list_workflows(f"WorkflowType = '{flow}'")]
        ended = [run for run in runs if run.status == WorkflowExecutionStatus.COMPLETED]
        found = [await client.get_workflow_handle(run.id).result() for run in ended]
        if len(ended) == len(runs) and enough(found):
            return found
        await asyncio.sleep(0.3)
    raise AssertionError(f"{flow}: {found} of {len(runs)} runs")


@pytest.mark.timeout(SECONDS * 5)
async def test_batches_debounce_and_queued_runs_outlive_gateway_worker_and_temporal(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    for name, text in FLOWS.items():
        (tmp_path / "workflows" / f"{name}.yaml").write_text(text)
    port = free_port()
    database = ("--db-filename", str(tmp_path / "temporal.db"), "--sqlite-pragma", "journal_mode=WAL")
    temporal, address = await asyncio.to_thread(start_temporal, tmp_path / "temporal.log", *database, port=port)
    environment = {"TEMPORAL_ADDRESS": address, "ORCHESTRATOR_PORT": str(free_port())}
    running: list[Product] = []

    async def begin(verb: str) -> Product:
        running.append(await asyncio.to_thread(launch_verb, tmp_path, verb, **environment))
        return running[-1]

    try:
        gateway = await begin("gateway")
        worker = await begin("worker")
        assert gateway.cli("publish").returncode == 0
        async with httpx.AsyncClient(base_url=gateway.settings.gateway_url, timeout=20) as http:
            await send_share(http, lambda number: number % 2 == 0)
            # From here on nothing that is gathered, held or queued can end: what gathers it has nobody to run it.
            kill(worker)
            sending = asyncio.create_task(send_share(http, lambda number: number % 2 == 1))
            kill(gateway)
            temporal.kill()
            temporal.wait()
            temporal, _ = await asyncio.to_thread(start_temporal, tmp_path / "temporal.log", *database, port=port)
            await begin("gateway")
            async with asyncio.timeout(SECONDS):
                await sending
            await begin("worker")
        client = await Client.connect(address)
        batches = await outputs(client, "gathered", lambda found: sum(map(len, found)) >= READINGS)
        assert Counter(one["number"] for batch in batches for one in batch) == Counter(range(READINGS))
        assert all(len({one["room"] for one in batch}) == 1 and len(batch) <= 4 for batch in batches)
        last = {(doc, SAVES - 1) for doc in DOCUMENTS}
        texts = await outputs(client, "settled", lambda found: last <= {(doc, text) for doc, text in found})
        assert len(texts) == len({(doc, text) for doc, text in texts})
        numbers = await outputs(client, "in-turn", lambda found: len(found) >= QUEUED)
        assert sorted(numbers) == [*range(QUEUED)]
    finally:
        for product in running:
            kill(product)
        stop(temporal)


def kill(product: Product) -> None:
    product.process.kill()
    product.process.wait()
