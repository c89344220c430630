"""Alerts that a run raises while it goes on and at its end, and its line in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.common import RetryPolicy
from tests.engine.harness import Workbench, events, failure_of, scheduled, untroubled

from orchestrator.errors import Unavailable
from orchestrator.spec.definition import Retry
from orchestrator.store.alerts import Alert
from orchestrator.store.ledger import Line

SLOW = """
id: {id}
monitoring: {{alerts: [{{condition: "execution_time > {limit}", channel: {channel}}}]}}
steps: [{{id: asked, type: wait-for-event, config: {{signal: go}}}}]
"""
FAILING = """
id: {id}
inputs: {{fail: boolean}}
monitoring: {{metrics: [success_rate], alerts: [{{condition: {condition}, channel: ops}}]}}
steps: [{{id: a, type: condition, config: {{if: inputs.fail, then: [{{id: no, type: fail, config: {{type: broken, message: no}}}}]}}}}]
"""


@pytest.fixture(params=[None, 1], ids=["in one execution", "continued as new at every step"])
def bench(workbench: Workbench, request: pytest.FixtureRequest) -> Workbench:
    workbench.continue_after = request.param
    return workbench


async def raised(bench: Workbench, flow: str, count: int) -> list[Alert]:
    """The flow's alerts, oldest first, once there are so many."""
    for _ in range(1200):
        found = await bench.store.alerts.list(flow=flow)
        if len(found) >= count:
            return found[::-1]
        await asyncio.sleep(0.025)
    raise AssertionError(f"{found} instead of {count}")


async def lines(bench: Workbench, flow: str) -> list[Line]:
    now = datetime.now(UTC)
    return await bench.store.ledger.window(flow, now - timedelta(days=1), now + timedelta(days=1), 100)


async def test_an_alert_about_a_runs_time_is_raised_while_it_is_over_it_and_once(bench: Workbench) -> None:
    handle = await bench.start(SLOW.format(id="slow", limit="200ms", channel="slack"))
    [alert] = await raised(bench, "slow", 1)
    assert (alert.run_id, alert.version, alert.channel, alert.status) == (handle.id, "", "slack", "waiting")
    assert (alert.told["condition"], alert.told["status"]) == ("execution_time > 200ms", "running")
    assert alert.told["found"].startswith("execution_time is ")
    await handle.signal("go", {})
    await asyncio.wait_for(handle.result(), 30)
    assert len(await raised(bench, "slow", 1)) == 1
    assert (await handle.query("state"))["warnings"] == []
    await untroubled(handle)


async def test_a_run_that_is_quick_enough_raises_nothing_and_is_written_down(bench: Workbench) -> None:
    handle = await bench.start(SLOW.format(id="quick", limit="1h", channel="slack"))
    await handle.signal("go", {})
    await asyncio.wait_for(handle.result(), 30)
    assert await raised(bench, "quick", 0) == []
    [line] = await lines(bench, "quick")
    assert (line.run_id, line.status, line.trigger, line.error) == (handle.id, "completed", "api", None)
    assert 0 <= line.execution_time < 600
    await untroubled(handle)


async def test_a_paused_run_is_watched_all_the_same(bench: Workbench) -> None:
    handle = await bench.start(SLOW.format(id="paused", limit="500ms", channel="ops"))
    await handle.signal("orchestrator.pause", {})
    [alert] = await raised(bench, "paused", 1)
    assert (alert.told["condition"], alert.told["status"]) == ("execution_time > 500ms", "running")
    await handle.signal("orchestrator.resume", {})
    await handle.signal("go", {})
    await asyncio.wait_for(handle.result(), 30)
    assert len(await raised(bench, "paused", 1)) == 1


async def test_what_steps_took_is_counted_and_alerts_about_it_are_raised_at_the_end(bench: Workbench) -> None:
    text = """
    id: counted
    monitoring:
      metrics: [attempts, step_duration]
      alerts:
        - {condition: attempts >= 3, channel: ops, message: Look at the vendor.}
        - {condition: tokens > 0, channel: ops}
        - {condition: execution_time > 1ms and attempts > 2, channel: "#ops"}
    steps:
      - {id: hard, type: function, retry: {initial_interval: 10ms}, config: {handler: fail_times, params: {times: 2}}}
      - id: each
        type: for-each
        config: {items: 3, steps: [{id: easy, type: function, config: {handler: echo, args: [1]}}]}
      - {id: pause, type: wait, config: {duration: 10ms}}
    """
    handle = await bench.start(text)
    await asyncio.wait_for(handle.result(), 30)
    alerts = {one.channel: one for one in await raised(bench, "counted", 2)}
    assert sorted(alerts) == ["#ops", "ops"]
    told = alerts["ops"].told
    assert (told["found"], told["message"], told["status"]) == ("attempts is 3", "Look at the vendor.", "completed")
    [line] = await lines(bench, "counted")
    assert line.attempts == 3
    assert {name: step["runs"] for name, step in line.steps.items()} == {"hard": 1, "easy": 3}
    assert line.steps["hard"]["attempts"] == 3
    assert line.step_duration == max(step["longest"] for step in line.steps.values())
    await untroubled(handle)


