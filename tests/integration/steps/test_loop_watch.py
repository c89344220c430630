"""Functions that hold up the worker's event loop are named in its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from tests.integration.steps.one_step import Bench, open_bench

from orchestrator.steps.function.loop_watch import LoopWatch

FUNCTIONS = """
import json

@activity.defn
async def block(seconds):
    json.dumps({"own code": "before"})
    inner(seconds)

def inner(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass

@activity.defn
async def gather(seconds):
    async def part():
        time.sleep(seconds)
    await asyncio.gather(part(), asyncio.sleep(0))

@activity.defn
async def wait(seconds):
    await asyncio.sleep(seconds)

@activity.defn
def in_thread(seconds):
    time.sleep(seconds)
"""


@pytest.fixture
async def bench(temporal: Client, tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(temporal, tmp_path, FUNCTIONS) as made:
        yield made


@pytest.fixture
async def watch() -> AsyncIterator[LoopWatch]:
    watching = LoopWatch(asyncio.get_running_loop())
    yield watching
    watching.stop()


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "has not moved" in record.getMessage()]


async def test_a_function_that_blocks_is_named_with_its_step_and_place(
    bench: Bench, watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.run("block", 2)
    (told,) = named(caplog)
    assert "inner (step the-step of run one-" in told
    assert f"is busy at {bench.settings.project_dir / 'activities' / 'bench.py'}:" in told
    assert "plain `def`" in told


async def test_so_is_one_that_blocks_in_a_task_of_its_own(
    bench: Bench, watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.run("gather", 2)
    (told,) = named(caplog)
    assert "part is busy at" in told


async def test_a_function_is_named_once_and_not_each_time(
    bench: Bench, watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await bench.run("block", 1.7)
    assert len(named(caplog)) == 1


async def test_functions_that_wait_or_run_in_threads_are_not_named(
    bench: Bench, watch: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.gather(bench.run("wait", 2), bench.run("in_thread", 2), bench.run("block", 0.3))
    assert named(caplog) == []
