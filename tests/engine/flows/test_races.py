"""``parallel``: when it is decided, what happens to the others, what it gives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from tests.engine.harness import Workbench, events, failure_of

RACE = """
id: race
inputs: {n: {default: null}}
steps:
  - id: race
    type: parallel
    OPTIONS
    config:
      BRANCHES
      SETTINGS
output: ["{{ steps.race.output }}", "{{ steps.race.finished }}", "{{ steps.race.winner | default('-') }}"]
"""
STEP = (
    "- {id: NAME, type: block, COUNTS config: {steps: [{id: NAME-nap, type: wait, config: {duration: DELAY}}, LAST]}}"
)
GIVE = "{id: NAME-give, type: transform, config: {value: NAME}}"
FAIL = "{id: NAME-fail, type: fail, config: {type: NAME-broke, message: m}}"
NEVER = "1h"


def race(branches: list[str], settings: str = "", options: str = "") -> str:
    written = "branches:\n" + "\n".join(f"        {branch}" for branch in branches)
    settled = "\n      ".join(settings.strip("{}").split(", "))
    return RACE.replace("BRANCHES", written).replace("SETTINGS", settled).replace("OPTIONS", options)


def gives(name: str, delay: str, counts: str = "") -> str:
    return STEP.replace("LAST", GIVE).replace("NAME", name).replace("DELAY", delay).replace("COUNTS", counts)


def fails(name: str, delay: str, counts: str = "") -> str:
    return STEP.replace("LAST", FAIL).replace("NAME", name).replace("DELAY", delay).replace("COUNTS", counts)


def skipped(name: str) -> str:
    return f"- {{id: {name}, type: transform, if: 'false', config: {{value: {name}}}}}"


A, B, C = gives("a", "900ms"), gives("b", "1ms"), gives("c", "1800ms")
SLOW = gives("slow", NEVER)
UNCOUNTED = "counts: false,"

WON: list[tuple[str, list[str], list[Any]]] = [
    # what finished, in which order; completed branches only
    ("", [A, B, C], [{"a": "a", "b": "b", "c": "c"}, ["b", "a", "c"], "-"]),
    ("{wait_for: all}", [A, B], [{"a": "a", "b": "b"}, ["b", "a"], "-"]),
    ("{wait_for: any}", [A, B, SLOW], [{"b": "b"}, ["b"], "b"]),
    ("{wait_for: majority}", [A, B, SLOW], [{"a": "a", "b": "b"}, ["b", "a"], "b"]),
    ("{wait_for: majority}", [A, B, C, SLOW], [{"a": "a", "b": "b", "c": "c"}, ["b", "a", "c"], "b"]),
    ("{wait_for: 1}", [A, B, SLOW], [{"b": "b"}, ["b"], "b"]),
    ("{wait_for: 2}", [A, B, SLOW], [{"a": "a", "b": "b"}, ["b", "a"], "b"]),
    # skipped branches leave the total
    ("", [A, skipped("b")], [{"a": "a"}, ["a"], "-"]),
    ("{wait_for: majority}", [A, skipped("b"), skipped("c")], [{"a": "a"}, ["a"], "a"]),
    ("{wait_for: any}", [skipped("a"), skipped("b")], [{}, [], None]),
    ("", [skipped("a")], [{}, [], "-"]),
    # what does not count never ends the race, neither way
    ("{wait_for: any}", [gives("free", "1ms", UNCOUNTED), A, SLOW], [{"a": "a"}, ["free", "a"], "a"]),
    ("{wait_for: majority}", [A, B, SLOW, gives("free", NEVER, UNCOUNTED)], [{"a": "a", "b": "b"}, ["b", "a"], "b"]),
    ("", [A, gives("free", NEVER, UNCOUNTED)], [{"a": "a"}, ["a"], "-"]),
    ("", [A, fails("free", "1ms", UNCOUNTED)], [{"a": "a"}, ["a"], "-"]),
    # failures that the race can do without
    ("{wait_for: any}", [fails("x", "1ms"), A, SLOW], [{"a": "a"}, ["a"], "a"]),
    ("{wait_for: majority}", [fails("x", "1ms"), A, C], [{"a": "a", "c": "c"}, ["a", "c"], "a"]),
    ("{wait_for: 1, on_failure: finish_all}", [fails("x", "1ms"), A, SLOW], [{"a": "a"}, ["a"], "a"]),
]


async def test_a_race_is_won_when_enough_have_completed(workbench: Workbench) -> None:
    got = await asyncio.gather(
        *(workbench.run(race(branches, settings)) for settings, branches, _ in WON), return_exceptions=True
    )
    for (settings, branches, expected), ended in zip(WON, got, strict=True):
        assert ended == expected, (settings, branches)


async def test_how_many_is_an_expression(workbench: Workbench) -> None:
    wanted = {2: 2, 0: 1, -5: 1, 0.5: 1, "any": 1, "majority": 2, "all": 3}
    flow = race([A, B, C], "{wait_for: '{{ inputs.n }}'}")
    got = await asyncio.gather(*(workbench.run(flow, {"n": n}) for n in wanted))
    assert {n: len(ended[1]) for n, ended in zip(wanted, got, strict=True)} == wanted


async def test_a_count_that_cannot_be_reached_or_is_none_fails_at_once(workbench: Workbench) -> None:
    wanted = {4: "4 branches", True: "gave true", "two": 'gave "two"', None: "gave null"}
    flow = race([A, B, SLOW], "{wait_for: '{{ inputs.n }}'}")
    errors = await asyncio.gather(*(workbench.failure(flow, {"n": n}) for n in wanted))
    for told, error in zip(wanted.values(), errors, strict=True):
        assert (error["type"], error["step"]["path"]) == ("invalid_config", "race")
        assert told in error["message"]


X, Y, Z = fails("x", "1ms"), fails("y", "900ms"), fails("z", "1800ms")

LOST: list[tuple[str, list[str], str, list[str]]] = [
    ("", [A, SLOW, X], "x-broke", []),
    ("{on_failure: fail_fast}", [Y, X, SLOW], "x-broke", []),
    ("{on_failure: finish_all}", [Y, X, A], "x-broke", ["x-broke", "y-broke"]),
    ("{wait_for: any}", [Y, X, Z], "x-broke", ["x-broke", "y-broke", "z-broke"]),
    ("{wait_for: majority}", [Y, X, SLOW], "x-broke", ["x-broke", "y-broke"]),
    ("{wait_for: 2, on_failure: finish_all}", [Z, Y, X, A], "x-broke", ["x-broke", "y-broke", "z-broke"]),
    ("{wait_for: any}", [X, skipped("b")], "x-broke", []),
]


async def test_a_race_is_lost_when_enough_can_no_longer_complete(workbench: Workbench) -> None:
    errors = await asyncio.gather(*(workbench.failure(race(branches, settings)) for settings, branches, _, _ in LOST))
    for (settings, branches, kind, kinds), error in zip(LOST, errors, strict=True):
        assert error["type"] == kind, (settings, branches)
        assert error["step"]["path"].startswith("race/x/")
        assert [one["type"] for one in error.get("errors", [])] == kinds, (settings, branches)


async def test_fail_fast_stops_the_others_and_finish_all_lets_them_end(workbench: Workbench) -> None:
    branches = [X, "- {id: work, type: function, config: {handler: slow, params: {seconds: SECONDS}}}"]
    hangs = [branch.replace("SECONDS", "60") for branch in branches]
    ends = [branch.replace("SECONDS", "0.5") for branch in branches]
    hangs[0] = hangs[0].replace("1ms", "700ms")
    await workbench.failure(race(hangs, "{on_failure: fail_fast}"))
    await workbench.failure(race(ends, "{on_failure: finish_all}"))
    assert workbench.calls() == ["start race/work", "cancelled race/work", "start race/work", "end race/work"]


LOSER = "- {id: loser, type: function, config: {handler: slow, params: {seconds: SECONDS}}}"
AFTER = "  - {id: after, type: function, config: {handler: echo, args: [after]}}\noutput:"


async def test_losers_are_cancelled_before_the_run_goes_on(workbench: Workbench) -> None:
    flow = race([gives("a", "700ms"), LOSER.replace("SECONDS", "60")], "{wait_for: any}").replace("output:", AFTER)
    handle = await workbench.start(flow)
    assert (await handle.result())[0] == {"a": "a"}
    assert workbench.calls() == ["start race/loser", "cancelled race/loser", "echo after"]
    state = await handle.query("state")
    assert state["steps"]["race/loser"]["status"] == "cancelled"


async def test_losers_that_may_finish_do_so_beside_the_run_which_waits_for_them(workbench: Workbench) -> None:
    flow = race([gives("a", "500ms"), LOSER.replace("SECONDS", "1.5")], "{wait_for: any, losers: finish}")
    handle = await workbench.start(flow.replace("output:", AFTER))
    assert (await handle.result())[:2] == [{"a": "a"}, ["a"]]
    assert workbench.calls() == ["start race/loser", "echo after", "end race/loser"]
    state = await handle.query("state")
    assert state["steps"]["race/loser"]["status"] == "completed"


async def test_a_loser_that_fails_later_is_a_warning(workbench: Workbench) -> None:
    handle = await workbench.start(race([gives("a", "1ms"), Y], "{wait_for: any, losers: finish}"))
    assert (await handle.result())[0] == {"a": "a"}
    state = await handle.query("state")
    assert state["status"] == "completed"
    assert any("y-broke" in warning for warning in state["warnings"])


async def test_losers_do_not_outlive_a_run_that_fails(workbench: Workbench) -> None:
    flow = race([gives("a", "700ms"), LOSER.replace("SECONDS", "60")], "{wait_for: any, losers: finish}")
    bad = "  - {id: bad, type: fail, config: {type: boom, message: m}}\noutput:"
    assert (await workbench.failure(flow.replace("output:", bad)))["type"] == "boom"
    assert workbench.calls() == ["start race/loser", "cancelled race/loser"]


async def test_cancelling_the_run_stops_every_branch_and_every_loser(workbench: Workbench) -> None:
    flow = race([gives("a", "1ms"), LOSER.replace("SECONDS", "60")], "{wait_for: any, losers: finish}").replace(
        "output:", "  - {id: hang, type: function, config: {handler: slow, params: {seconds: 60}}}\noutput:"
    )
    handle = await workbench.start(flow)
    while len(workbench.calls()) < 2:
        await asyncio.sleep(0.05)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert sorted(workbench.calls()[2:]) == ["cancelled hang", "cancelled race/loser"]


async def test_a_branch_that_was_handled_does_not_fail_the_race(workbench: Workbench) -> None:
    branches = [
        "- {id: a, type: fail, on_error: continue, config: {type: boom, message: m}}",
        "- {id: b, type: fail, on_error: [{id: plan-b, type: transform, config: {value: saved}}], config: {type: boom, message: m}}",
        "- {id: c, type: transform, config: {value: c}}",
    ]
    got = await workbench.run(race(branches, "{wait_for: 2}"))
    assert got[0] == {"b": "saved", "c": "c"}


async def test_a_branch_starts_when_the_branches_it_needs_are_done(workbench: Workbench) -> None:
    branches = [
        "- {id: late, type: function, needs: [b], config: {handler: echo, args: ['late {{ steps.b.output }}']}}",
        "- {id: a, type: function, config: {handler: slow, params: {seconds: 0.8}}}",
        "- {id: b, type: function, config: {handler: echo, args: [b]}}",
    ]
    got = await workbench.run(race(branches))
    assert got[1] == ["b", "late", "a"]
    calls = [call for call in workbench.calls() if not call.startswith("start")]
    assert calls == ["echo b", "echo late b", "end race/a"]


async def test_a_race_in_a_race_is_decided_on_its_own(workbench: Workbench) -> None:
    inner = (
        "- {id: inner, type: parallel, config: {wait_for: any, branches: ["
        "{id: quick, type: transform, config: {value: 1}}, {id: never, type: wait, config: {duration: 1h}}]}}"
    )
    got = await workbench.run(race([inner, SLOW], "{wait_for: any}"))
    assert got == [{"inner": {"quick": 1}}, ["inner"], "inner"]


async def test_return_in_a_branch_ends_the_run_and_stops_the_others(workbench: Workbench) -> None:
    branches = [
        "- {id: out, type: block, config: {steps: [{id: nap, type: wait, config: {duration: 700ms}}, "
        "{id: r, type: return, config: {output: done}}]}}",
        LOSER.replace("SECONDS", "60"),
    ]
    assert await workbench.run(race(branches, "{on_failure: finish_all}")) == "done"
    assert workbench.calls() == ["start race/loser", "cancelled race/loser"]


async def test_a_timeout_of_the_whole_stops_every_branch_and_says_whose_it_was(workbench: Workbench) -> None:
    flow = race([LOSER.replace("SECONDS", "60"), SLOW], options="timeout: 700ms")
    error = await workbench.failure(flow)
    assert (error["type"], error["step"]["path"]) == ("step_timeout", "race")
    assert workbench.calls() == ["start race/loser", "cancelled race/loser"]


async def test_three_hundred_branches_all_run_in_a_few_batches(workbench: Workbench) -> None:
    branches = [f"- {{id: b{n}, type: function, config: {{handler: echo, args: [{n}]}}}}" for n in range(300)]
    handle = await workbench.start(race(branches))
    got = await asyncio.wait_for(handle.result(), 60)
    assert got[0] == {f"b{n}": n for n in range(300)}
    timers = [event for event in await events(handle) if event.HasField("timer_started_event_attributes")]
    assert len(timers) < 50


async def test_the_shortest_form_is_a_parallel_of_all(workbench: Workbench) -> None:
    flow = """
    id: short
    steps:
      - parallel:
          - {id: a, type: transform, config: {value: 1}}
          - {id: b, type: fail, config: {type: boom, message: m}}
    """
    error = await failure_of(await workbench.start(flow))
    assert (error["type"], error["step"]["id"]) == ("boom", "b")
