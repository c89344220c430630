"""Runs that Temporal ended come into the ledger with their alerts, though they could not write themselves down."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tests.integration.gateway.conftest import Door

from orchestrator.client.metrics import metrics_of
from orchestrator.dispatch.ended import EndedRuns
from orchestrator.store.ledger import Line

FLOW = """
id: {id}
monitoring:
  metrics: [execution_time, attempts, success_rate]
  alerts:
    - {{condition: execution_time >= 0s, channel: nobody}}
    - {{condition: attempts >= 0 and tokens >= 0, channel: nobody}}
steps: [{{id: asked, type: wait-for-event, config: {{signal: go}}}}]
"""


async def lines(door: Door, flow: str, count: int) -> dict[str, Line]:
    """The flow's lines by run, once looking around has found so many."""
    ended = EndedRuns(door.client)
    for _ in range(600):
        await ended.look()
        now = datetime.now(UTC)
        found = await door.store.ledger.window(flow, now - timedelta(days=1), now + timedelta(days=1), 100)
        # The gateway looks too: what it has added may not be judged yet.
        if len(found) >= count and len(await door.store.alerts.list(flow=flow)) >= count:
            return {line.run_id: line for line in found}
        await asyncio.sleep(0.05)
    raise AssertionError(f"{found} instead of {count}")


async def test_runs_that_temporal_ended_are_written_down_once_with_the_alerts_that_hold(idle: Door) -> None:
    # One is terminated, one is ended by Temporal's own timeout; no worker ever sees them.
    await idle.publish(FLOW.format(id="cut"))
    await idle.publish("{id: plain, steps: [{id: asked, type: wait-for-event, config: {signal: go}}]}")
    before = datetime.now(UTC)
    first = await idle.client.start("cut", run_id=f"cut-{uuid4().hex}")
    await first.terminate("enough")
    unmonitored = await idle.client.start("plain")
    await unmonitored.terminate()
    bare = f"bare-{uuid4().hex}"
    await idle.client.temporal.start_workflow(
        "cut",
        {},
        id=bare,
        task_queue=idle.settings.task_queue,
        execution_timeout=timedelta(seconds=1),
    )
    found = await lines(idle, "cut", 2)
    assert {run: (line.status, line.error, line.trigger) for run, line in found.items()} == {
        first.id: ("terminated", "terminated", "api"),
        bare: ("timed_out", "timed_out", None),
    }
    assert found[bare].execution_time >= 1.0
    # What the runs' steps took is not known: an alert about it does not hold.
    alerts = await idle.store.alerts.list(flow="cut")
    assert sorted(one.run_id for one in alerts) == sorted([first.id, bare])
    assert {one.told["condition"] for one in alerts} == {"execution_time >= 0s"}
    # Another gateway, which has seen none of it, writes nothing down again.
    await EndedRuns(idle.client).look()
    assert len(await idle.store.alerts.list(flow="cut")) == 2
    told = await metrics_of(idle.store, "cut")
    assert (told.runs, told.rates) == ({"terminated": 1, "timed_out": 1}, {"success_rate": 0.0})
    assert set(told.spreads) == {"execution_time"}
    assert await idle.store.ledger.window("plain", before, datetime.now(UTC), 10) == []
    looked = await idle.store.ledger.looked_until()
    assert looked is not None and looked >= before
