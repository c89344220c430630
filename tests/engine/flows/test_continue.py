"""Runs that continue as new at every step do what they do otherwise, and no history grows with a loop.

The tests of other files run here once more, with runs that continue as new whenever they can. All of them with
``pytest tests/engine/flows/test_continue.py --hypothesis-profile=chaos``, a selection otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from tests.conftest import free_port
from tests.engine.harness import Workbench, open_workbench

ROOT = Path(__file__).parents[3]
CHAOS = settings.get_current_profile_name() == "chaos"
AGAIN = ("branches", "failures", "lists", "tasks", "undoing_continued")
AGAIN_IN_CHAOS = (
    *("bad_input", "cache", "caches", "computed", "endings", "express", "functions", "late_names", "loops", "policies"),
    *("races", "recover", "sagas", "signals", "subflows", "waits", "while"),
)
OTHERWISE = {
    # What they look at is the history, of which this run has many.
    "test_an_express_step_is_one_marker_and_no_activity",
    "test_computed_steps_in_a_loop_have_the_paths_and_names_of_their_pass",
    "test_computed_steps_run_and_give_their_outputs_by_id",
    "test_control_steps_cost_no_activity",
    "test_a_body_run_again_is_undone_once_per_time_it_completed",
    "test_every_pass_has_its_own_path_and_idempotency_key",
    "test_in_a_loop_a_compensation_sees_the_item_and_the_steps_of_its_pass",
    "test_a_loop_adds_no_activity_and_no_timer_of_its_own",
    "test_a_loop_in_an_overlapping_loop_has_its_own_passes",
    "test_the_default_of_a_block_holds_inside_it_and_a_step_may_differ",
    "test_three_hundred_branches_all_run_in_a_few_batches",
    "test_three_hundred_branches_stay_within_the_budget_of_a_workflow_task",
    "test_what_was_checked_is_recorded_and_not_checked_again_on_replay",
    "test_work_of_some_seconds_is_recorded_on_the_way",
    # Who begins beside whom and how long that takes: what is under way ends before anything else begins.
    "test_a_branch_starts_when_the_branches_it_needs_are_done",
    "test_a_burst_of_1000_signals_with_repeats_is_taken_once_each",
    "test_a_loser_that_fails_later_is_a_warning",
    "test_a_race_is_lost_when_enough_can_no_longer_complete",
    "test_a_race_is_won_when_enough_have_completed",
    "test_a_step_longer_than_the_heartbeat_timeout_is_not_taken_for_lost",
    "test_a_synchronous_function_runs_in_a_thread_and_does_not_hold_up_the_others",
    "test_a_thousand_passes_leave_a_journal_as_small_as_one",
    "test_cancelling_reaches_every_parallel_branch",
    "test_cancelling_the_run_stops_every_branch_and_every_loser",
    "test_early_events_are_bounded_by_bytes_and_make_room_again",
    "test_express_branches_run_side_by_side",
    "test_losers_do_not_outlive_a_run_that_fails",
    "test_losers_that_may_finish_do_so_beside_the_run_which_waits_for_them",
    "test_needs_start_a_step_the_moment_they_are_done",
    "test_no_more_passes_than_allowed_run_at_once",
    "test_parallel_gives_an_object_of_its_branches",
    "test_return_ends_the_run_from_inside_and_stops_what_runs_beside_it",
    "test_what_the_buffer_cannot_hold_is_refused_and_told",
}


def _again() -> None:
    """Bring the tests of the other files here, where ``workbench`` is the one below."""
    for name in (*AGAIN, *(AGAIN_IN_CHAOS if CHAOS else ())):
        module = importlib.import_module(f"tests.engine.flows.test_{name}")
        for title, test in vars(module).items():
            if not (title.startswith("test_") and inspect.isfunction(test)) or title in OTHERWISE:
                continue
            if "workbench" in inspect.signature(test).parameters:
                globals()[f"test_again_{name}_{title.removeprefix('test_')}"] = test


_again()


@pytest.fixture
async def workbench(temporal: Client, tmp_path: Path) -> AsyncIterator[Workbench]:
    """The real interpreter on the dev server, with runs that continue as new whenever they can."""
    async with open_workbench(temporal, tmp_path) as bench:
        bench.continue_after = 1
        yield bench


async def executions(bench: Workbench, handle: WorkflowHandle[Any, Any]) -> list[int]:
    """Events of each execution of a run, first to last."""
    lengths: list[int] = []
    following: str | None = handle.first_execution_run_id
    while following:
        one = bench.temporal.get_workflow_handle(handle.id, run_id=following)
        events = (await one.fetch_history()).events
        lengths.append(len(events))
        following = events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return lengths


ORDER = {"id": "A-1", "country": "KR", "lines": [{"sku": "book", "quantity": 2, "price": 12.5}]}
NOBODY = {name: f"http://127.0.0.1:{free_port()}/health" for name in ("primary", "secondary")}
EXAMPLES: list[tuple[str, str, dict[str, Any], Any]] = [
    ("hello", "greeting", {"name": "Ada"}, {"text": "Hello, Ada! Good to see you."}),
    ("hello", "greeting", {}, {"text": "Hello, world!"}),
    (
        "order-check",
        "orders",
        {"order": ORDER},
        {"order": "A-1", "total": 25.0, "risk": 0.0, "decision": "accept", "because": []},
    ),
    ("service-check", "orders", NOBODY, {"verdict": "down", "primary": None, "secondary": None}),
]


@pytest.mark.parametrize(("name", "functions", "inputs", "expected"), EXAMPLES)
async def test_an_example_gives_the_same(
    temporal: Client, tmp_path: Path, name: str, functions: str, inputs: dict[str, Any], expected: Any
) -> None:
    text = (ROOT / "workflows" / f"{name}.yaml").read_text()
    source = (ROOT / "activities" / f"{functions}.py").read_text()
    async with open_workbench(temporal, tmp_path, functions=source) as bench:
        assert await bench.run(text, inputs) == expected
        handle = await bench.start(text, inputs, continue_after=1)
        assert await handle.result() == expected
        assert len(await executions(bench, handle)) >= 3


MIXED = """
id: mixed
vars: {seen: []}
steps:
  - id: beside
    parallel:
      - id: collect
        type: while
        config:
          while: "loop.index < 6"
          max_iterations: 10
          steps:
            - {id: got, type: wait-for-event, config: {signal: parcel}}
            - {id: keep, type: set, config: {seen: "{{ vars.seen + [steps.got.output.event.data.n] }}"}}
            - {id: told, type: function, config: {handler: echo, args: ["parcel {{ steps.got.output.event.data.n }}"]}}
      - id: reviews
        type: for-each
        config:
          items: [1, 2, 3]
          concurrency: 3
          steps:
            - {id: review, type: human-task, config: {assignee: team, decisions: [approve, reject], on_reject: continue}}
            - {id: noted, type: function, config: {handler: echo, args: ["review {{ item }} {{ steps.review.output.decision }}"]}}
      - id: busy
        type: while
        config:
          while: "loop.index < 15"
          max_iterations: 20
          steps: [{id: work, type: function, config: {handler: echo, args: ["work {{ loop.index }}"]}}]
  - {id: end, type: function, config: {handler: echo, args: [end]}}
