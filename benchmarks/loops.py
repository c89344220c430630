"""Loops, as flows and hand-written with the same connection: time per pass by quarter, history, continue-as-new."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from benchmarks import handwritten
from benchmarks.flows import CONCURRENCIES
from benchmarks.load import middle
from benchmarks.report import BASE, Row
from benchmarks.servers import Bench, Host, cpu_seconds, open_bench, open_host
from orchestrator import admission
from orchestrator.client import Client
from orchestrator.devserver.connect import connected

VARIANTS = {BASE: "tuned-worker", "flow": "flow-worker"}
PASSES = (100, 1_000)
MANY_PASSES = 10_000
"""Measured in the first round alone: some minutes each."""
ITEMS = 200
RUNS = 5
WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Side:
    """One variant being measured."""

    variant: str
    bench: Bench
    host: Host
    client: Client

    async def count_up(self, times: int) -> WorkflowHandle[Any, Any]:
        """Start the while loop."""
        if self.variant == "flow":
            return (await self.client.start("count-up", {"times": times})).handle
        return await self.client.temporal.start_workflow(
            handwritten.CountUp.run, args=[0, times], id=f"count-{uuid.uuid4()}", task_queue=handwritten.QUEUE
        )

    async def each(self, concurrency: int) -> WorkflowHandle[Any, Any]:
        """Start the for-each."""
        if self.variant == "flow":
            return (await self.client.start(f"each-{concurrency}", {"items": ITEMS})).handle
        return await self.client.temporal.start_workflow(
            handwritten.Each.run, args=[ITEMS, concurrency], id=f"each-{uuid.uuid4()}", task_queue=handwritten.QUEUE
        )


async def measure_while(rounds: int) -> list[Row]:
    """A while loop of 100, 1,000 and (once) 10,000 passes."""
    rows: list[Row] = []
    for number in range(rounds):
        async for side in _sides(number):
            await (await side.count_up(WARM_UP)).result()
            chosen = (*PASSES, *([MANY_PASSES] if number == 0 else []))
            rows += [Row(side.variant, number, await _while(side, n), case=f"{n:,} passes") for n in chosen]
    return rows


async def measure_each(rounds: int) -> list[Row]:
    """A for-each over 200 items, 1, 10 and 100 at once."""
    rows: list[Row] = []
    for number in range(rounds):
        async for side in _sides(number):
            await (await side.count_up(WARM_UP)).result()
            rows += [Row(side.variant, number, await _each(side, n), case=f"{n} at once") for n in CONCURRENCIES]
    return rows


async def _sides(number: int) -> AsyncIterator[Side]:
    """The variants one after the other, each on fresh servers; they change places from round to round."""
    order = list(VARIANTS) if number % 2 == 0 else list(reversed(VARIANTS))
    for variant in order:
        async with _open_side(variant) as side:
            yield side


@asynccontextmanager
async def _open_side(variant: str) -> AsyncIterator[Side]:
    async with open_bench() as bench, connected(bench.settings()) as parts:
        await admission.publish_folder(parts.store, parts.project(), bench.folder / "workflows", as_edit=True)
        async with open_host(VARIANTS[variant], bench) as host:
            yield Side(variant, bench, host, parts.client)


async def _while(side: Side, passes: int) -> dict[str, float]:
    before = _cpu(side)
    began = time.perf_counter()
    handle = await side.count_up(passes)
    _check(await handle.result(), passes)
    seconds = time.perf_counter() - began
    after = _cpu(side)
    executions = await _executions(side, handle)
    quarters = _quarters([event for events in executions for event in events])
    return {
        "ms per pass": 1000 * seconds / passes,
        **{f"quarter {number}": 1000 * quarter for number, quarter in enumerate(quarters, start=1)},
        "worker CPU ms": 1000 * (after[0] - before[0]) / passes,
        "server CPU ms": 1000 * (after[1] - before[1]) / passes,
        "events per pass": sum(map(len, executions)) / passes,
        "longest history": float(max(map(len, executions))),
        "executions": float(len(executions)),
    }


async def _each(side: Side, concurrency: int) -> dict[str, float]:
    times: list[float] = []
    before = _cpu(side)
    for _ in range(RUNS):
        began = time.perf_counter()
        handle = await side.each(concurrency)
        _check(await handle.result(), [item + 1 for item in range(ITEMS)])
        times.append(time.perf_counter() - began)
    after = _cpu(side)
    executions = await _executions(side, handle)
    return {
        "ms per run": 1000 * middle(times),
        "items/s": ITEMS / middle(times),
        "worker CPU ms per item": 1000 * (after[0] - before[0]) / (RUNS * ITEMS),
        "server CPU ms per item": 1000 * (after[1] - before[1]) / (RUNS * ITEMS),
        "events": float(sum(map(len, executions))),
        "history bytes": float(sum(event.ByteSize() for events in executions for event in events)),
    }


def _cpu(side: Side) -> tuple[float, float]:
    return cpu_seconds(side.host.pid), cpu_seconds(side.bench.temporal_pid)


def _check(result: object, wanted: object) -> None:
    if result != wanted:
        raise RuntimeError(f"a loop gave {str(result)[:200]}, not {str(wanted)[:200]}")


async def _executions(side: Side, handle: WorkflowHandle[Any, Any]) -> list[list[HistoryEvent]]:
    """The histories of a run, from its start over every continue-as-new."""
    found: list[list[HistoryEvent]] = []
    run_id = handle.first_execution_run_id
    while run_id:
        one = side.client.temporal.get_workflow_handle(handle.id, run_id=run_id)
        found.append(list((await one.fetch_history()).events))
        run_id = found[-1][-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


def _quarters(events: list[HistoryEvent]) -> list[float]:
    """Seconds per pass in each quarter of the loop, by the times at which its steps' results were recorded."""
    times = [
        event.event_time.seconds + event.event_time.nanos / 1e9
        for event in events
        if event.HasField("activity_task_completed_event_attributes")
    ]
    marks = [times[round(share * (len(times) - 1) / 4)] for share in range(5)]
    return [(later - earlier) * 4 / (len(times) - 1) for earlier, later in pairwise(marks)]
