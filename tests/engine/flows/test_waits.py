"""Waiting for time, for events, for signals, and for whichever comes first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from tests.engine.harness import Workbench, events

NAP = """
id: nap
inputs: {given: {default: null}}
steps:
  - {id: w, type: wait, config: {WAIT}}
output: "{{ date_diff(run.started_at, steps.w.finished_at) }}"
"""
HOUR, DAY = 3600, 86400


NAPS: list[tuple[str, object, float]] = [
    ("duration: 24h", None, DAY),
    ("duration: PT24H", None, DAY),
    ("duration: P7D", None, 7 * DAY),
    ("duration: 1h30m", None, 1.5 * HOUR),
    ("duration: 52w", None, 364 * DAY),
    ("duration: 90", None, 90),
    ("duration: '{{ inputs.given }}'", "2d", 2 * DAY),
    ("duration: '{{ inputs.given }}m'", 45, 45 * 60),
    ("duration: '{{ inputs.given }}'", 7200, 2 * HOUR),
    ("until: \"{{ date_add(now(), '36h') }}\"", None, 1.5 * DAY),
    ("duration: 0s", None, 0),
]


async def test_a_wait_takes_as_long_as_written_however_long(skipping: Workbench) -> None:
    # One after the other: the clock of this server is one for all its runs.
    for wait, given, seconds in NAPS:
        took = await skipping.run(NAP.replace("WAIT", wait), {"given": given})
        assert seconds <= abs(took) < seconds + 30, (wait, given)


@pytest.mark.parametrize("zone", ["+00:00", "+09:00", "-05:30"])
async def test_an_instant_counts_in_its_own_zone(skipping: Workbench, zone: str) -> None:
    now = datetime.now(UTC)
    hours = int(zone[:3])
    minutes = int(zone[0] + zone[4:])
    shifted = (now + timedelta(hours=5 + hours, minutes=minutes)).replace(tzinfo=None).isoformat(timespec="seconds")
    took = abs(await skipping.run(NAP.replace("WAIT", "until: '{{ inputs.given }}'"), {"given": shifted + zone}))
    assert 5 * HOUR - 60 <= took < 5 * HOUR + 60


@pytest.mark.parametrize("past", ["2020-01-01T00:00:00Z", "1970-01-01T00:00:00+09:00", "0001-01-01T00:00:00+14:00"])
async def test_what_has_passed_is_over_at_once_and_sets_no_timer(workbench: Workbench, past: str) -> None:
    handle = await workbench.start(NAP.replace("WAIT", "until: '{{ inputs.given }}'"), {"given": past})
    assert abs(await handle.result()) < 10
    assert not any(event.HasField("timer_started_event_attributes") for event in await events(handle))


NO_TIMES: list[tuple[str, object, str]] = [
    ("until: '{{ inputs.given }}'", "2030-01-01T00:00:00", "time zone"),
    ("until: '{{ inputs.given }}'", "tomorrow", "tomorrow"),
    ("duration: '{{ inputs.given }}'", "soon", "soon"),
    ("duration: '{{ inputs.given }}'", "3 months", "3 months"),
    ("duration: '{{ inputs.given }}'", -5, "zero or more"),
    ("duration: '{{ inputs.given }}'", None, "None"),
    ("duration: '{{ inputs.given }}'", [1], "[1]"),
]


async def test_what_is_no_time_fails_the_step_and_shows_it(workbench: Workbench) -> None:
    errors = await asyncio.gather(
        *(workbench.failure(NAP.replace("WAIT", wait), {"given": given}) for wait, given, _ in NO_TIMES)
    )
    for (wait, given, told), error in zip(NO_TIMES, errors, strict=True):
        assert (error["type"], error["step"]["path"]) == ("invalid_config", "w"), (wait, given)
        assert told in error["message"]


async def test_an_open_wait_shows_until_when(workbench: Workbench) -> None:
    handle = await workbench.start(NAP.replace("WAIT", "duration: 1h"))
    state = await workbench.waiting(handle, "w")
    [wait] = state["waits"]
    assert (wait["path"], wait["kind"], state["status"]) == ("w", "wait", "waiting")
    left = datetime.fromisoformat(wait["until"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    await handle.terminate()


# -- events -------------------------------------------------------------------------------------------------------

LISTEN = """
id: listen
inputs: {order: {default: 7}}
steps:
  - BEFORE
  - id: pay
    type: wait-for-event
    config:
      CONFIG
  - {id: done, type: function, config: {handler: echo, args: [done]}}