output: {seen: "{{ vars.seen }}", reviews: "{{ steps.reviews.output }}"}
"""


@pytest.mark.parametrize("continue_after", [5000, 1, 25])
async def test_messages_that_come_while_a_run_continues_are_applied_once_each(
    workbench: Workbench, continue_after: int
) -> None:
    """Signals, each one twice, decisions of tasks in passes side by side, and pauses, while the run moves on."""
    handle = await workbench.start(MIXED, continue_after=continue_after)
    for number in range(6):
        for _ in range(2):
            await handle.signal("parcel", {"n": number, "signal_id": f"parcel-{number}"})
        if number % 2:
            await handle.signal("orchestrator.pause", {"signal_id": f"pause-{number}"})
            await asyncio.sleep(0.02)
            await handle.signal("orchestrator.resume", {"signal_id": f"resume-{number}"})
        await asyncio.sleep(0.03)
    for index, decision in ((1, "reject"), (0, "approve"), (2, "approve")):
        task = f"{handle.id}:beside/reviews[{index}]/review"
        message = {"decision": decision, "task": task, "signal_id": f"decide-{index}"}
        await handle.signal("review", message)
        # The run may be over before the same comes again.
        with contextlib.suppress(RPCError):
            await handle.signal("review", message)
    output = await asyncio.wait_for(handle.result(), 60)
    assert output["seen"] == [0, 1, 2, 3, 4, 5]
    assert sorted(workbench.calls()) == sorted(
        [
            *(f"echo parcel {n}" for n in range(6)),
            *("echo review 1 approve", "echo review 2 reject", "echo review 3 approve"),
            *(f"echo work {n}" for n in range(15)),
            "echo end",
        ]
    )
    assert (len(await executions(workbench, handle)) > 1) == (continue_after < 5000)


CLEANED = """
      - id: t
        type: try
        config:
          steps: [{id: long, type: wait, config: {duration: 20s}}]
          finally:
            - {id: f1, type: function, config: {handler: echo, args: [f1]}}
            - {id: nap, type: wait, config: {duration: 200ms}}
            - {id: f2, type: function, config: {handler: echo, args: [f2]}}
  - {id: after, type: function, config: {handler: echo, args: [after]}}
