"""Signals and events of a run: none is lost, none is applied twice, whenever and however often they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from tests.engine.harness import Workbench, open_workbench, untroubled

from orchestrator.client.run import Run
from orchestrator.errors import Conflict
from orchestrator.spec.patterns import matches_type

Handle = WorkflowHandle[Any, Any]

COLLECT = """
id: collect
inputs: {passes: integer}
steps:
  - id: each
    type: for-each
    config:
      items: inputs.passes
      steps:
        - {id: got, type: wait-for-event, config: {signal: part}}
        - {id: pick, type: transform, config: {value: "{{ steps.got.output.event.data.n }}"}}
output: "{{ steps.each.output }}"
"""
TASKS = """
id: tasks
inputs: {passes: integer}
steps:
  - id: each
    type: for-each
    config:
      items: inputs.passes
      concurrency: 50
      steps: [{id: ask, type: human-task, config: {assignee: x}}]
output: "{{ steps.each.output | map('comment') }}"
"""


async def at_once(works: Iterable[Awaitable[Any]], most: int = 100) -> None:
    """Many requests, some at a time."""
    room = asyncio.Semaphore(most)

    async def one(work: Awaitable[Any]) -> None:
        async with room:
            await work

    await asyncio.gather(*(one(work) for work in works))


async def until_continued(handle: Handle, times: int) -> None:
    """Until the run has continued as new that often."""
    for _ in range(400):
        state: dict[str, Any] = await handle.query("state")
        if state["continued"] >= times:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the run has continued {state['continued']} times")


def part(number: int) -> dict[str, Any]:
    return {"n": number, "signal_id": f"part-{number}"}


@pytest.mark.parametrize("continue_after", [5000, 1])
async def test_signals_before_during_and_after_a_wait_are_taken_once_in_their_order(
    workbench: Workbench, continue_after: int
) -> None:
    flow = """
    id: three
    steps:
      - {id: a, type: wait-for-event, config: {signal: part}}
      - {id: b, type: wait-for-event, config: {signal: part}}
      - {id: gap, type: human-task, config: {assignee: x}}
      - {id: c, type: wait-for-event, config: {signal: part}}
    output: ["{{ steps.a.output.event.data.n }}", "{{ steps.b.output.event.data.n }}", "{{ steps.c.output.event.data.n }}"]
    """
    handle = await workbench.start(flow, continue_after=continue_after)
    await handle.signal("part", part(0))
    await workbench.waiting(handle, "b")
    for number in (0, 1, 0, 1):
        await handle.signal("part", part(number))
    await workbench.waiting(handle, "gap")
    for number in (1, 2, 0, 3):
        await handle.signal("part", part(number))
    await handle.signal("gap", {"decision": "approve"})
    assert await asyncio.wait_for(handle.result(), 60) == [0, 1, 2]
    await untroubled(handle)


@pytest.mark.parametrize("wrong", [{"comment": 7}, {"by": ["kim"]}, {"data": {"a": "\0"}}, {"data": ["x"] * 6000}])
async def test_an_answer_that_cannot_be_kept_is_refused_and_the_task_stays_open(
    workbench: Workbench, wrong: dict[str, Any]
) -> None:
    flow = "id: keepable\nsteps: [{id: ask, type: human-task, config: {assignee: x}}]"
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "ask")
    await handle.signal("ask", {"decision": "approve"} | wrong)
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("ask", {"decision": "approve"} | wrong)
    state = await workbench.waiting(handle, "ask")
    assert "'ask' was refused" in state["warnings"][0]
    await handle.signal("ask", {"decision": "approve", "data": {"a": "한 €"}})
    assert (await asyncio.wait_for(handle.result(), 30))["data"] == {"a": "한 €"}


async def test_a_burst_of_1000_signals_with_repeats_is_taken_once_each(workbench: Workbench) -> None:
    handle = await workbench.start(COLLECT, {"passes": 1000})
    await at_once(
        handle.signal("part", part(n)) for number in range(1000) for n in ([number] * (2 if number < 50 else 1))
    )
    taken = await asyncio.wait_for(handle.result(), 60)
    assert sorted(taken) == list(range(1000))
    await untroubled(handle)


async def test_a_burst_meets_a_run_that_continues_as_new(workbench: Workbench) -> None:
    handle = await workbench.start(COLLECT, {"passes": 300}, continue_after=30)
    await at_once(handle.signal("part", part(n)) for n in range(300))
    assert sorted(await asyncio.wait_for(handle.result(), 60)) == list(range(300))
    state: dict[str, Any] = await handle.query("state")
    assert state["continued"] >= 1
    assert state["warnings"] == []
    await untroubled(handle)


async def test_tasks_of_concurrent_passes_are_decided_by_the_task_a_message_names(workbench: Workbench) -> None:
    handle = await workbench.start(TASKS, {"passes": 20})
    state = await waiting_for(handle, 20)
    named = [wait["task_id"] for wait in state["waits"]]
    await at_once(
        handle.signal("ask", {"decision": "approve", "comment": task, "task": task}) for task in reversed(named)
    )
    assert await asyncio.wait_for(handle.result(), 60) == [f"{handle.id}:each[{n}]/ask" for n in range(20)]


async def test_bare_decisions_of_concurrent_passes_decide_one_task_each_in_order(workbench: Workbench) -> None:
    handle = await workbench.start(TASKS, {"passes": 5})
    await handle.signal("ask", {"decision": "approve", "comment": "early"})
    await waiting_for(handle, 4)
    for number in range(4):
        await handle.signal("ask", {"decision": "approve", "comment": f"{number}"})
    assert await asyncio.wait_for(handle.result(), 60) == ["early", "0", "1", "2", "3"]


async def test_a_decision_for_a_task_that_is_not_open_yet_waits_for_it(workbench: Workbench) -> None:
    flow = TASKS.replace("concurrency: 50", "concurrency: 1")
    handle = await workbench.start(flow, {"passes": 3})
    await workbench.waiting(handle, "ask")
    for number in (2, 1, 0):
        task = f"{handle.id}:each[{number}]/ask"
        await handle.signal("ask", {"decision": "approve", "comment": f"{number}", "task": task})
    assert await asyncio.wait_for(handle.result(), 60) == ["0", "1", "2"]


async def waiting_for(handle: Handle, count: int) -> dict[str, Any]:
    """The state of a run once so many waits are open."""
    for _ in range(400):
        state: dict[str, Any] = await handle.query("state")
        if len(state["waits"]) == count:
            return state
        await asyncio.sleep(0.05)
    raise AssertionError(f"{len(state['waits'])} waits are open")


async def test_a_repeat_that_meets_the_first_task_of_a_continued_run_is_not_applied_again(
    temporal: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A message can come before the run has taken up what it remembers."""
    flow = """
    id: remembered
    steps:
      - {id: one, type: wait-for-event, config: {signal: part}}
      - {id: go, type: wait-for-event, config: {signal: go}}
      - {id: two, type: wait-for-event, config: {signal: part}}
    output: ["{{ steps.one.output.event.data.n }}", "{{ steps.two.output.event.data.n }}"]
    """
    async with open_workbench(temporal, tmp_path_factory.mktemp("remembered"), cached_runs=0) as bench:
        handle = await bench.start(flow, continue_after=1)
        await handle.signal("part", part(1))
        await until_continued(handle, 1)
        await at_once(handle.signal("part", part(1)) for _ in range(20))
        await handle.signal("go", {})
        await at_once(handle.signal("part", part(1)) for _ in range(20))
        await handle.signal("part", part(2))
        assert await asyncio.wait_for(handle.result(), 60) == [1, 2]


