"""W5 (see ``w5``): a FastAPI handler that starts a hand-written workflow, against a flow.

Both as ``orchestrator up`` runs them: web server and worker in one process, eager start, Temporal beside it."""

from __future__ import annotations

from benchmarks import w5
from benchmarks.load import post_for
from benchmarks.report import Row
from benchmarks.servers import open_bench, open_host

VARIANTS = {"hand-written": "handwritten-web", "hand-written, uncompressed": "tuned-web", "flow": "flow-web"}


async def measure(rounds: int) -> list[Row]:
    """``rounds`` rounds of every variant."""
    return await w5.measure(rounds, {name: w5.on_temporal(kind, "/webhook-five") for name, kind in VARIANTS.items()})


async def measure_accepted(rounds: int) -> list[Row]:
    """Webhook → 202: a run is started and nobody waits for it."""
    rows: list[Row] = []
    for number in range(rounds):
        order = list(VARIANTS)[number % 3 :] + list(VARIANTS)[: number % 3]
        for variant in order:
            async with open_bench() as bench, open_host(VARIANTS[variant], bench) as host:
                for connections, seconds in w5.WARM_UP.items():
                    await post_for(host.port, "/webhook-accepted", w5.BODY, None, connections, seconds, 202)
                for connections, seconds in w5.CONNECTIONS.items():
                    load = await post_for(host.port, "/webhook-accepted", w5.BODY, None, connections, seconds, 202)
                    figures = {"p50 ms": load.percentile(0.5), "p95 ms": load.percentile(0.95), "answers/s": load.rate}
                    rows.append(Row(variant, number, figures, case=f"{connections} connections"))
    return rows
