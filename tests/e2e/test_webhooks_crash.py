"""What a webhook acknowledged is a started run, and the same delivery never starts two, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import random
import time
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from tests.conftest import free_port, start_temporal, stop
from tests.e2e.product import Product, launch_verb

DELIVERIES = int(os.environ.get("DELIVERIES", "200"))
"""`make chaos` sends 2,000."""
DUPLICATES = DELIVERIES // 5
SECONDS = 120 + DELIVERIES / 5
SECRET = "shared between both sides"
FLOW = """
id: take-payment
triggers: [{type: webhook, path: /pay, verify: {scheme: stripe, secret: PAY}}]
steps: [{id: count, type: state, config: {increment: taken, scope: project}}]
output: "{{ steps.count.output.value }}"
"""


async def deliver(http: httpx.AsyncClient, number: int, pace: asyncio.Semaphore) -> tuple[int, str]:
    """As a patient sender does: what was not acknowledged is sent again. The run that was answered."""
    body = json.dumps({"id": f"evt_{number}", "pending_webhooks": number % 3}).encode()
    async with pace:
        while True:
            moment = str(int(time.time()))
            mac = hmac.new(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
            try:
                answer = await http.post("/pay", content=body, headers={"Stripe-Signature": f"t={moment},v1={mac}"})
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code == 202:
                return number, answer.json()["run_id"]
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.1)


async def completed(address: str) -> dict[str, int]:
    """What each run counted, once as many as there are deliveries have ended well."""
    client = await Client.connect(address)
    query = "WorkflowType = 'take-payment'"
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        runs = [run async for run in client.list_workflows(query)]
        ended = [run for run in runs if run.status == WorkflowExecutionStatus.COMPLETED]
        if len(ended) >= DELIVERIES:
            return {run.id: await client.get_workflow_handle(run.id).result() for run in ended}
        await asyncio.sleep(0.5)
    raise AssertionError(f"{len(ended)} of {len(runs)} runs have ended")


@pytest.mark.timeout(SECONDS * 3)
async def test_acknowledged_deliveries_run_once_though_gateway_worker_and_temporal_are_killed(tmp_path: Path) -> None:
    chance = random.Random(11)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "take-payment.yaml").write_text(FLOW)
    port = free_port()
    database = ("--db-filename", str(tmp_path / "temporal.db"), "--sqlite-pragma", "journal_mode=WAL")
    temporal, address = await asyncio.to_thread(start_temporal, tmp_path / "temporal.log", *database, port=port)
    environment = {
        "TEMPORAL_ADDRESS": address, "ORCHESTRATOR_SECRET_PAY": SECRET, "ORCHESTRATOR_PORT": str(free_port()),
    }  # fmt: skip
    gateway = await asyncio.to_thread(launch_verb, tmp_path, "gateway", **environment)
    worker = await asyncio.to_thread(launch_verb, tmp_path, "worker", **environment)
    try:
        assert gateway.cli("publish").returncode == 0
        numbers = [*range(DELIVERIES), *chance.sample(range(DELIVERIES), DUPLICATES)]
        chance.shuffle(numbers)
        async with httpx.AsyncClient(base_url=gateway.settings.gateway_url, timeout=20) as http:
            pace = asyncio.Semaphore(16)
            sending = asyncio.gather(*(deliver(http, number, pace) for number in numbers))
            await asyncio.sleep(0.4)
            kill(gateway)
            kill(worker)
            gateway = await asyncio.to_thread(launch_verb, tmp_path, "gateway", **environment)
            await asyncio.sleep(0.2)
            assert not sending.done(), "everything had arrived before anything was killed"
            temporal.kill()
            temporal.wait()
            temporal, _ = await asyncio.to_thread(start_temporal, tmp_path / "temporal.log", *database, port=port)
            worker = await asyncio.to_thread(launch_verb, tmp_path, "worker", **environment)
            async with asyncio.timeout(SECONDS):
                answers = await sending
            runs = await completed(address)
        by_delivery: dict[int, set[str]] = {}
        for number, run in answers:
            by_delivery.setdefault(number, set()).add(run)
        assert all(len(answered) == 1 for answered in by_delivery.values())
        assert len(runs) == DELIVERIES
        assert set(runs) == {run for answered in by_delivery.values() for run in answered}
        assert sorted(runs.values()) == [*range(1, DELIVERIES + 1)]
    finally:
        kill(gateway)
        kill(worker)
        stop(temporal)


def kill(product: Product) -> None:
    product.process.kill()
    product.process.wait()