async def test_messages_to_a_run_that_is_not_resolved_yet_are_kept(workbench: Workbench) -> None:
    """A bare start asks the store for its definition first."""
    text = """
    id: bare-collect
    steps:
      - {id: ask, type: human-task, config: {assignee: x}}
      - {id: got, type: wait-for-event, config: {event: paid, timeout: 20s}}
      - {id: more, type: wait-for-event, config: {signal: part}}
    output: ["{{ steps.ask.output.comment }}", "{{ steps.got.output.event.data }}", "{{ steps.more.output.event.data.n }}"]
    """
    handle = await workbench.start(text)
    await handle.signal("ask", {"decision": "approve", "comment": "hi"})
    await handle.signal("part", part(7))
    await workbench.waiting(handle, "got")
    await Run(workbench.temporal, handle.id).deliver({"type": "paid", "data": 5})
    assert await asyncio.wait_for(handle.result(), 30) == ["hi", 5, 7]


EVENTS = """
id: events
inputs: {order: integer}
steps:
  - parallel:
      - {id: a, type: wait-for-event, config: {event: order.*, correlate: {data.id: "{{ inputs.order }}"}}}
      - {id: b, type: wait-for-event, config: {event: order.paid, if: "event.data.amount > 10", correlate: {data.id: "{{ inputs.order }}"}}}
  - {id: gap, type: human-task, config: {assignee: x}}
  - id: each
    type: for-each
    config:
      items: 2
      steps: [{id: c, type: wait-for-event, config: {event: item, correlate: {data.id: "{{ inputs.order }}"}}}]
output:
  - "{{ steps.a.output.event.id }}"
  - "{{ steps.b.output.event.id }}"
  - "{{ steps.each.output | map('event') | map('id') }}"
"""


