"""Five steps, hand-written and as a flow: latency one after the other, throughput many at once, CPU, history."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import temporalio.client

from benchmarks import handwritten
from benchmarks.load import drive
from benchmarks.report import Row
from benchmarks.servers import Bench, cpu_seconds, open_bench, open_host
from orchestrator import admission
from orchestrator.client import Client
from orchestrator.devserver.connect import connected

VARIANTS = {"hand-written": "handwritten-worker", "hand-written, uncompressed": "tuned-worker", "flow": "flow-worker"}
WARM_UP = 15
SEQUENTIAL = 40
MANY = 160
AT_ONCE = 40

Run = Callable[[int], Awaitable[str]]
"""Starts one run, waits for the right result, gives its workflow id."""


async def measure(rounds: int) -> list[Row]:
    """``rounds`` rounds on a fresh server each; the variants change places from round to round."""
    rows: list[Row] = []
    for number in range(rounds):
        async with open_bench() as bench, connected(bench.settings()) as parts:
            await admission.publish_folder(parts.store, parts.project(), bench.folder / "workflows", as_edit=True)
            order = list(VARIANTS)[number % 3 :] + list(VARIANTS)[: number % 3]
            for variant in order:
                async with _runner(variant, bench, parts.client) as (run, pid):
                    rows.append(await _measure_one(variant, number, bench, run, pid, parts.client))
    return rows


@asynccontextmanager
async def _runner(variant: str, bench: Bench, client: Client) -> AsyncIterator[tuple[Run, int]]:
    async with open_host(VARIANTS[variant], bench) as host:
        if variant == "flow":
            yield _as_flow(client), host.pid
        elif variant == "hand-written":
            yield _by_hand(await temporalio.client.Client.connect(bench.settings().address)), host.pid
        else:
            yield _by_hand(client.temporal), host.pid


def _by_hand(temporal: temporalio.client.Client) -> Run:
    async def run(number: int) -> str:
        handle = await temporal.start_workflow(
            handwritten.FiveSteps.run, number, id=f"five-{uuid.uuid4()}", task_queue=handwritten.QUEUE
        )
        _check(await handle.result(), number)
        return handle.id

    return run


def _as_flow(client: Client) -> Run:
    async def run(number: int) -> str:
        started = await client.start("five-steps", {"start": number})
        _check(await started.result(), number)
        return started.id

    return run


def _check(result: object, number: int) -> None:
    if result != number + 5:
        raise RuntimeError(f"five steps from {number} gave {result!r}, not {number + 5}")


async def _measure_one(variant: str, number: int, bench: Bench, run: Run, pid: int, client: Client) -> Row:
    async def call(index: int) -> None:
        await run(index)

    await drive(call, WARM_UP, 5)
    alone = await drive(call, SEQUENTIAL, 1)
    before = cpu_seconds(pid), cpu_seconds(bench.temporal_pid)
    many = await drive(call, MANY, AT_ONCE)
    after = cpu_seconds(pid), cpu_seconds(bench.temporal_pid)
    history = await client.temporal.get_workflow_handle(await run(0)).fetch_history()
    return Row(
        variant,
        number,
        {
            "p50 ms": alone.percentile(0.5),
            "p95 ms": alone.percentile(0.95),
            "runs/s": many.rate,
            "worker CPU ms": 1000 * (after[0] - before[0]) / many.count,
            "server CPU ms": 1000 * (after[1] - before[1]) / many.count,
            "events": float(len(history.events)),
            "history bytes": float(sum(event.ByteSize() for event in history.events)),
        },
    )
