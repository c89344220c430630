"""W5 (see ``w5``) beside n8n, which keeps a run in memory and writes it down when it is over: as it is set by default,
with every run saved and every expression evaluated in an isolate; with expressions evaluated in its own context, as it
did in earlier versions; and with runs saved only where they failed."""

from __future__ import annotations

from functools import partial

from benchmarks import report, w5
from benchmarks.n8n import open_n8n
from benchmarks.report import Row

N8N = "n8n"
NO_ISOLATES = "n8n, no isolates"
VARIANTS: dict[str, w5.Opener] = {
    N8N: open_n8n,
    NO_ISOLATES: partial(open_n8n, N8N_EXPRESSION_ENGINE="legacy"),
    "n8n, successes not saved": partial(open_n8n, EXECUTIONS_DATA_SAVE_ON_SUCCESS="none"),
    "hand-written, durable": w5.on_temporal("tuned-web", "/webhook-five"),
    "flow, durable": w5.on_temporal("flow-web", "/webhook-five"),
    "flow, express": w5.on_temporal("flow-web", "/webhook-express"),
}


async def measure(rounds: int) -> list[Row]:
    """``rounds`` rounds of every variant; n8n has to be installed (see ``n8n.missing_n8n``)."""
    return await w5.measure(rounds, VARIANTS)


def tables(rows: list[Row]) -> str:
    """All of it beside n8n as it is set by default, then the flows again beside the n8n that needs less for a run."""
    flows = [row for row in rows if row.variant == NO_ISOLATES or not row.variant.startswith(N8N)]
    title = "Webhook, five HTTP steps, synchronous answer, beside n8n"
    return f"{report.table(title, rows, N8N)}\n{report.table(f'{title} without isolates', flows, NO_ISOLATES)}"