output: "{{ steps.pay.output }}"
"""
PAUSE = "{id: gate, type: wait-for-event, config: {signal: go}}"


def listen(config: str, before: str = "{id: none, type: transform, config: {value: 1}}") -> str:
    return LISTEN.replace("CONFIG", "\n      ".join(config.split("; "))).replace("BEFORE", before)


async def send(handle: WorkflowHandle[Any, Any], kind: str, /, number: str = "", **data: Any) -> None:
    event = {"id": number or None, "type": kind, "time": "2026-01-01T00:00:00Z", "data": data}
    await handle.signal("orchestrator.event", {"event": event})


async def test_an_event_that_correlates_is_the_output_and_others_pass_by(workbench: Workbench) -> None:
    flow = listen("event: order.paid; correlate: {data.order: '{{ inputs.order }}'}")
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "pay")
    await send(handle, "order.paid", number="e1", order=8)
    await send(handle, "order.shipped", number="e2", order=7)
    await send(handle, "order.paid", number="e3")
    await send(handle, "order.paid", number="e4", order="7")
    await send(handle, "order.paid", number="e5", order=7)
    got = await handle.result()
    assert got["timed_out"] is False
    assert (got["event"]["id"], got["event"]["data"]) == ("e5", {"order": 7})
    assert got["events"] == {"order.paid": got["event"]}


CONFIGS: list[tuple[str, list[tuple[str, dict[str, Any]]], dict[str, Any]]] = [
    # the `if` sees the event
    (
        "event: order.paid; if: event.data.amount >= 100 and event.type == 'order.paid'",
        [("order.paid", {"amount": 5}), ("order.paid", {}), ("order.paid", {"amount": 100})],
        {"amount": 100},
    ),
    # any of several types, wildcards included
    ("event: [order.paid, order.lost]", [("order.kept", {}), ("order.lost", {"n": 1})], {"n": 1}),
    ("event: 'order.*'", [("invoice.paid", {}), ("order.x.y", {"n": 2})], {"n": 2}),
    # nothing but the type
    ("event: order.paid", [("order.paid", {"n": 3})], {"n": 3}),
    # nested members, several of them
    (
        "event: order.paid; correlate: {data.a.b: 1, type: order.paid}",
        [("order.paid", {"a": 1}), ("order.paid", {"a": {"b": 2}}), ("order.paid", {"a": {"b": 1}, "n": 4})],
        {"a": {"b": 1}, "n": 4},
    ),
]


@pytest.mark.parametrize(("config", "sent", "taken"), CONFIGS)
async def test_what_a_wait_listens_to(
    workbench: Workbench, config: str, sent: list[tuple[str, dict[str, Any]]], taken: dict[str, Any]
) -> None:
    handle = await workbench.start(listen(config))
    await workbench.waiting(handle, "pay")
    for kind, data in sent:
        await send(handle, kind, **data)
    assert (await asyncio.wait_for(handle.result(), 30))["event"]["data"] == taken


async def test_an_if_that_cannot_be_evaluated_leaves_the_wait_open_and_is_a_warning(workbench: Workbench) -> None:
    handle = await workbench.start(listen("event: order.paid; if: event.data.amount > 1"))
    await workbench.waiting(handle, "pay")
    await send(handle, "order.paid", amount="many")
    await send(handle, "order.paid", amount=2)
    assert (await handle.result())["event"]["data"] == {"amount": 2}
    assert any("`if`" in warning for warning in (await handle.query("state"))["warnings"])


async def test_mode_all_waits_for_each_type_and_keeps_the_first_of_each(workbench: Workbench) -> None:
    handle = await workbench.start(listen("event: [a.done, b.done]; mode: all"))
    await workbench.waiting(handle, "pay")
    await send(handle, "a.done", n=1)
    await send(handle, "a.done", n=2)
    await send(handle, "b.done", n=3)
    got = await handle.result()
    assert {kind: event["data"]["n"] for kind, event in got["events"].items()} == {"a.done": 1, "b.done": 3}
    assert got["event"]["data"] == {"n": 3}


async def test_early_events_are_kept_in_order_where_the_key_is_known_from_the_start(workbench: Workbench) -> None:
    flow = listen("event: order.paid; correlate: {data.order: '{{ inputs.order }}'}", PAUSE)
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "gate")
    await send(handle, "order.paid", number="other", order=8)
    await send(handle, "order.paid", number="first", order=7)
    await send(handle, "order.paid", number="second", order=7)
    await handle.signal("go", {})
    assert (await handle.result())["event"]["id"] == "first"


async def test_early_events_are_not_kept_where_the_key_is_learnt_on_the_way(workbench: Workbench) -> None:
    flow = listen("event: order.paid; correlate: {data.order: '{{ steps.gate.output.event.data.order }}'}", PAUSE)
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "gate")
    await send(handle, "order.paid", number="early", order=7)
    await handle.signal("go", {"order": 7})
    await workbench.waiting(handle, "pay")
    await send(handle, "order.paid", number="late", order=7)
    assert (await handle.result())["event"]["id"] == "late"


async def test_the_trigger_counts_only_where_it_is_asked_for(workbench: Workbench) -> None:
    trigger = {"type": "event", "id": "t1", "time": "now", "body": {"order": 7}}
    told = {"event": {"id": "t1", "type": "order.paid", "time": "now", "source": "shop"}}
    asked = listen("event: order.paid; include_trigger: true")
    got = await workbench.run(asked, trigger=trigger | told)
    assert (got["event"]["id"], got["event"]["data"]) == ("t1", {"order": 7})
    handle = await workbench.start(listen("event: order.paid"), trigger=trigger | told)
    await workbench.waiting(handle, "pay")
    await send(handle, "order.paid", number="e2")
    assert (await handle.result())["event"]["id"] == "e2"


async def test_two_waits_of_a_race_both_see_one_event(workbench: Workbench) -> None:
    flow = """
    id: both
    steps:
      - id: p
        type: parallel
        config:
          branches:
            - {id: a, type: wait-for-event, config: {event: x.y}}
            - {id: b, type: wait-for-event, config: {event: "x.*"}}
    output: ["{{ steps.a.output.event.id }}", "{{ steps.b.output.event.id }}"]
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "b")
    await send(handle, "x.y", number="one")
    assert await handle.result() == ["one", "one"]


