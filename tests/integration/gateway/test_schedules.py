"""Schedules: kept as published flows say, and what a person may do with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import temporalio.client
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleUpdate
from temporalio.service import RPCError
from tests.integration.gateway.conftest import Door, open_door

from orchestrator.client import RunFailed
from orchestrator.client.clock import spec_of
from orchestrator.client.schedules import OVERLAPS, Schedules
from orchestrator.dispatch.schedules import ScheduleKeeper

REPORT = """
id: {flow}
version: {version}
enabled: {enabled}
triggers:
  - {{type: schedule, id: nightly, cron: "{cron}", timezone: Asia/Seoul, enabled: {on},
     inputs: {{day: "{{{{ date_format(trigger.scheduled_time, '%Y-%m-%d', 'UTC') }}}}"}}}}
inputs: {{day: string}}
steps: [{{id: told, type: transform, config: {{value: {{day: "{{{{ inputs.day }}}}", trigger: "{{{{ trigger }}}}"}}}}}}]
output: "{{{{ steps.told.output }}}}"
"""


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(temporal, tmp_path) as opened:
        yield opened
        for one in await opened.store.flows.list():
            await opened.store.flows.delete(one.flow)
        await Schedules(opened.client).keep()


@pytest.fixture
def flow() -> str:
    return f"report-{uuid4().hex[:8]}"


def report(flow: str, version: int = 1, cron: str = "0 9 * * *", enabled: bool = True, on: bool = True) -> str:
    return REPORT.format(flow=flow, version=version, cron=cron, enabled=str(enabled).lower(), on=str(on).lower())


async def until(
    door: Door, flow: str, fits: Callable[[dict[str, Any]], bool], trigger: str = "nightly"
) -> dict[str, Any]:
    """The schedule as the gateway shows it, once it is as it should be."""
    shown: dict[str, Any] = {}
    for _ in range(200):
        answer = await door.http.get(f"/v1/schedules/{flow}/{trigger}")
        shown = answer.json()
        if answer.status_code == 200 and fits(shown):
            return shown
        await asyncio.sleep(0.05)
    raise AssertionError(shown)


async def exists(door: Door, flow: str) -> bool:
    try:
        await door.client.temporal.get_schedule_handle(f"orchestrator:{flow}:nightly").describe()
    except RPCError:
        return False
    return True


async def gone(door: Door, flow: str) -> bool:
    for _ in range(100):
        if not await exists(door, flow):
            return True
        await asyncio.sleep(0.05)
    return False


async def act(door: Door, flow: str, verb: str, body: Any = None, status: int = 200, trigger: str = "nightly") -> Any:
    answer = await door.http.post(f"/v1/schedules/{flow}/{trigger}/{verb}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_publishing_is_enough_for_a_schedule_and_every_change_of_the_flow_reaches_it(
    door: Door, flow: str
) -> None:
    await door.publish(report(flow))
    shown = await until(door, flow, lambda one: one["status"] == "on")
    assert (shown["id"], shown["when"], shown["timezone"]) == (
        f"orchestrator:{flow}:nightly",
        "0 9 * * *",
        "Asia/Seoul",
    )
    assert {moment[11:] for moment in shown["next"]} == {"00:00:00Z"}
    await door.publish(report(flow, 2, "30 9 * * *"))
    await until(door, flow, lambda one: {moment[11:] for moment in one["next"]} == {"00:30:00Z"})
    await door.publish(report(flow, 3, on=False))
    assert (await until(door, flow, lambda one: one["status"] == "off"))["next"] == []
    handle = door.client.temporal.get_schedule_handle(f"orchestrator:{flow}:nightly")
    for _ in range(100):
        if (await handle.describe()).schedule.state.paused:
            break
        await asyncio.sleep(0.05)
    assert (await handle.describe()).schedule.state.paused
    await act(door, flow, "trigger", status=403)
    await door.publish(report(flow, 4))
    await until(door, flow, lambda one: one["status"] == "on" and bool(one["next"]))
    await door.store.flows.delete(flow)
    assert await gone(door, flow)


async def test_a_pause_outlives_a_new_version_and_a_flow_that_was_off(door: Door, flow: str) -> None:
    await door.publish(report(flow))
    await until(door, flow, lambda one: one["status"] == "on")
    assert (await act(door, flow, "pause", {"note": "audit"}))["status"] == "paused"
    await door.publish(report(flow, 2, "30 9 * * *"))
    handle = door.client.temporal.get_schedule_handle(f"orchestrator:{flow}:nightly")
    for _ in range(100):
        spec = (await handle.describe()).schedule.spec
        if spec.calendars[0].minute[0].start == 30:
            break
        await asyncio.sleep(0.05)
    shown = await until(door, flow, lambda one: one["status"] == "paused")
    assert (shown["note"], shown["next"]) == ("audit", [])
    await door.store.flows.set_enabled(flow, False)
    await until(door, flow, lambda one: one["status"] == "off")
    await Schedules(door.client).keep()
    await door.store.flows.set_enabled(flow, True)
    await Schedules(door.client).keep()
    assert (await until(door, flow, lambda one: one["status"] == "paused"))["note"] == "audit"
    assert (await act(door, flow, "resume"))["next"][0][11:] == "00:30:00Z"


async def test_a_run_of_a_schedule_knows_the_moment_it_is_for_and_is_pinned_and_listed(door: Door, flow: str) -> None:
    await door.publish(report(flow))
    await act(door, flow, "trigger", status=202)
    shown = await until(door, flow, lambda one: bool(one["recent"]))
    run = door.client.run(shown["recent"][0]["run_id"])
    output = await run.result(20)
    trigger = output["trigger"]
    assert sorted(trigger) == ["body", "id", "scheduled_time", "time", "type"]
    assert (trigger["type"], trigger["id"], trigger["body"]) == ("schedule", "nightly", {})
    assert trigger["scheduled_time"] <= trigger["time"]
    assert output["day"] == trigger["scheduled_time"][:10]
    info = await run.info()
    assert (info.version, info.status) == ("1", "completed")
    history = await run.handle.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert started.workflow_task_timeout.ToTimedelta() == timedelta(seconds=5)


async def test_a_backfill_starts_one_run_for_each_moment_in_order_and_no_more(door: Door, flow: str) -> None:
    await door.publish(report(flow))
    told = await act(door, flow, "backfill", {"from": "2026-01-29T00:00:00Z", "to": "2026-01-31T00:00:00Z"}, 202)
    assert [moment[:16] for moment in told["scheduled_times"]] == [f"2026-01-{day}T00:00" for day in (29, 30, 31)]
    shown = await until(door, flow, lambda one: len(one["recent"]) == 3)
    runs = [door.client.run(one["run_id"]) for one in reversed(shown["recent"])]
    outputs = [await run.result(20) for run in runs]
    assert [one["trigger"]["scheduled_time"] for one in outputs] == [
        f"2026-01-{day}T00:00:00.000Z" for day in (29, 30, 31)
    ]
    assert [one["day"] for one in outputs] == [f"2026-01-{day}" for day in (29, 30, 31)]


async def test_a_range_that_cannot_be_made_up_for_is_refused_by_field(door: Door, flow: str) -> None:
    await door.publish(report(flow))
    january, february = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"
    for body, said in [
        ({"from": february, "to": january}, "lies before `from`"),
        ({"from": january, "to": "2999-01-01T00:00:00Z"}, "lies in the future"),
        ({"from": "0001-01-01T00:00:00+14:00", "to": january}, "lies before 1970"),
        ({"from": "2019-01-01T00:00:00Z", "to": january}, "more than the 900 starts"),
        ({"from": "2026-01-01T00:00:00", "to": february}, "timezone"),
        ({"from": january, "to": february, "overlap": "maybe"}, "overlap"),
    ]:
        told = await act(door, flow, "backfill", body, 422)
        assert said in str(told["errors"]), told
    assert (await until(door, flow, lambda one: one["status"] == "on"))["started"] == 0


async def test_inputs_that_do_not_fit_are_a_failed_run(door: Door, flow: str) -> None:
    await door.publish(
        f"id: {flow}\ntriggers: [{{type: schedule, id: nightly, every: 1d, inputs: {{n: '{{{{ trigger.id }}}}'}}}}]\n"
        "inputs: {n: integer}\nsteps: [{type: transform, config: {value: 1}}]\n"
    )
    await act(door, flow, "trigger", status=202)
    shown = await until(door, flow, lambda one: bool(one["recent"]))
    with pytest.raises(RunFailed) as failed:
        await door.client.run(shown["recent"][0]["run_id"]).result(20)
    assert failed.value.error["type"] == "invalid_inputs"


async def test_what_somebody_changed_or_deleted_in_temporal_is_repaired_and_others_are_left_alone(
    door: Door, flow: str
) -> None:
    temporal, schedules = door.client.temporal, Schedules(door.client)
    await door.publish(report(flow))
    await until(door, flow, lambda one: one["status"] == "on")
    handle = temporal.get_schedule_handle(f"orchestrator:{flow}:nightly")

    def never(found: Any) -> ScheduleUpdate:
        schedule: Schedule = found.description.schedule
        schedule.spec = ScheduleSpec()
        return ScheduleUpdate(schedule)

    await handle.update(never)
    assert (await schedules.keep()).updated == (f"orchestrator:{flow}:nightly",)
    assert (await schedules.get(flow, "nightly")).next
    await handle.delete()
    assert (await schedules.keep()).created == (f"orchestrator:{flow}:nightly",)
    assert (await schedules.keep()) == type(await schedules.keep())()
    action = ScheduleActionStartWorkflow("none", args=[{}], id="none", task_queue="orchestrator-other")
    others = [f"orchestrator:{flow}-other:nightly", f"{flow}-mine"]
    for name in others:
        await temporal.create_schedule(
            name, Schedule(action, ScheduleSpec()), memo={"orchestrator": {"task_queue": "orchestrator-other"}}
        )
    try:
        await asyncio.sleep(0.5)
        assert (await schedules.keep()).deleted == ()
        for name in others:
            await temporal.get_schedule_handle(name).describe()
        await door.publish(report(f"{flow}-other"))
        [problem] = (await schedules.keep()).problems
        assert "it is another installation's" in problem
    finally:
        for name in others:
            await temporal.get_schedule_handle(name).delete()


async def test_overlap_catch_up_and_jitter_reach_temporal_and_the_next_version_changes_them(
    door: Door, flow: str
) -> None:
    schedules = Schedules(door.client)
    handle = door.client.temporal.get_schedule_handle(f"orchestrator:{flow}:nightly")
    expected: list[tuple[str, str, int, int | None]] = [("skip", "", 86400, None)]
    expected += [(name, ", catch_up: 1h, jitter: 90s", 3600, 90) for name in OVERLAPS]
    for version, (overlap, more, catch_up, jitter) in enumerate(expected):
        await door.publish(
            f"id: {flow}\nversion: {version}\nsteps: [{{type: transform, config: {{value: 1}}}}]\n"
            f"triggers: [{{type: schedule, id: nightly, every: 1h, overlap: {overlap}{more}}}]\n"
        )
        await schedules.keep()
        found = (await handle.describe()).schedule
        assert found.policy.overlap == OVERLAPS[overlap]
        assert found.policy.catchup_window == timedelta(seconds=catch_up)
        assert found.spec.jitter == (timedelta(seconds=jitter) if jitter else None)


async def test_gateways_that_keep_schedules_at_the_same_time_agree(door: Door, flow: str) -> None:
    names = [f"{flow}-{number}" for number in range(4)]
    for name in names:
        await door.publish(report(name))
    kept = await asyncio.gather(*(Schedules(door.client).keep() for _ in range(4)))
    assert [one.problems for one in kept] == [()] * 4
    assert {one["status"] for one in [await until(door, name, lambda _: True) for name in names]} == {"on"}
    for name in names:
        await door.publish(report(name, 2, "15 9 * * *"))
    await asyncio.gather(*(Schedules(door.client).keep() for _ in range(4)))
    await Schedules(door.client).keep()
    assert (await Schedules(door.client).keep()).updated == ()
    for name in names:
        await until(door, name, lambda one: {moment[11:] for moment in one["next"]} == {"00:15:00Z"})


async def test_a_clock_that_cannot_be_read_is_told_and_stops_no_other_schedule(
    door: Door, flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_release(trigger: Any, now: datetime) -> ScheduleSpec:
        if trigger["cron"] == "0 8 * * *":
            raise ValueError("'0 8 * * *' is of another release")
        return spec_of(trigger, now)

    monkeypatch.setattr("orchestrator.client.schedules.spec_of", of_another_release)
    await door.publish(report(f"{flow}-bad", cron="0 8 * * *"))
    await door.publish(report(flow))
    await until(door, flow, lambda one: one["status"] == "on")
    [problem] = (await Schedules(door.client).keep()).problems
    assert "cannot be read here: '0 8 * * *' is of another release" in problem


async def test_a_schedule_of_a_flow_that_is_gone_goes_also_when_nobody_remembers_it(door: Door, flow: str) -> None:
    await door.publish(report(flow))
    await until(door, flow, lambda one: one["status"] == "on")
    await door.store.flows.delete(flow)
    for _ in range(100):
        await Schedules(door.client).keep()
        if not await exists(door, flow):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the schedule is still there")


async def test_another_schedule_starts_a_flow_with_the_inputs_it_brings(door: Door, flow: str) -> None:
    await door.publish(report(flow, on=False))
    name = f"{flow}-by-hand"
    action = ScheduleActionStartWorkflow(flow, args=[{"day": "x"}], id=name, task_queue=door.settings.task_queue)
    handle = await door.client.temporal.create_schedule(
        name, Schedule(action, ScheduleSpec()), trigger_immediately=True
    )
    try:
        for _ in range(100):
            recent = (await handle.describe()).info.recent_actions
            if recent:
                break
            await asyncio.sleep(0.05)
        started: Any = recent[0].action
        output = await door.client.run(started.workflow_id).result(20)
        assert (output["day"], output["trigger"]["id"], output["trigger"]["body"]) == ("x", name, {"day": "x"})
    finally:
        await handle.delete()


async def test_a_schedule_fires_by_itself_and_leaves_out_what_would_overlap(door: Door, flow: str) -> None:
    await door.publish(
        f"id: {flow}\ntriggers: [{{type: schedule, id: nightly, every: 1s}}]\n"
        "steps: [{type: wait, config: {duration: 60}}]\n"
    )
    shown = await until(door, flow, lambda one: one["skipped"] > 0)
    assert (shown["started"], len(shown["running"])) == (1, 1)
    await door.client.run(shown["running"][0]).terminate()


async def test_a_flow_without_such_a_schedule_is_told_by_name(door: Door, flow: str) -> None:
    await door.publish(report(flow))
    told = await act(door, flow, "pause", status=404, trigger="weekly")
    assert "has no schedule 'weekly'; its schedules: 'nightly'" in told["detail"]
    assert (await door.http.get("/v1/schedules", params={"flow": "nobody"})).status_code == 404
    assert [one["trigger"] for one in (await door.http.get("/v1/schedules")).json()["schedules"]] == ["nightly"]


async def test_the_keeper_looks_and_only_works_when_something_was_published(idle: Door) -> None:
    keeper = ScheduleKeeper(idle.client)
    started = datetime.now(UTC)
    await keeper.turn()
    await keeper.turn()
    assert datetime.now(UTC) - started < timedelta(seconds=5)


PICKY = """
id: {flow}
triggers: [{{type: schedule, id: nightly, cron: "0 9 * * *", if: "{condition}"}}]
concurrency: {{limit: 1}}
monitoring: {{metrics: [execution_time]}}
steps: [{{id: told, type: transform, config: {{value: done}}}}]
error_handling: {{finally: [{{id: cleaned, type: fail, config: {{type: broken, message: "no"}}}}]}}
"""


async def fired(door: Door, flow: str, condition: str) -> Any:
    """The run that the schedule starts."""
    await door.publish(PICKY.format(flow=flow, condition=condition))
    await until(door, flow, lambda one: one["status"] == "on")
    await act(door, flow, "trigger", status=202)
    for _ in range(600):
        runs = await door.client.runs(flow)
        if runs:
            return door.client.run(runs[0].id)
        await asyncio.sleep(0.05)
    raise AssertionError("the schedule started no run")


async def test_a_schedule_whose_if_is_false_does_nothing_and_says_so(door: Door, flow: str) -> None:
    run = await fired(door, flow, "date_format(trigger.scheduled_time, '%Y') == '1999'")
    assert await run.result(30) is None
    state = await run.state()
    assert (state["status"], state["steps"]) == ("completed", {})
    [warning] = state["warnings"]
    assert warning.startswith("nothing was done: the `if` of schedule 'nightly' is false for 2")
    metrics = (await door.http.get(f"/v1/flows/{flow}/metrics")).json()
    assert metrics["runs"] == {}


async def test_a_schedule_whose_if_is_true_runs(door: Door, flow: str) -> None:
    run = await fired(door, flow, "trigger.scheduled_time > '2000'")
    with pytest.raises(RunFailed, match="no"):
        await run.result(30)


async def test_a_schedule_whose_if_cannot_be_told_is_a_failed_run(door: Door, flow: str) -> None:
    run = await fired(door, flow, "trigger.body.count > 1")
    with pytest.raises(RunFailed, match="the `if` of schedule 'nightly'"):
        await run.result(30)
