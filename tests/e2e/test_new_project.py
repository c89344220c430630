"""A project that ``orchestrator init`` has just made, under ``orchestrator up``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.e2e.product import Product, run_of, waits_for

LONG = 60


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The new project, running."""
    folder = tmp_path_factory.mktemp("new") / "shop"
    made = subprocess.run(
        [sys.executable, "-m", "orchestrator", "init", str(folder)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    product = Product(folder)
    product.wait_for("ready")
    yield product
    product.stop()


def run_id_of(product: Product, body: dict[str, object]) -> str:
    """The run that the project's webhook starts."""
    answer = httpx.post(f"{product.settings.gateway_url}/api/webhooks/expenses", json=body, timeout=30)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


def test_its_function_decides_small_expenses(started: Product) -> None:
    ran = started.cli(
        "run", "expense", "-i", "employee=Ada", "-i", "amount=40", "-i", "purpose=books", "--wait", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["result"] == {"approved": True, "by": "the rules", "reason": "40 is at most 100"}


def test_a_large_expense_from_its_webhook_waits_for_a_person(started: Product) -> None:
    run_id = run_id_of(started, {"employee": "Ada", "amount": 1200, "purpose": "a chair"})
    deadline = time.monotonic() + LONG
    while not waits_for(started, run_id, "approval"):
        assert time.monotonic() < deadline, started.said()
        time.sleep(0.1)
    listed = json.loads(started.cli("tasks", "list", "--json").stdout)
    task = next(task for task in listed if task["run_id"] == run_id)
    assert (task["title"], task["assignee"]) == ("Ada spent 1200 on a chair", "finance")
    assert started.cli("tasks", "approve", task["id"], "--by", "grace").returncode == 0
    deadline = time.monotonic() + LONG
    while (run_of(started, run_id).get("state") or {}).get("status") != "completed":
        assert time.monotonic() < deadline, started.said()
        time.sleep(0.1)
    assert run_of(started, run_id)["result"]["by"] == "grace"


def test_it_holds_only_what_it_needs(started: Product) -> None:
    written = {path.name for path in Path(started.folder).iterdir()}
    assert {"workflows", "activities", "orchestrator.yaml", "README.md", ".gitignore"} <= written
    assert "error" not in started.said() and "warning" not in started.said()
