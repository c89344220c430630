"""A message that was accepted starts one run, whatever is killed meanwhile."""

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

from orchestrator.store.database import Store

MESSAGES = 300
DUPLICATES = 40
KILLED = (("gateway",), ("gateway", "worker"))
FLOW = """
id: take-job
triggers: [{type: queue, queue: jobs, inputs: {job: "{{ trigger.body.job }}"}}]
inputs: {job: integer}
steps:
  - {id: count, type: state, config: {increment: jobs}}
output: "{{ inputs.job }}"
"""


def launch(folder: Path, verb: str, address: str, port: str | None = None) -> Product:
    fixed = {} if port is None else {"ORCHESTRATOR_PORT": port}
    return launch_verb(folder, verb, TEMPORAL_ADDRESS=address, **fixed)


def again(folder: Path, running: dict[str, Product], verb: str, address: str) -> Product:
    """Kill what runs, if anything does, and start another in its place."""
    if verb not in running:
        return launch(folder, verb, address)
    product = running[verb]
    product.process.kill()
    product.process.wait()
    return launch(folder, verb, address, product.environment["ORCHESTRATOR_PORT"])


async def send(http: httpx.AsyncClient, job: int) -> None:
    """As a patient sender does: what was not answered is sent again."""
    while True:
        try:
            answer = await http.post(
                "/v1/queues/jobs/messages", json={"message": {"job": job}}, headers={"Idempotency-Key": f"job-{job}"}
            )
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code == 202:
            return
        assert answer.status_code == 503, answer.text
        await asyncio.sleep(0.2)


async def until_done(http: httpx.AsyncClient) -> None:
    for _ in range(600):
        [queue] = (await http.get("/v1/queues")).json()["queues"]
        if queue["waiting"] == 0:
            assert queue["dead"] == 0
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"messages wait: {queue}")


async def test_every_accepted_message_starts_one_run_though_gateway_and_worker_are_killed(tmp_path: Path) -> None:
    chance = random.Random(11)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "take-job.yaml").write_text(FLOW)
    (tmp_path / "orchestrator.yaml").write_text("queues:\n  jobs: {lease: 2s}\n")
    temporal, address = await asyncio.to_thread(start_temporal, tmp_path / "temporal.log")
    running: dict[str, Product] = {}

    async def put_up(*verbs: str) -> None:
        """Kill what runs of these, and start them."""
        started = await asyncio.gather(*(asyncio.to_thread(again, tmp_path, running, verb, address) for verb in verbs))
        running.update(zip(verbs, started, strict=True))

    try:
        await put_up("gateway", "worker")
        assert running["gateway"].cli("publish").returncode == 0
        jobs = [*range(MESSAGES), *chance.sample(range(MESSAGES), DUPLICATES)]
        chance.shuffle(jobs)
        async with httpx.AsyncClient(base_url=running["gateway"].settings.gateway_url, timeout=30) as http:
            room = asyncio.Semaphore(20)

            async def paced(job: int) -> None:
                async with room:
                    await send(http, job)

            sending = [asyncio.create_task(paced(job)) for job in jobs]
            for victims in KILLED:
                await asyncio.sleep(chance.uniform(0.1, 0.6))
                await put_up(*victims)
            await asyncio.gather(*sending)
            await until_done(http)
        client = await Client.connect(address)
        runs = [run.id async for run in client.list_workflows("WorkflowType = 'take-job'")]
        values = await asyncio.gather(*(client.get_workflow_handle(run).result() for run in runs))
        assert Counter(values) == Counter(range(MESSAGES))
        # The step that counted was attempted again where its worker died, and still counted each run once.
        assert await counted(tmp_path) == MESSAGES
    finally:
        for product in running.values():
            product.process.kill()
            product.process.wait()
        stop(temporal)


async def counted(folder: Path) -> Any:
    store = await Store.open(f"sqlite:///{folder / '.orchestrator' / 'store.db'}")
    try:
        return (await store.state.get("take-job", "jobs")).value
    finally:
        await store.aclose()
