"""``orchestrator up``: one command, one process group, files followed, nothing left behind."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from tests.e2e.product import Product, children_of, copy_project, fresh, is_alive

BROKEN = "id: hello\nsteps:\n  - id: greet\n    type: functon\n    config: {handler: greet}\n"
SLOW = """
id: slow
steps:
  - id: pause
    type: wait
    config: {duration: 3s}
output: done
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_is_no_error(launch: Callable[..., Product], number: signal.Signals) -> None:
    product = launch("up", fresh)
    product.wait_for("ready")
    group = children_of(product.process.pid)
    assert product.stop(number) == 0, product.said()
    assert "Traceback" not in product.said() and "error" not in product.said()
    assert [pid for pid in group if is_alive(pid)] == []


def test_a_killed_product_takes_its_temporal_server_with_it_and_its_runs_go_on_with_the_next(
    launch: Callable[..., Product],
) -> None:
    product = launch()
    (product.folder / "workflows" / "slow.yaml").write_text(SLOW, encoding="utf-8")
    product.wait_for("published flow slow")
    product.wait_for("ready")
    started = product.cli("run", "slow", "--run-id", "slow-1")
    assert started.returncode == 0, started.stderr
    group = children_of(product.process.pid)
    assert group
    product.stop(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in group):
        assert time.monotonic() < deadline, "the Temporal server outlived us"
        time.sleep(0.05)
    ports = {name: value for name, value in product.environment.items() if name.endswith("_PORT")}
    again = launch(**{name: value for name, value in ports.items() if name.startswith("ORCHESTRATOR_")})
    again.wait_for("ready")
    deadline = time.monotonic() + 60
    while True:
        shown = again.cli("runs", "show", "slow-1", "--json")
        if shown.returncode == 0 and json.loads(shown.stdout)["status"] == "completed":
            break
        assert time.monotonic() < deadline, shown.stdout + shown.stderr


@pytest.fixture(scope="module")
def without_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product that tests look at and leave as it was, started without a key."""
    running = Product(copy_project(tmp_path_factory.mktemp("watched")))
    running.wait_for("ready")
    yield running
    running.stop()


def test_a_changed_flow_counts_at_once_and_a_broken_one_is_shown_and_left_alone(without_key: Product) -> None:
    product = without_key
    hello = product.folder / "workflows" / "hello.yaml"
    good = hello.read_text(encoding="utf-8")
    hello.write_text(good.replace("Good to see you.", "Welcome back."), encoding="utf-8")
    product.wait_for("published flow hello 1.0.0+")
    ran = product.cli("run", "hello", "-i", "name=Ada", "--wait", "--json")
    assert json.loads(ran.stdout)["result"] == {"text": "Hello, Ada! Welcome back."}

    hello.write_text(BROKEN, encoding="utf-8")
    product.wait_for("hello.yaml:4:11")
    product.wait_for("function")
    ran = product.cli("run", "hello", "-i", "name=Ada", "--wait", "--json")
    assert json.loads(ran.stdout)["result"] == {"text": "Hello, Ada! Welcome back."}
    hello.write_text(good, encoding="utf-8")


def test_a_broken_project_file_is_shown_and_the_last_good_one_stays(without_key: Product) -> None:
    file = without_key.folder / "orchestrator.yaml"
    good = file.read_text(encoding="utf-8")
    file.write_text("databses: {}\n", encoding="utf-8")
    without_key.wait_for("orchestrator.yaml:1:1")
    assert httpx.get(f"{without_key.settings.gateway_url}/health", timeout=30).status_code == 200
    file.write_text(good, encoding="utf-8")


@pytest.mark.parametrize(
    "variable", ["ORCHESTRATOR_PORT", "ORCHESTRATOR_TEMPORAL_PORT", "ORCHESTRATOR_TEMPORAL_UI_PORT"]
)
def test_a_taken_port_is_one_sentence_that_names_the_variable(launch: Callable[..., Product], variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        product = launch(**{variable: port})
        assert product.process.wait(60) == 1
    said = product.said().strip().splitlines()[-1]
    assert variable in said and port in said
    assert "Traceback" not in product.said()


def test_gateway_and_worker_as_processes_of_their_own_serve_a_run(launch: Callable[..., Product]) -> None:
    embedded = launch()
    embedded.wait_for("ready")
    shared = {
        "TEMPORAL_ADDRESS": embedded.settings.address,
        "ORCHESTRATOR_STORE_URL": embedded.settings.store,
        "ORCHESTRATOR_TASK_QUEUE": "orchestrator-apart",
    }
    worker, gateway = launch("worker", fresh, **shared), launch("gateway", fresh, **shared)
    worker.wait_for("worker on task queue orchestrator-apart")
    gateway.wait_for("gateway on http")
    order = {"id": "A", "country": "KR", "lines": [{"sku": "book", "quantity": 1, "price": 5}]}
    answer = httpx.post(f"{gateway.settings.gateway_url}/api/webhooks/orders", json={"order": order}, timeout=30)
    assert answer.json()["decision"] == "accept", answer.text
    assert worker.stop() == 0
    assert gateway.stop() == 0


def test_without_a_key_a_stand_in_answers_for_claude_and_the_product_says_so(without_key: Product) -> None:
    product = without_key
    assert "stand-in" in product.said() and "ANTHROPIC_API_KEY is not set" in product.said()
    body = {"id": "c-1", "content": "테스트 메시지입니다", "user_id": "u-1"}
    started = httpx.post(f"{product.settings.gateway_url}/api/webhooks/content", json=body, timeout=30)
    deadline = time.monotonic() + 60
    while "review" not in (listed := product.cli("tasks", "list")).stdout:
        assert time.monotonic() < deadline, f"{started.text}\n{listed.stdout}{listed.stderr}"
