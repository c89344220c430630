"""Every flow of workflows/ runs from its door to its result."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e.product import ROOT, Product, waits_for

from orchestrator.client import Client

Json = Any

TESTS_ENDING = ".test.yaml"
"""Files of a flow's own tests, which are no flows."""


def run_json(product: Product, *arguments: str) -> Json:
    """The result of a flow that completes."""
    done = product.cli("run", *arguments, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["result"]


def deliver(product: Product, path: str, body: Json) -> httpx.Response:
    return httpx.post(f"{product.settings.gateway_url}{path}", json=body, timeout=30)


def rows(product: Product, query: str, *values: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(product.folder / ".orchestrator" / "content.db")
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


@pytest.fixture
def service() -> Iterator[str]:
    """A service that is well."""

    class Well(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Well)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/health"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_example_is_run_by_a_test_here_or_in_a_file_named_after_it() -> None:
    tested = {"content-moderation", "hello", "order-check", "service-check"}
    tested |= {"multi-agent-research", "research-coordinator"}  # test_examples_research.py
    named = {path.stem for path in (Path(__file__).parent / "flows").glob("test_*.py")}
    examples = [path for path in (ROOT / "workflows").rglob("*.yaml") if not path.name.endswith(TESTS_ENDING)]
    lost = [path.stem for path in examples if path.stem not in tested and not _test_files(path) & named]
    assert len(examples) >= len(tested)
    assert lost == []


def _test_files(flow: Path) -> set[str]:
    """The test files that may run a flow: one of its own, or that of the folder it is in."""
    return {f"test_{name.replace('-', '_')}" for name in (flow.stem, flow.parent.name)}


def test_every_example_is_valid_without_a_warning(product: Product) -> None:
    checked = product.cli("validate", "--json")
    assert checked.returncode == 0
    reports = json.loads(checked.stdout)
    assert reports
    assert [report for report in reports if report["problems"]] == []


def test_hello_greets_by_name_and_in_the_language_asked_for(product: Product) -> None:
    assert run_json(product, "hello", "-i", "name=Ada") == {"text": "Hello, Ada! Good to see you."}
    assert run_json(product, "hello", "-i", "language=ko") == {"text": "world님, 안녕하세요!"}


@pytest.mark.parametrize(
    ("order", "decision", "total", "risk"),
    [
        ({"id": "A", "country": "KR", "lines": [{"sku": "book", "quantity": 2, "price": 12.5}]}, "accept", 25.0, 0.0),
        ({"id": "B", "country": "US", "lines": [{"sku": "ring", "quantity": 30, "price": 40}]}, "hold", 1200.0, 0.95),
    ],
)
def test_order_check_answers_the_caller_with_its_decision(
    product: Product, order: Json, decision: str, total: float, risk: float
) -> None:
    answer = deliver(product, "/api/webhooks/orders", {"order": order})
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["decision"], result["total"], result["risk"]) == (decision, total, risk)


def test_service_check_survives_a_service_that_is_down(product: Product, service: str) -> None:
    down = "http://127.0.0.1:1/health"
    arguments = ("service-check", "-i", f"primary={service}", "-i")
    assert run_json(product, *arguments, f"secondary={down}") == {
        "verdict": "degraded",
        "primary": 200,
        "secondary": None,
    }
    assert run_json(product, *arguments, f"secondary={service}")["verdict"] == "healthy"


@pytest.mark.parametrize(
    ("content", "status", "flagged"),
    [("오늘 날씨가 참 좋네요", "approved", 0), ("도박 사이트로 오세요", "flagged", 1)],
)
def test_content_moderation_decides_clear_cases_by_itself(
    product: Product, content: str, status: str, flagged: int
) -> None:
    body = {"id": f"content-{status}", "content": content, "user_id": "user_456"}
    started = deliver(product, "/api/webhooks/content", body)
    assert started.status_code == 202, started.text

    async def result() -> Json:
        async with await Client.connect(product.settings) as client:
            return await client.run(started.json()["run_id"]).result(30)

    assert asyncio.run(result())["status"] == status
    assert rows(product, "SELECT status FROM content WHERE id = ?", body["id"]) == [(status,)]
    assert len(rows(product, "SELECT 1 FROM flagged_content WHERE content_id = ?", body["id"])) == flagged


@pytest.mark.parametrize(("verb", "status"), [("approve", "approved"), ("reject", "rejected")])
def test_content_moderation_asks_a_person_where_claude_is_unsure(product: Product, verb: str, status: str) -> None:
    body = {"id": f"unsure-{verb}", "content": "테스트 메시지입니다", "user_id": "user_456"}
    run_id = deliver(product, "/api/webhooks/content", body).json()["run_id"]
    task = wait_for_task(product, run_id)
    assert task["assignee"] == "content-team"
    decided = product.cli("tasks", verb, task["id"], "--by", "ada")
    assert decided.returncode == 0, decided.stderr
    again = product.cli("tasks", verb, task["id"], "--by", "bob")
    assert again.returncode == 2, "a second answer is refused"

    async def result() -> Json:
        async with await Client.connect(product.settings) as client:
            return await client.run(run_id).result(30)

    assert asyncio.run(result())["status"] == status
    assert rows(product, "SELECT status, reviewed_by FROM content WHERE id = ?", body["id"]) == [(status, "ada")]


def wait_for_task(product: Product, run_id: str) -> Json:
    """The open task of a run, as soon as the run waits for its decision, which is a moment after it is listed."""
    for _ in range(200):
        if not waits_for(product, run_id, "review"):
            time.sleep(0.1)
            continue
        listed = product.cli("tasks", "list", "--run", run_id, "--json")
        assert listed.returncode == 0, listed.stderr
        tasks = json.loads(listed.stdout)
        if tasks:
            return tasks[0]
    pytest.fail(f"run {run_id} never asked a person")
