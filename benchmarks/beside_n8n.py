"""W5 (see ``w5``) beside n8n, which keeps a run in memory and writes it down when it is over: as it is set by default,
with every run saved, and with runs saved only where they failed."""

from __future__ import annotations

from functools import partial

from benchmarks import w5
from benchmarks.n8n import open_n8n
from benchmarks.report import Row

N8N = "n8n"
VARIANTS: dict[str, w5.Opener] = {
    N8N: open_n8n,
    "n8n, successes not saved": partial(open_n8n, save="none"),
    "hand-written, durable": w5.on_temporal("tuned-web", "/webhook-five"),
    "flow, durable": w5.on_temporal("flow-web", "/webhook-five"),
    "flow, express": w5.on_temporal("flow-web", "/webhook-express"),
}


async def measure(rounds: int) -> list[Row]:
    """``rounds`` rounds of every variant; n8n has to be installed (see ``n8n.missing_n8n``)."""
    return await w5.measure(rounds, VARIANTS)