async def test_an_alert_that_the_store_cannot_keep_yet_is_raised_at_the_runs_end(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, refused = workbench.store.alerts.put, asyncio.Event()

    async def refuse(alerts: Sequence[Alert]) -> None:
        refused.set()
        raise Unavailable("a full disk")

    monkeypatch.setattr("orchestrator.engine.monitor._POLICY", Retry(max_attempts=1))
    monkeypatch.setattr(workbench.store.alerts, "put", refuse)
    handle = await workbench.start(SLOW.format(id="late", limit="1ms", channel="ops"))
    await asyncio.wait_for(refused.wait(), 30)
    monkeypatch.setattr(workbench.store.alerts, "put", put)
    await handle.signal("go", {})
    await asyncio.wait_for(handle.result(), 60)
    [alert] = await raised(workbench, "late", 1)
    assert alert.told["status"] == "completed"
    assert (await handle.query("state"))["warnings"] == []


async def test_a_rate_over_recent_runs_is_told_when_it_begins_to_hold(workbench: Workbench) -> None:
    text = FAILING.format(id="rated", condition='"success_rate < 60%"')
    for fail, count in ((False, 0), (True, 1), (True, 1), (False, 1), (False, 1), (True, 2), (True, 2)):
        handle = await workbench.start(text, {"fail": fail})
        if fail:
            await failure_of(handle)
        else:
            await asyncio.wait_for(handle.result(), 30)
        assert len(await raised(workbench, "rated", 0)) == count, (fail, count)
    assert (await raised(workbench, "rated", 2))[0].told["values"]["success_rate"] == 0.5
    assert [line.error for line in await lines(workbench, "rated")].count("broken") == 4


async def test_a_failed_run_a_cancelled_one_and_one_out_of_time_are_written_down_as_what_they_are(
    workbench: Workbench,
) -> None:
    cancelled = await workbench.start(SLOW.format(id="ends", limit="1h", channel="ops"))
    await workbench.waiting(cancelled, "asked")
    await cancelled.cancel()
    late = await workbench.start("timeout: 200ms" + SLOW.format(id="ends", limit="1h", channel="ops"))
    assert (await failure_of(late))["type"] == "run_timeout"
    for _ in range(1200):
        found = {line.run_id: (line.status, line.error) for line in await lines(workbench, "ends")}
        if len(found) == 2:
            break
        await asyncio.sleep(0.025)
    assert found == {cancelled.id: ("cancelled", None), late.id: ("timed_out", "run_timeout")}


async def test_where_the_ledger_cannot_be_written_the_run_ends_all_the_same(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(line: Line) -> None:
        raise Unavailable("a full disk")

    quickly = RetryPolicy(initial_interval=timedelta(milliseconds=20), maximum_attempts=2)
    monkeypatch.setattr("orchestrator.engine.monitor.RECORDING", quickly)
    monkeypatch.setattr(workbench.store.ledger, "write", refuse)
    text = FAILING.format(id="unwritten", condition='"attempts < 1 or success_rate < 1%"')
    handle = await workbench.start(text, {"fail": False})
    await asyncio.wait_for(handle.result(), 60)
    assert len(await raised(workbench, "unwritten", 1)) == 1
    [warning] = (await handle.query("state"))["warnings"]
    assert warning.startswith("the run is missing from its flow's metrics")


async def test_what_monitoring_costs(workbench: Workbench) -> None:
    """One marker at the end, alerts that are raised there included; no timer where none is about time."""
    text = """
    id: cheap
    monitoring: {metrics: [execution_time], alerts: [{condition: attempts > 0, channel: ops}]}
    steps: [{id: a, type: function, config: {handler: echo, args: [1]}}]
    """
    handle = await workbench.start(text)
    await asyncio.wait_for(handle.result(), 30)
    kinds = [event.event_type for event in await events(handle)]
    assert await scheduled(handle) == ["a"]
    assert len(await raised(workbench, "cheap", 1)) == 1
    assert kinds.count(EventType.EVENT_TYPE_MARKER_RECORDED) == 1
    assert kinds.count(EventType.EVENT_TYPE_TIMER_STARTED) == 0


async def test_a_test_run_raises_no_alert_and_does_not_count(workbench: Workbench) -> None:
    handle = await workbench.start(SLOW.format(id="tried", limit="1ms", channel="ops"), test=True)
    await handle.signal("go", {})
    await asyncio.wait_for(handle.result(), 30)
    assert await raised(workbench, "tried", 0) == []
    assert await lines(workbench, "tried") == []


async def test_the_time_a_run_waits_for_its_turn_is_its_queue_time(workbench: Workbench) -> None:
    text = "concurrency: {limit: 1}" + SLOW.format(id="turns", limit="1h", channel="ops")
    first = await workbench.start(text)
    await workbench.waiting(first, "asked")
    second = await workbench.start(text)
    await workbench.waiting(second, "permit")
    await asyncio.sleep(0.3)
    await first.signal("go", {})
    await second.signal("go", {})
    for handle in (first, second):
        await asyncio.wait_for(handle.result(), 30)
    found = {line.run_id: line.queue_time for line in await lines(workbench, "turns")}
    assert found.keys() == {first.id, second.id}
    assert found[second.id] >= 0.3
