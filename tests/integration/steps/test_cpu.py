"""Functions marked ``@cpu``: real processes under a real worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from tests.integration.steps.one_step import PREAMBLE, Bench, open_bench

from orchestrator.errors import FlowInvalid
from orchestrator.steps.function.handlers import discover

FUNCTIONS = '''
from dataclasses import dataclass
from orchestrator.steps.function import cpu

@dataclass
class Order:
    id: str
    total: float

@activity.defn
@cpu
def score(order: Order, factor: int = 2) -> dict:
    print("to nobody")
    note(f"pid {os.getpid()}")
    return {"id": order.id, "score": order.total * factor, "tuple": (1, 2)}

@cpu
@activity.defn
def crunch(seconds):
    """Never lets go of the interpreter for others of its process."""
    note(f"pid {os.getpid()}")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return os.getpid()

@activity.defn
@cpu
def about():
    step = current_step()
    step.usage["tokens"] = 3
    return {"path": step.path, "key": step.idempotency_key, "secret": step.secrets.get("TOKEN")}

@activity.defn
@cpu
def fail(kind):
    if kind == "terminal":
        raise TerminalError("bad_order", f"no: {current_step().secrets.get('TOKEN')}", data={"why": "it"})
    if kind == "step":
        raise StepError("network_error", "busy", status=503, retry_after=0.01)
    if kind == "exit":
        raise SystemExit(3)
    return {"a set is no JSON": object()} if kind == "json" else 1 / 0

@activity.defn
@cpu
def die(attempts):
    note(f"attempt {current_step().attempt}")
    if current_step().attempt <= attempts:
        os.kill(os.getpid(), 9)
    return "alive"

@activity.defn
@cpu
def parent_of_sleep():
    import subprocess
    child = subprocess.Popen(["sleep", "60"])
    note(f"pid {child.pid}")
    child.wait()

@activity.defn
@cpu
def tell():
    step = current_step()
    step.report({"done": 3, "of": 10, "with": step.secrets.get("TOKEN")})
    while not (pathlib.Path(__file__).parent.parent / "go").exists():
        time.sleep(0.02)
    return "told"

@activity.defn
async def tick():
    await asyncio.sleep(0.01)
    return "ticked"
'''

FIXED = {"backoff": "fixed", "initial_interval": 0.01}


@pytest.fixture
async def bench(temporal: Client, tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(temporal, tmp_path, FUNCTIONS, secrets={"TOKEN": "s3cr3t-value"}, cpu_processes=2) as made:
        yield made


def pids(bench: Bench) -> list[int]:
    return noted(bench.settings.project_dir)


def noted(folder: Path) -> list[int]:
    log = folder / "calls.txt"
    return [int(line.split()[1]) for line in log.read_text().splitlines() if "pid " in line] if log.exists() else []


def lives(pid: int) -> bool:
    """Whether a process runs. One that ended and that nobody has asked about since does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    while lives(pid):
        await asyncio.sleep(0.02)


async def started(folder: Path) -> int:
    """The first process id that was noted."""
    while not noted(folder):
        await asyncio.sleep(0.02)
    return noted(folder)[0]


@pytest.mark.parametrize("local", [False, True], ids=["step", "express"])
async def test_it_runs_in_another_process_with_typed_arguments_and_gives_json(bench: Bench, local: bool) -> None:
    order = {"id": "a", "total": 21.0}
    assert (await bench.run("score", order, 3, local=local))["output"] == {"id": "a", "score": 63.0, "tuple": [1, 2]}
    assert pids(bench) != [os.getpid()]


async def test_processes_are_used_again(bench: Bench) -> None:
    for _ in range(3):
        await bench.run("score", {"id": "a", "total": 1})
    assert len(set(pids(bench))) == 1


async def test_two_compute_at_once_and_other_steps_go_on_meanwhile(bench: Bench) -> None:
    crunching = [asyncio.create_task(bench.run("crunch", 2)) for _ in range(3)]
    await started(bench.settings.project_dir)
    assert (await bench.run("tick"))["output"] == "ticked"
    assert not any(task.done() for task in crunching)
    used = {(await task)["output"] for task in crunching}
    assert len(used) == 2


async def test_it_knows_its_step_and_what_it_was_told_in_secret_stays_so(bench: Bench) -> None:
    result = await bench.run("about")
    assert result["usage"] == {"tokens": 3}
    assert result["output"]["path"] == "the-step"
    assert result["output"]["key"].endswith("/the-step#1")
    assert result["output"]["secret"] == "***"