"""


@pytest.mark.parametrize("continue_after", [5000, 1, 15])
@pytest.mark.parametrize(
    "around",
    [
        "type: block\n    timeout: 500ms\n    on_error: continue\n    config:\n     steps:",
        "type: parallel\n    config:\n     wait_for: any\n     branches:\n      - {id: win, type: wait, config: {duration: 500ms}}",
    ],
    ids=["timeout", "race"],
)
async def test_a_finally_that_runs_because_of_a_stop_ends_once_where_the_run_continues_inside_it(
    workbench: Workbench, around: str, continue_after: int
) -> None:
    await workbench.run(f"id: cleaned\nsteps:\n  - id: b\n    {around}{CLEANED}", continue_after=continue_after)
    assert workbench.calls() == ["echo f1", "echo f2", "echo after"]


COUNT = """
id: count
vars: {sum: 0}
inputs: {most: integer}
steps:
  - id: loop
    type: while
    config:
      while: "loop.index < inputs.most"
      max_iterations: 100000
      steps:
        - STEP
        - {id: add, type: set, config: {sum: "{{ vars.sum + 1 }}"}}
output: "{{ vars.sum }}"
"""
CHEAP = "{id: cheap, type: transform, config: {value: '{{ loop.index }}'}}"
CALL = "{id: call, type: function, config: {handler: reveal, params: '{{ loop.index }}'}}"


async def test_ten_thousand_cheap_passes_leave_a_bounded_history(workbench: Workbench) -> None:
    handle = await workbench.start(COUNT.replace("STEP", CHEAP), {"most": 10_000}, continue_after=5000)
    assert await asyncio.wait_for(handle.result(), 110) == 10_000
    assert max(await executions(workbench, handle)) <= 6000


async def test_a_loop_of_calls_continues_as_new_before_its_history_grows_long(workbench: Workbench) -> None:
    passes, bound = (2_000, 5000) if CHAOS else (150, 300)
    handle = await workbench.start(COUNT.replace("STEP", CALL), {"most": passes}, continue_after=bound)
    assert await asyncio.wait_for(handle.result(), 110) == passes
    lengths = await executions(workbench, handle)
    assert max(lengths) <= 1.2 * bound
    assert 1 < len(lengths) <= 2 + passes * 6 // bound


STOPPED = """
id: long
vars: {gone_on: false}
steps:
  - OUTER
  - {id: after, type: function, config: {handler: echo, args: ["after {{ vars.gone_on }}"]}}
"""
STOPPING = """{id: t, type: try, config: {
  steps: [{id: w, type: wait, config: {duration: 9h}}, {id: s, type: set, config: {gone_on: true}}],
  finally: [
    {id: first, type: function, config: {handler: echo, args: [finally]}},
    {id: slowly, type: wait, config: {duration: 3h}},
    {id: last, type: function, config: {handler: echo, args: [done]}}]}}"""
TIMED = f"{{id: b, type: block, timeout: 1h, on_error: continue, config: {{steps: [{STOPPING}]}}}}"
RETURNING = (
    "{id: b, type: block, config: {steps: [{id: n, type: wait, config: {duration: 1h}}, {id: r, type: return}]}}"
)
BESIDE = f"{{id: p, type: parallel, config: {{branches: [{STOPPING}, {RETURNING}]}}}}"


@pytest.mark.parametrize(
    ("outer", "calls"),
    [(TIMED, ["finally", "done", "after false"]), (BESIDE, ["finally", "done"])],
    ids=["by a timeout", "by a return beside it"],
)
async def test_what_is_being_stopped_stays_stopped_in_a_run_that_has_grown_long(
    skipping: Workbench, outer: str, calls: list[str]
) -> None:
    handle = await skipping.start(STOPPED.replace("OUTER", outer), continue_after=8)
    await handle.result()
    assert skipping.calls() == [f"echo {call}" for call in calls]
