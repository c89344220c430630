"""How many runs of a flow go on at once: they wait in order, are refused, take the place of the oldest, or join it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from tests.engine.harness import Workbench, failure_of, untroubled

from orchestrator.engine import permits
from orchestrator.spec.concurrency import desk_id

FLOW = """
id: {id}
concurrency: {{limit: {limit}, key: "{{{{ inputs.key }}}}", when_full: {when_full}}}
inputs: {{key: string}}
steps:
  - {{id: begun, type: function, config: {{handler: echo, params: "{{{{ run.id }}}}"}}}}
  - {{id: work, type: wait-for-event, config: {{{waits}, include_trigger: false}}}}
"""


def flow(name: str, when_full: str = "queue", limit: int = 1, waits: str = "signal: go") -> str:
    return FLOW.format(id=name, when_full=when_full, limit=limit, waits=waits)


@pytest.fixture(params=[None, 1], ids=["in one execution", "continued as new at every step"])
def bench(workbench: Workbench, request: pytest.FixtureRequest) -> Workbench:
    workbench.continue_after = request.param
    return workbench


async def begun(bench: Workbench, count: int) -> list[str]:
    """The ids of the runs whose first step has run, in order, once there are so many."""
    for _ in range(400):
        ids = [line.split()[1].strip("'\"") for line in bench.calls() if line.startswith("echo")]
        if len(ids) >= count:
            return ids
        await asyncio.sleep(0.025)
    raise AssertionError(f"{ids} of {count} runs began")


async def end(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.signal("go")
    await asyncio.wait_for(handle.result(), 30)
    await untroubled(handle)


async def test_runs_beyond_the_limit_wait_for_their_turn_in_the_order_they_came(bench: Workbench) -> None:
    text = flow("queued", limit=2)
    handles = []
    for _ in range(4):
        handles.append(await bench.start(text, {"key": "a"}))
        await asyncio.sleep(0.3)
    assert sorted(await begun(bench, 2)) == sorted(handle.id for handle in handles[:2])
    state = await bench.waiting(handles[2], "permit")
    assert [wait["kind"] for wait in state["waits"]] == ["permit"]
    await end(handles[0])
    assert (await begun(bench, 3))[2] == handles[2].id
    await end(handles[1])
    await begun(bench, 4)
    await asyncio.gather(end(handles[2]), end(handles[3]))


async def test_another_key_does_not_wait(bench: Workbench) -> None:
    handles = [await bench.start(flow("keyed"), {"key": key}) for key in ("a", "b", "c")]
    assert len(await begun(bench, 3)) == 3
    await asyncio.gather(*(end(handle) for handle in handles))


async def test_a_run_that_may_not_wait_fails_and_names_who_holds_the_permit(bench: Workbench) -> None:
    first = await bench.start(flow("refusing", "reject"), {"key": "a"})
    await begun(bench, 1)
    error = await failure_of(await bench.start(flow("refusing", "reject"), {"key": "a"}))
    assert error["type"] == "concurrency_limit"
    assert first.id in error["message"]
    await end(first)


async def test_the_oldest_is_cancelled_with_its_clean_up_before_the_new_one_begins(bench: Workbench) -> None:
    text = flow("replacing", "cancel-oldest") + (
        "error_handling:\n  finally: [{id: tidy, type: function, config: {handler: echo, params: {word: tidied}}}]\n"
    )
    first = await bench.start(text, {"key": "a"})
    await begun(bench, 1)
    second = await bench.start(text, {"key": "a"})
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(first.result(), 30)
    assert await begun(bench, 3) == [first.id, "{'word':", second.id]
    await end(second)


async def test_a_run_that_joins_hands_its_trigger_to_the_one_that_goes_on(bench: Workbench) -> None:
    text = flow("joining", "join", waits="event: api")
    first = await bench.start(text, {"key": "a"})
    await bench.waiting(first, "work")
    second = await bench.start(text, {"key": "a"})
    assert await asyncio.wait_for(second.result(), 30) == {"joined": first.id}
    output = await asyncio.wait_for(first.result(), 30)
    assert output["event"]["data"] == {"key": "a"}


async def test_a_permit_comes_back_from_a_run_that_failed_was_cancelled_or_stopped_waiting(bench: Workbench) -> None:
    text = flow("returning")
    first = await bench.start(text, {"key": "a"})
    await begun(bench, 1)
    waiting = await bench.start(text, {"key": "a"})
    await bench.waiting(waiting, "permit")
    third = await bench.start(text, {"key": "a"})
    await waiting.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(waiting.result(), 30)
    await first.cancel()
    assert (await begun(bench, 2))[1] == third.id
    await end(third)


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk looks at its holders, and closes when idle, after a second."""
    monkeypatch.setattr(permits, "LOOK_EVERY", timedelta(seconds=1))


@pytest.mark.usefixtures("looking_often")
async def test_a_permit_comes_back_from_a_run_that_was_terminated(workbench: Workbench) -> None:
    first = await workbench.start(flow("terminated"), {"key": "a"})
    await begun(workbench, 1)
    second = await workbench.start(flow("terminated"), {"key": "a"})
    await workbench.waiting(second, "permit")
    await first.terminate()
    assert (await begun(workbench, 2))[1] == second.id
    await end(second)


@pytest.mark.usefixtures("looking_often")
async def test_a_desk_that_nobody_needs_closes(workbench: Workbench) -> None:
    handle = await workbench.start(flow("closing"), {"key": "a"})
    await begun(workbench, 1)
    await end(handle)
    desk = workbench.temporal.get_workflow_handle(desk_id(workbench.settings.task_queue, "closing", "a"))
    await asyncio.wait_for(desk.result(), 30)
