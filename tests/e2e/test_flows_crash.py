"""Every example flow ends as it should though the worker, the gateway and Temporal are killed while they run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.conftest import free_port, start_temporal, stop
from tests.e2e.example_services import Services, copy_house
from tests.e2e.flows.test_ml_training import ModelServer
from tests.e2e.product import Product, launch_verb, run_of

Json = Any
SECONDS = 280.0
"""Bounds what takes a minute on an idle machine."""
KILLS = ("worker", "gateway", "worker", "temporal", "worker")
EVENTS = {
    "user_registered": {"user_id": "u-9", "email": "u-9@example.com", "timestamp": "2026-03-01T09:00:00Z"},
    "payment_completed": {"transaction_id": "t-1", "amount": 20, "user_id": "u-9"},
}
FLOWS = Path(__file__).parents[2] / "workflows"
CUSTOMER = "kim@acme.example"
OVER = {"completed", "failed", "cancelled", "timed_out", "terminated"}


class House:
    """Temporal on a file, gateway and worker as processes of their own, and a person who agrees to everything."""

    def __init__(self, folder: Path, services: Services, claude: str) -> None:
        copy_house(folder, services)
        self.folder = folder
        self._temporal_port = free_port()
        self._environment = {
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self._temporal_port}",
            "ORCHESTRATOR_PORT": str(free_port()),
            "ANTHROPIC_API_KEY": "stand-in",
            "ANTHROPIC_BASE_URL": claude,
        }
        self._temporal = self._start_temporal()
        self.gateway, self.worker = self._launch("gateway"), self._launch("worker")
        self.url = self.gateway.settings.gateway_url
        published = self.gateway.cli("publish")
        assert published.returncode == 0, published.stderr
        self.last_answer = "nobody was asked"
        """What the person was told last."""
        self._over = threading.Event()
        self._person = threading.Thread(target=self._decide)
        self._person.start()

    def kill(self, what: str) -> None:
        """SIGKILL, and a fresh one in its place."""
        if what == "temporal":
            self._temporal.kill()
            self._temporal.wait()
            self._temporal = self._start_temporal()
            return
        product: Product = getattr(self, what)
        product.process.send_signal(signal.SIGKILL)
        product.process.wait()
        setattr(self, what, self._launch(what))

    def post(self, path: str, body: Json) -> Json:
        """As a patient sender does: what was not acknowledged is sent again with the same key."""
        headers = {"Idempotency-Key": uuid4().hex}
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            try:
                answer = httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=60)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.status_code < 300:
                return answer.json()
            assert answer.status_code == 503, answer.text
            time.sleep(0.2)
        raise AssertionError(f"{path} never answered")

    def start(self, flow: str, inputs: Json) -> str:
        """Start a run over the API; its id."""
        return str(self.post(f"/v1/flows/{flow}/runs", {"inputs": inputs})["run_id"])

    def deliver(self, path: str, body: Json) -> str:
        """Start a run at its webhook; its id."""
        return str(self.post(path, body)["run_id"])

    def ended(self, run_id: str) -> Json:
        """The run, once it is over."""
        deadline = time.monotonic() + SECONDS
        while (run := run_of(self.gateway, run_id)).get("status") not in OVER:
            assert time.monotonic() < deadline, (
                f"{run_id} is {run.get('status')}; {self.last_answer}; {run.get('state')}"
            )
            time.sleep(0.3)
        return run

    def close(self) -> None:
        self._over.set()
        self._person.join(60)
        for product in (self.gateway, self.worker):
            product.process.kill()
            product.process.wait()
        stop(self._temporal)

    def _start_temporal(self) -> subprocess.Popen[bytes]:
        database = ("--db-filename", str(self.folder / "temporal.db"), "--sqlite-pragma", "journal_mode=WAL")
        return start_temporal(self.folder / "temporal.log", *database, port=self._temporal_port)[0]

    def _launch(self, verb: str) -> Product:
        return launch_verb(self.folder, verb, **self._environment)

    def _decide(self) -> None:
        """Agree to every task that opens: approve where that is a choice, else the first one there is."""
        while not self._over.wait(0.3):
            try:
                tasks = httpx.get(f"{self.url}/v1/tasks", params={"status": "open"}, timeout=30).json().get("tasks", [])
                for task in tasks:
                    names = [one["name"] for one in task["decisions"]]
                    decision = "approve" if "approve" in names else names[0]
                    body = {"decision": decision, "by": "kim", "comment": "fine"}
                    answer = httpx.post(f"{self.url}/v1/tasks/{task['id']}/decision", json=body, timeout=30)
                    self.last_answer = answer.text
            except (httpx.TransportError, ValueError):
                continue


@contextmanager
def claude_stand_in(flows: Path) -> Iterator[str]:
    """A Claude stand-in with the flows' own scripts; its URL."""
    command = [sys.executable, "-m", "orchestrator.testing.claude_stand_in", "--port", "0", "--script", str(flows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    started = Services()
    yield started
    started.stop()


@pytest.fixture
def house(tmp_path: Path, services: Services) -> Iterator[House]:
    with claude_stand_in(FLOWS) as claude:
        opened = House(tmp_path, services, claude)
        yield opened
        opened.close()


@pytest.fixture
def models(house: House) -> Iterator[str]:
    """URL of the server of what ml-training deploys."""
    server = ModelServer(house.gateway)
    yield server.url
    server.stop()


def begin(house: House, services: Services, models: str) -> dict[str, str]:
    """One run of every example that needs no day to end; ids by what they are about."""
    region = ["--folder", str(house.folder), "--region", "north", "--rows", "40"]
    subprocess.run([sys.executable, str(FLOWS / "etl" / "sample_data.py"), *region], check=True, timeout=60)
    httpx.put(f"{services.url}/operations/services/shop", json={"ailment": "bad-release"}, timeout=30)
    alert = {"id": "alert-1", "service": "shop", "summary": "too many errors"}
    article = {
        "content": "Deploys on Friday are fine. Practise them.",
        "link": "https://example.com/a",
        "schedule": "now",
    }
    order = {"id": "o-1", "email": "o-1@example.com", "lines": [{"sku": "book", "quantity": 2}]}
    return {
        "order": house.deliver("/api/webhooks/shop-orders", {"order": order}),
        "article": house.deliver("/api/webhooks/articles", article),
        "incident": house.deliver("/api/webhooks/alerts", {"alert": alert, "check_every": "200ms"}),
        "content": house.deliver(
            "/api/webhooks/content", {"id": "c-1", "content": "테스트 메시지입니다", "user_id": "u-1"}
        ),
        "customer": house.deliver(
            "/api/webhooks/new-customer",
            {"customer": {"email": CUSTOMER, "company": "Acme Books", "plan": "team", "country": "KR"}},
        ),
        "pipeline": house.start("etl-pipeline", {"region": "north", "partition_rows": 15}),
        "training": house.start(
            "ml-training", {"name": "crashed", "server": models, "search": {"trials": 1, "folds": 2}}
        ),
        "research": house.start("multi-agent-research", {"research_topic": "Do street trees cool cities?"}),
        "parallel": house.start("pattern-parallel", {}),
        "caching": house.start("pattern-caching", {"amount": 1, "currency": "KRW"}),
        "lazy": house.start("pattern-lazy-loading", {"customer": "kim-7", "total": 5000}),
        "timeouts": house.start("pattern-timeouts", {"job": "job-1", "month": "2026-02"}),
        "hello": house.start("hello", {"name": "Ada"}),
    }


@pytest.mark.timeout(SECONDS * 2)
def test_every_example_ends_well_and_nothing_counts_twice(house: House, services: Services, models: str) -> None:
    chance = random.Random(5)
    runs = begin(house, services, models)
    for kind, data in EVENTS.items():
        house.post("/v1/events", {"id": kind, "source": "shop", "type": kind, "data": data})
    for what in KILLS:
        time.sleep(chance.uniform(0.2, 1.2))
        house.kill(what)
    ends = {name: house.ended(run_id) for name, run_id in runs.items()}
    assert {name: run["status"] for name, run in ends.items()} == dict.fromkeys(runs, "completed")
    results = {name: run["result"] for name, run in ends.items()}

    book = httpx.get(f"{services.url}/shop/orders/o-1", timeout=30).json()
    assert (book["stock"], book["charged"], book["refunded"]) == ("reserved", 2500, 0)
    posts = httpx.get(f"{services.url}/publishing/posts", params={"campaign": runs["article"]}, timeout=30).json()
    assert sorted(post["platform"] for post in posts["posts"]) == ["blog", "linkedin", "twitter"]
    assert results["incident"]["outcome"] == "resolved"
    assert httpx.get(f"{services.url}/operations/services/shop", timeout=30).json()["release"] == 41
    assert results["content"]["status"] == "approved"
    known = httpx.get(f"{services.url}/customers/{CUSTOMER}", timeout=30).json()
    assert known == {"account": True, "subscription": True, "status": "onboarded"}
    # 40 rows of the stores, 40 of the old books; two bookings are cancelled.
    assert (results["pipeline"]["summary"]["read"], results["pipeline"]["summary"]["loaded"]) == (80, 78)
    assert results["training"]["deployed"], results["training"]["because"]
    assert results["research"]["report"]["sections"]
    handlers = wait_for(lambda: routed(house))
    assert handlers.keys() == {"update-subscription", "send-receipt", "unlock-features"}
    assert {house.ended(run_id)["status"] for run_id in handlers.values()} == {"completed"}


def routed(house: House) -> dict[str, str]:
    """The runs that the payment started, by flow, once it has reached everybody."""
    shown = httpx.get(f"{house.url}/v1/events", params={"type": "payment_completed"}, timeout=30).json()["events"]
    return {one["flow"]: one["run_id"] for event in shown if event["routed_at"] for one in event["outcome"]}


def wait_for(look: Callable[[], dict[str, str]]) -> dict[str, str]:
    deadline = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "the event reached nobody"
        time.sleep(0.3)
    return found