@pytest.mark.parametrize("continue_after", [5000, 1])
async def test_each_event_is_offered_once_to_every_wait_also_before_it_opens(
    workbench: Workbench, continue_after: int
) -> None:
    handle = await workbench.start(EVENTS, {"order": 7}, continue_after=continue_after)
    run = Run(workbench.temporal, handle.id)
    for number in range(2):
        for _ in range(2):
            await run.deliver({"id": f"i{number}", "type": "item", "data": {"id": 7}})
        await run.deliver({"id": f"other{number}", "type": "item", "data": {"id": 8}})
    await run.deliver({"id": "p1", "type": "order.paid", "data": {"id": 7, "amount": 3}})
    await run.deliver({"id": "p2", "type": "order.paid", "data": {"id": 7, "amount": 30}})
    await workbench.waiting(handle, "gap")
    await handle.signal("gap", {"decision": "approve"})
    assert await asyncio.wait_for(handle.result(), 60) == ["p1", "p2", ["i0", "i1"]]
    await untroubled(handle)


async def test_early_events_are_bounded_by_bytes_and_make_room_again(workbench: Workbench) -> None:
    text = """
    id: early
    steps:
      - {id: go, type: human-task, config: {assignee: x}}
      - {id: each, type: for-each, config: {items: 10, steps: [{id: e, type: wait-for-event, config: {event: item, correlate: {data.k: 1}}}]}}
      - {id: more, type: human-task, config: {assignee: x}}
    """
    handle = await workbench.start(text)
    run = Run(workbench.temporal, handle.id)
    await workbench.waiting(handle, "go")
    big = {"k": 1, "fill": "x" * 140_000}
    for number in range(11):
        await run.deliver({"id": f"{number}", "type": "item", "data": big})
    state: dict[str, Any] = await handle.query("state")
    assert len(state["warnings"]) == 1 and "bytes" in state["warnings"][0]
    await handle.signal("go", {"decision": "approve"})
    await workbench.waiting(handle, "more")
    await run.deliver({"id": "later", "type": "item", "data": big})
    state = await handle.query("state")
    assert len(state["warnings"]) == 1
    await handle.signal("more", {"decision": "approve"})
    await asyncio.wait_for(handle.result(), 30)
    await untroubled(handle)


