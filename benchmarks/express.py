"""W5 (see ``w5``) where steps are recorded together: the flow with ``durability: express``, the same by hand with
local activities, and DBOS on PostgreSQL, whose steps are rows of a table. The durable variants stand beside.

All have web server and worker in one process, and what records their steps beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from benchmarks import w5
from benchmarks.peers import missing_dbos, open_dbos
from benchmarks.report import Row

DBOS = "DBOS on PostgreSQL"
LOCAL = "hand-written, local activities"
VARIANTS = {
    LOCAL: w5.on_temporal("tuned-web", "/webhook-express"),
    "flow, express": w5.on_temporal("flow-web", "/webhook-express"),
    "hand-written, durable": w5.on_temporal("tuned-web", "/webhook-five"),
    "flow, durable": w5.on_temporal("flow-web", "/webhook-five"),
}


async def measure(rounds: int, say: Callable[[str], None]) -> tuple[list[Row], str]:
    """``rounds`` rounds of every variant. With the rows comes the variant to compare with: DBOS, or where it is not
    installed the hand-written one."""
    missing = missing_dbos()
    if missing is not None:
        say(missing + "\n")
        return await w5.measure(rounds, VARIANTS), LOCAL
    return await w5.measure(rounds, {DBOS: _dbos, **VARIANTS}), DBOS


@asynccontextmanager
async def _dbos() -> AsyncIterator[w5.Target]:
    async with open_dbos() as peer:
        yield w5.Target(peer.port, "/webhook-express", lambda: [peer.pid], peer.server_pids)