async def test_no_event_in_time_fails_with_deadline_exceeded_or_goes_on(skipping: Workbench) -> None:
    error = await skipping.failure(listen("event: order.paid; timeout: 7d"))
    assert (error["type"], error["step"]["path"]) == ("deadline_exceeded", "pay")
    assert "order.paid" in error["message"]
    got = await skipping.run(listen("event: [a, b]; mode: all; timeout: 7d; on_timeout: continue"))
    assert got == {"timed_out": True, "event": None, "events": {}}
    assert skipping.calls() == ["echo done"]


async def test_the_time_limit_of_the_step_around_says_that_it_was_that_one(skipping: Workbench) -> None:
    flow = listen("event: order.paid; timeout: 7d").replace(
        "type: wait-for-event", "type: wait-for-event\n    timeout: 1d"
    )
    assert (await skipping.failure(flow))["type"] == "step_timeout"


# -- signals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("early", [True, False])
async def test_a_signal_reaches_its_wait_before_or_after_it_opens(workbench: Workbench, early: bool) -> None:
    handle = await workbench.start(listen("signal: paid", PAUSE))
    await workbench.waiting(handle, "gate")
    if early:
        await handle.signal("paid", {"n": 1})
    await handle.signal("go")
    if not early:
        await workbench.waiting(handle, "pay")
        await handle.signal("paid", {"n": 1})
    got = await handle.result()
    assert {key: got["event"][key] for key in ("type", "data")} == {"type": "paid", "data": {"n": 1}}
    assert set(got["event"]) == {"id", "type", "time", "data"}
    assert got["events"] == {"paid": got["event"]}