@pytest.mark.parametrize(
    ("pattern", "kind", "fits"),
    [
        ("order.*", "order.paid", True),
        ("order.*", "order.", True),
        ("order.*", "orders.paid", False),
        ("*.paid", "order.paid", True),
        ("*", "", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "axbybzc", True),
        ("a*b*c", "axcybc", True),
        ("a*bb*b", "abb", False),
        ("*a*a*a*a*a*a*a*a*a*b", "a" * 50_000, False),
        ("order.*", "order.a\nb", True),
    ],
)
def test_a_star_stands_for_any_text_and_costs_no_more_than_reading_it(pattern: str, kind: str, fits: bool) -> None:
    assert matches_type([pattern], kind) is fits


async def test_updates_decide_across_continue_as_new_and_a_second_one_is_refused(workbench: Workbench) -> None:
    flow = """
    id: updates
    steps:
      - {id: a, type: human-task, config: {assignee: x}}
      - {id: b, type: human-task, config: {assignee: x}}
    output: ["{{ steps.a.output.by }}", "{{ steps.b.output.by }}"]
    """
    handle = await workbench.start(flow, continue_after=1)
    for step in ("a", "b"):
        await workbench.waiting(handle, step)
        answers = await asyncio.gather(
            *(handle.execute_update(step, {"decision": "approve", "by": step}) for _ in range(4)),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, dict) for answer in answers) == 1, answers
    assert await asyncio.wait_for(handle.result(), 60) == ["a", "b"]
    await untroubled(handle)


async def test_what_the_buffer_cannot_hold_is_refused_and_told(workbench: Workbench) -> None:
    """1.5 MB wait for their step at most; what a step has taken makes room again."""
    flow = """
    id: full
    steps:
      - {id: go, type: human-task, config: {assignee: x}}
      - {id: each, type: for-each, config: {items: 10, steps: [{id: got, type: wait-for-event, config: {signal: part}}]}}
      - {id: more, type: human-task, config: {assignee: x}}
      - {id: each2, type: for-each, config: {items: 10, steps: [{id: got2, type: wait-for-event, config: {signal: part}}]}}
    output: "{{ steps.each2.output | map('event') | map('data') | map('n') }}"
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "go")
    await handle.signal("never", {"n": 0})
    for number in range(11):
        await handle.signal("part", part(number) | {"fill": "x" * 140_000})
    state: dict[str, Any] = await handle.query("state")
    assert len(state["warnings"]) == 1
    assert "'part' was refused" in state["warnings"][0] and "bytes" in state["warnings"][0]
    await handle.signal("go", {"decision": "approve"})
    await workbench.waiting(handle, "more")
    for number in range(10):
        await handle.signal("part", part(100 + number) | {"fill": "x" * 140_000})
    state = await handle.query("state")
    assert len(state["warnings"]) == 1, state["warnings"][1:]
    await handle.signal("more", {"decision": "approve"})
    assert await asyncio.wait_for(handle.result(), 60) == list(range(100, 110))


async def test_at_temporals_limit_the_client_says_that_the_run_takes_no_more(low_limits_server: str) -> None:
    """Fifty signals stand for the 10,000 of a server as it comes."""
    temporal = await Client.connect(low_limits_server)
    handle = await temporal.start_workflow("nobody", id="full-run", task_queue="orchestrator-nobody")
    run = Run(temporal, handle.id)
    for number in range(50):
        await run.signal("part", number)
    with pytest.raises(Conflict, match="as many signals as Temporal keeps"):
        await run.signal("part", 51)


async def test_a_signal_to_a_run_that_is_over_says_so(workbench: Workbench) -> None:
    handle = await workbench.start("id: over\nsteps: [{id: a, type: transform, config: {value: 1}}]")
    await handle.result()
    run = Run(workbench.temporal, handle.id)
    for sent in (run.signal("a"), run.pause(), run.resume(), run.deliver({"type": "x"})):
        with pytest.raises(Conflict, match="is over"):
            await sent
