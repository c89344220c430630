"""Processes killed with SIGKILL: the run goes on where it was, and what was recorded does not run again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client
from tests.conftest import start_temporal, stop
from tests.e2e.product import Product, children_of, is_alive, run_of, waits_for

BODY = {"id": "content_123", "content": "테스트 메시지입니다", "user_id": "user_456"}


@pytest.fixture
def temporal_address(tmp_path: Path) -> Iterator[str]:
    """A Temporal server with a file of its own."""
    pragmas = ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"]
    process, address = start_temporal(
        tmp_path / "temporal.log", "--db-filename", str(tmp_path / "temporal.db"), *pragmas
    )
    yield address
    stop(process)


@pytest.fixture
def silent_claude() -> Iterator[str]:
    """A Claude stand-in that hears a question and does not answer while a test lasts."""
    command = [sys.executable, "-m", "orchestrator.testing.claude_stand_in", "--port", "0", "--delay", "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def until(what: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait for something to become true; how many seconds that took."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds, "it never came"
        time.sleep(0.05)
    return time.monotonic() - started


def step_status(product: Product, run_id: str, step: str) -> str | None:
    """The status of the first step whose path ends with ``step``."""
    steps = (run_of(product, run_id).get("state") or {}).get("steps", {})
    return next((record["status"] for path, record in steps.items() if path.endswith(step)), None)


def decide(product: Product, task_id: str) -> None:
    """Approve a task. Where no worker answered in time it is asked again: the first answer may count by then."""
    unanswered = False
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        url = f"{product.settings.gateway_url}/v1/tasks/{task_id}/decision"
        answer = httpx.post(url, json={"decision": "approve"}, timeout=30)
        if answer.status_code != 503:
            assert answer.status_code == 200 or (unanswered and answer.status_code == 409), answer.text
            return
        unanswered = True
    pytest.fail(f"task {task_id} could not be decided: {answer.text}")


def kill_all(product: Product) -> None:
    """SIGKILL to a product; returns when its children are gone too."""
    children = children_of(product.process.pid)
    product.stop(signal.SIGKILL)
    until(lambda: not any(is_alive(child) for child in children))


def attempts(address: str, run_id: str) -> dict[str, list[int]]:
    """Attempt numbers of every activity that completed, by its id, read from Temporal's history."""

    async def read() -> dict[str, list[int]]:
        handle = (await Client.connect(address)).get_workflow_handle(run_id)
        names: dict[int, str] = {}
        found: dict[str, list[int]] = {}
        async for event in handle.fetch_history_events():
            if event.HasField("activity_task_scheduled_event_attributes"):
                names[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
            if event.HasField("activity_task_started_event_attributes"):
                started = event.activity_task_started_event_attributes
                found.setdefault(names[started.scheduled_event_id], []).append(started.attempt)
        return found

    return asyncio.run(read())


def test_a_worker_killed_inside_a_step_repeats_that_step_alone(
    temporal_address: str, silent_claude: str, claude_url: str, launch: Callable[..., Product]
) -> None:
    shared = {"TEMPORAL_ADDRESS": temporal_address, "ANTHROPIC_API_KEY": "stand-in"}
    # No Slack is told: the killed worker's attempt would be one more to count.
    shared["ORCHESTRATOR_ENV_REVIEW_CHANNEL"] = ""
    # The first worker's Claude never answers: however slow this machine is, the worker dies inside the step.
    worker, gateway = launch("worker", ANTHROPIC_BASE_URL=silent_claude, **shared), launch("gateway", **shared)
    worker.wait_for("worker on task queue")
    gateway.wait_for("gateway on http")
    published = gateway.cli("publish")
    assert published.returncode == 0, published.stderr
    started = httpx.post(f"{gateway.settings.gateway_url}/api/webhooks/content", json=BODY, timeout=30)
    assert started.status_code == 202, started.text
    run_id = started.json()["run_id"]

    # A record says "running" before a worker has the step; Claude is asked only from inside it.
    until(lambda: bool(httpx.get(f"{silent_claude}/_stand_in/requests", timeout=30).json()))
    until(lambda: step_status(gateway, run_id, "receive") == "completed")
    worker.stop(signal.SIGKILL)
    second = launch("worker", ANTHROPIC_BASE_URL=claude_url, **shared)
    second.wait_for("worker on task queue")
    # "running" begins before the task is written; the run waits for a person only after that step's activity is over.
    until(lambda: waits_for(gateway, run_id, "review"))

    second.stop(signal.SIGKILL)
    third = launch("worker", ANTHROPIC_BASE_URL=claude_url, **shared)
    third.wait_for("worker on task queue")
    decide(gateway, f"{run_id}:moderation-decision/case[1]/review")
    until(lambda: run_of(gateway, run_id).get("status") == "completed")

    seen = attempts(temporal_address, run_id)
    assert seen["analyze"] == [2]
    assert {name: tries for name, tries in seen.items() if name != "analyze"} == {
        "receive": [1],
        "moderation-decision/case[1]/review": [1],
        "moderation-decision/case[1]/review#close": [1],
        "moderation-decision/case[1]/apply-review": [1],
    }


def test_a_run_that_waits_for_a_person_survives_the_loss_of_all_three_processes(
    claude_url: str, launch: Callable[..., Product]
) -> None:
    shared = {"ANTHROPIC_API_KEY": "stand-in", "ANTHROPIC_BASE_URL": claude_url}
    first = launch(**shared)
    first.wait_for("ready")
    started = httpx.post(f"{first.settings.gateway_url}/api/webhooks/content", json=BODY, timeout=30)
    run_id = started.json()["run_id"]
    until(lambda: waits_for(first, run_id, "review"))
    # Gateway and worker are this process; the Temporal server dies with it.
    kill_all(first)

    ports = {name: value for name, value in first.environment.items() if name.endswith("_PORT")}
    again = launch(**shared, **ports)
    again.wait_for("ready")
    decide(again, f"{run_id}:moderation-decision/case[1]/review")
    until(lambda: run_of(again, run_id).get("status") == "completed")
    assert run_of(again, run_id)["result"]["status"] == "approved"
