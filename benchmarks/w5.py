"""W5, whoever does it: webhook, five HTTP steps, a condition, a transform, synchronous answer. Fresh servers for each
variant, a warm-up long enough that what is measured is the steady speed, then load over 1, 16 and 64 connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from benchmarks.load import post_for
from benchmarks.report import Row
from benchmarks.servers import cpu_seconds, open_bench, open_host

WARM_UP = {16: 3.0, 1: 10.0}
"""Seconds of load by number of connections, before anything is measured: the first seconds are slower. The last of it
is what is measured first, for as long as a run leaves timers behind on the server (a workflow task's timeout, at most
10 s): a phase pays for what runs of its own kind have left, and not for the rush before it."""
CONNECTIONS = {1: 6.0, 16: 6.0, 64: 8.0}
"""Seconds of measured load by number of connections."""
BODY = {"start": 1}
ANSWER = {"total": 6, "size": "big"}


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked, and whose CPU is counted: the host's processes, and those that keep what it records."""

    port: int
    path: str
    hosts: Callable[[], list[int]]
    servers: Callable[[], list[int]]

    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU that the host and what records its steps have used."""
        return sum(map(cpu_seconds, self.hosts())), sum(map(cpu_seconds, self.servers()))


Opener = Callable[[], AbstractAsyncContextManager[Target]]
"""Starts fresh servers; they are gone when left."""


def on_temporal(kind: str, path: str) -> Opener:
    """A host of ``kind`` (see ``host``) beside a fresh Temporal; ``path`` is what is asked."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Target]:
        async with open_bench() as bench, open_host(kind, bench) as host:
            yield Target(host.port, path, lambda: [host.pid], lambda: [bench.temporal_pid])

    return opened


async def measure(rounds: int, variants: Mapping[str, Opener]) -> list[Row]:
    """``rounds`` rounds, fresh servers for each variant in each; the variants change places from round to round."""
    rows: list[Row] = []
    names = list(variants)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            async with variants[name]() as target:
                rows += await _measure_one(name, number, target)
    return rows


async def _measure_one(variant: str, number: int, target: Target) -> list[Row]:
    rows = []
    for connections, seconds in WARM_UP.items():
        await post_for(target.port, target.path, BODY, ANSWER, connections, seconds)
    for connections, seconds in CONNECTIONS.items():
        before = target.cpu()
        load = await post_for(target.port, target.path, BODY, ANSWER, connections, seconds)
        after = target.cpu()
        figures = {
            "p50 ms": load.percentile(0.5),
            "p95 ms": load.percentile(0.95),
            "runs/s": load.rate,
            "host CPU ms": 1000 * (after[0] - before[0]) / load.count,
            "server CPU ms": 1000 * (after[1] - before[1]) / load.count,
        }
        rows.append(Row(variant, number, figures, case=f"{connections} connections"))
    return rows
