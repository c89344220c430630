"""W5 (see ``webhook``) where steps are recorded together: the flow with ``durability: express``, the same by hand with
local activities, and DBOS on PostgreSQL, whose steps are rows of a table. The durable variants stand beside.

All have web server and worker in one process, and what records their steps beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.load import Load, post_for
from benchmarks.peers import missing_dbos, open_dbos
from benchmarks.report import Row
from benchmarks.servers import cpu_seconds, open_bench, open_host
from benchmarks.webhook import ANSWER, BODY, CONNECTIONS

DBOS = "DBOS on PostgreSQL"
LOCAL = "hand-written, local activities"
VARIANTS = {
    LOCAL: ("tuned-web", "/webhook-express"),
    "flow, express": ("flow-web", "/webhook-express"),
    "hand-written, durable": ("tuned-web", "/webhook-five"),
    "flow, durable": ("flow-web", "/webhook-five"),
}
"""Kind of host, and the path that is asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked, and whose CPU is counted."""

    port: int
    path: str
    host: int
    servers: Callable[[], list[int]]

    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU that the host and what records its steps have used."""
        return cpu_seconds(self.host), sum(cpu_seconds(pid) for pid in self.servers())


async def measure(rounds: int, say: Callable[[str], None]) -> tuple[list[Row], str]:
    """``rounds`` rounds, fresh servers for each variant; the variants change places from round to round. With the rows
    comes the variant to compare with: DBOS, or where it is not installed the hand-written one."""
    missing = missing_dbos()
    if missing is not None:
        say(missing + "\n")
    variants = list(VARIANTS) if missing else [DBOS, *VARIANTS]
    rows: list[Row] = []
    for number in range(rounds):
        turn = number % len(variants)
        for variant in variants[turn:] + variants[:turn]:
            async with _open(variant) as target:
                rows += await _measure_one(variant, number, target)
    return rows, LOCAL if missing else DBOS


@asynccontextmanager
async def _open(variant: str) -> AsyncIterator[Target]:
    if variant == DBOS:
        async with open_dbos() as peer:
            yield Target(peer.port, "/webhook-express", peer.pid, peer.server_pids)
        return
    kind, path = VARIANTS[variant]
    async with open_bench() as bench, open_host(kind, bench) as host:
        yield Target(host.port, path, host.pid, lambda: [bench.temporal_pid])


async def _measure_one(variant: str, number: int, target: Target) -> list[Row]:
    rows = []
    for connections in (1, 16):
        await _post(target, connections, 1.5)
    for connections, seconds in CONNECTIONS.items():
        before = target.cpu()
        load = await _post(target, connections, seconds)
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


async def _post(target: Target, connections: int, seconds: float) -> Load:
    return await post_for(target.port, target.path, BODY, ANSWER, connections, seconds)
