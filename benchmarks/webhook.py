"""W5: webhook, five HTTP steps, a condition, a transform, synchronous answer; a FastAPI handler against a flow.

Both as ``orchestrator up`` runs them: web server and worker in one process, eager start, Temporal beside it."""

from __future__ import annotations

from benchmarks.load import post_for
from benchmarks.report import Row
from benchmarks.servers import cpu_seconds, open_bench, open_host

VARIANTS = {"hand-written": "handwritten-web", "hand-written, uncompressed": "tuned-web", "flow": "flow-web"}
CONNECTIONS = {1: 5.0, 16: 6.0, 64: 8.0}
"""Seconds of load by number of connections."""
BODY = {"start": 1}
ANSWER = {"total": 6, "size": "big"}


async def measure(rounds: int) -> list[Row]:
    """``rounds`` rounds, a fresh server for each variant in each; the variants change places from round to round."""
    rows: list[Row] = []
    for number in range(rounds):
        order = list(VARIANTS)[number % 3 :] + list(VARIANTS)[: number % 3]
        for variant in order:
            rows += await _measure_one(variant, number)
    return rows


async def measure_accepted(rounds: int) -> list[Row]:
    """Webhook → 202: a run is started and nobody waits for it."""
    rows: list[Row] = []
    for number in range(rounds):
        order = list(VARIANTS)[number % 3 :] + list(VARIANTS)[: number % 3]
        for variant in order:
            async with open_bench() as bench, open_host(VARIANTS[variant], bench) as host:
                await post_for(host.port, "/webhook-accepted", BODY, None, 4, 1.5, 202)
                for connections, seconds in CONNECTIONS.items():
                    load = await post_for(host.port, "/webhook-accepted", BODY, None, connections, seconds, 202)
                    figures = {"p50 ms": load.percentile(0.5), "p95 ms": load.percentile(0.95), "answers/s": load.rate}
                    rows.append(Row(variant, number, figures, case=f"{connections} connections"))
    return rows


async def _measure_one(variant: str, number: int) -> list[Row]:
    rows = []
    async with open_bench() as bench, open_host(VARIANTS[variant], bench) as host:
        for connections in (1, 4):
            await post_for(host.port, "/webhook-five", BODY, ANSWER, connections, 1.5)
        for connections, seconds in CONNECTIONS.items():
            before = cpu_seconds(host.pid), cpu_seconds(bench.temporal_pid)
            load = await post_for(host.port, "/webhook-five", BODY, ANSWER, connections, seconds)
            after = cpu_seconds(host.pid), cpu_seconds(bench.temporal_pid)
            figures = {
                "p50 ms": load.percentile(0.5),
                "p95 ms": load.percentile(0.95),
                "runs/s": load.rate,
                "host CPU ms": 1000 * (after[0] - before[0]) / load.count,
                "server CPU ms": 1000 * (after[1] - before[1]) / load.count,
            }
            rows.append(Row(variant, number, figures, case=f"{connections} connections"))
    return rows