async def test_what_it_reports_is_shown_while_it_runs_and_no_secret_with_it(bench: Bench) -> None:
    handle = await bench.start("tell")

    async def reported() -> Any:
        while True:
            pending = (await handle.describe()).raw_description.pending_activities
            for one in pending:
                for payload in one.heartbeat_details.payloads:
                    return json.loads(payload.data)
            await asyncio.sleep(0.05)

    assert await asyncio.wait_for(reported(), 60) == {"done": 3, "of": 10, "with": "***"}
    (bench.settings.project_dir / "go").touch()
    assert (await asyncio.wait_for(handle.result(), 60))["output"] == "told"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("terminal", {"type": "bad_order", "message": "no: ***", "data": {"why": "it"}, "retryable": False}),
        ("step", {"type": "network_error", "message": "busy", "status": 503, "retryable": True, "attempts": 2}),
        ("exit", {"type": "SystemExit", "retryable": True}),
        ("bug", {"type": "ZeroDivisionError", "message": "division by zero", "retryable": True}),
        ("json", {"type": "invalid_output", "retryable": False}),
    ],
)
async def test_what_it_raises_arrives_as_it_was_raised(bench: Bench, kind: str, told: dict[str, Any]) -> None:
    error = await bench.error("fail", kind, retry={"max_attempts": 2, **FIXED})
    assert {name: error[name] for name in told} == told


async def test_arguments_that_do_not_fit_are_refused_by_name(bench: Bench) -> None:
    error = await bench.error("score", {"id": "a", "total": "much"})
    assert error["type"] == "invalid_config"
    assert "order.total" in error["message"]


async def test_a_process_that_is_killed_is_an_attempt_that_is_made_again(bench: Bench) -> None:
    result = await bench.run("die", 2, retry={"max_attempts": 3, **FIXED}, attempts=10)
    assert result == {"output": "alive", "attempts": 3}


async def test_a_killed_process_says_so_and_at_most_once_means_it(bench: Bench) -> None:
    error = await bench.error("die", 9, retry={"max_attempts": 5, **FIXED}, attempts=10, at_most_once=True)
    assert (error["type"], error["attempts"], error["retryable"]) == ("worker_lost", 1, True)
    assert "ended in the middle of it: signal SIGKILL" in error["message"]
    assert bench.calls() == ["attempt 1"]


async def test_a_process_killed_between_two_steps_is_not_noticed(bench: Bench) -> None:
    await bench.run("score", {"id": "a", "total": 1})
    os.kill(pids(bench)[0], signal.SIGKILL)
    await gone(pids(bench)[0])
    await asyncio.sleep(0.2)
    assert (await bench.run("score", {"id": "b", "total": 1}))["attempts"] == 1


async def test_a_timeout_ends_the_process(bench: Bench) -> None:
    await bench.run("crunch", 0)
    error = await bench.error("crunch", 60, attempt_timeout=1, retry={"max_attempts": 1})
    assert error["type"] == "timeout"
    await asyncio.wait_for(gone(pids(bench)[0]), 10)


async def test_a_cancelled_step_ends_the_process_and_what_it_started(bench: Bench) -> None:
    handle = await bench.start("parent_of_sleep")
    pid = await started(bench.settings.project_dir)
    await handle.cancel()
    assert (await asyncio.wait_for(handle.result(), 15))["failed"] == "CancelledError"
    await asyncio.wait_for(gone(pid), 10)


async def test_a_worker_that_stops_leaves_no_process(temporal: Client, tmp_path: Path) -> None:
    async with open_bench(temporal, tmp_path, FUNCTIONS) as bench:
        await bench.run("score", {"id": "a", "total": 1})
    await asyncio.wait_for(gone(pids(bench)[0]), 10)


async def test_a_worker_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "activities").mkdir()
    (tmp_path / "activities" / "bench.py").write_text(PREAMBLE + FUNCTIONS)
    program = """
import asyncio, json, pathlib, sys
sys.path[:0] = json.loads(sys.argv[2])
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.steps.context import Resources, StepContext
from orchestrator.steps.function.handlers import discover
from orchestrator.steps.function.processes import Processes
root = pathlib.Path(sys.argv[1])
context = StepContext(path="s", step_id="s", step_type="function", source="f:1:1", flow="f", version="1", run_id="r",
    root_id="r", attempt=1, idempotency_key="k", settings=Settings(project_dir=root), project=Project(),
    secrets=Secrets({}), resources=Resources())
asyncio.run(Processes(1).run(discover(root / "activities")["crunch"], [60], context))
"""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path), json.dumps(sys.path))
    try:
        pid = await asyncio.wait_for(started(tmp_path), 30)
    finally:
        worker.kill()
        await worker.wait()
    await asyncio.wait_for(gone(pid), 10)


async def test_a_function_changed_under_the_worker_says_what_to_do(bench: Bench) -> None:
    (bench.settings.project_dir / "activities" / "bench.py").write_text("import nothing_like_this")
    error = await bench.error("score", {"id": "a", "total": 1})
    assert error["type"] == "unknown_function"
    assert "start the worker again" in error["message"]


def test_an_async_function_cannot_be_marked(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(
        PREAMBLE + "from orchestrator.steps.function import cpu\n@activity.defn\n@cpu\nasync def f(): ...\n"
    )
    with pytest.raises(FlowInvalid, match="marked @cpu and is an `async def`"):
        discover(tmp_path)