async def test_a_signal_that_does_not_correlate_is_left_for_the_wait_that_it_belongs_to(workbench: Workbench) -> None:
    flow = """
    id: two
    steps:
      - {id: a, type: wait-for-event, config: {signal: paid, correlate: {data.n: 1}}}
      - {id: b, type: wait-for-event, config: {signal: paid, correlate: {data.n: 2}}}
    output: ["{{ steps.a.output.event.data.k }}", "{{ steps.b.output.event.data.k }}"]
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "a")
    await handle.signal("paid", {"n": 2, "k": "second"})
    await handle.signal("paid", {"n": 1, "k": "first"})
    assert await handle.result() == ["first", "second"]


async def test_signals_are_taken_one_per_pass_in_the_order_they_came(workbench: Workbench) -> None:
    flow = """
    id: passes
    steps:
      - id: each
        type: for-each
        config:
          items: 3
          steps:
            - {id: a, type: wait-for-event, config: {signal: paid}}
            - {id: n, type: transform, config: {value: "{{ steps.a.output.event.data }}"}}
    """
    handle = await workbench.start(flow)
    for n in range(3):
        await handle.signal("paid", n)
    assert await asyncio.wait_for(handle.result(), 30) == [0, 1, 2]


# -- races --------------------------------------------------------------------------------------------------------

RACED = """
id: raced
steps:
  - id: race
    type: parallel
    config:
      wait_for: any
      branches:
        - {id: late, type: wait, config: {duration: 7d}}
        - {id: paid, type: wait-for-event, config: {signal: paid}}
        - {id: lost, type: wait-for-event, config: {event: order.lost}}
        - {id: ask, type: human-task, config: {assignee: x}}
output: "{{ steps.race.winner }}"
"""


async def _answer(handle: WorkflowHandle[Any, Any], winner: str) -> None:
    match winner:
        case "paid":
            await handle.signal("paid", {})
        case "lost":
            await send(handle, "order.lost")
        case "ask":
            await handle.execute_update("ask", {"decision": "approve"})


@pytest.mark.parametrize("winner", ["paid", "lost", "ask"])
async def test_the_first_of_several_raced_waits_decides_and_the_others_close(workbench: Workbench, winner: str) -> None:
    handle = await workbench.start(RACED)
    await workbench.waiting(handle, "ask")
    await _answer(handle, winner)
    assert await handle.result() == winner
    state = await handle.query("state")
    assert state["waits"] == []
    ended = {path: record["status"] for path, record in state["steps"].items() if "/" in path}
    assert ended.pop(f"race/{winner}") == "completed"
    assert set(ended.values()) == {"cancelled"}


async def test_time_wins_a_race_nobody_else_wins(skipping: Workbench) -> None:
    assert await skipping.run(RACED) == "late"


async def test_a_year_of_waits_in_a_row_runs_through(skipping: Workbench) -> None:
    flow = """
    id: year
    steps:
      - id: months
        type: for-each
        config:
          items: 12
          steps:
            - {id: month, type: wait, config: {duration: 30d}}
            - {id: bill, type: function, config: {handler: echo, args: ["{{ item }}"]}}
    """
    assert await skipping.run(flow) == list(range(12))


async def test_cancelling_a_wait_cancels_the_run(workbench: Workbench) -> None:
    handle = await workbench.start(listen("event: order.paid"))
    await workbench.waiting(handle, "pay")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert (await handle.query("state"))["steps"]["pay"]["status"] == "cancelled"
    assert workbench.calls() == []
