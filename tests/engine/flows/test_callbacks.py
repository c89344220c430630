"""Callbacks: a wait whose address is handed out before it is reached."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from tests.engine.harness import Workbench, failure_of, untroubled

MESSAGE = "orchestrator.callback"
ONE = """
id: pay
steps:
  - {id: before, type: wait-for-event, config: {signal: go}}
  - {id: paid, type: wait-for-event, config: {callback: true, timeout: 1h}}
output: "{{ steps.paid.output.event.data }}"
"""
EACH = """
id: pay-each
steps:
  - id: each
    type: for-each
    config:
      items: 2
      concurrency: 2
      steps: [{id: paid, type: wait-for-event, config: {callback: true}}]
output: "{{ steps.each.output | map('event') | map('data') }}"
"""


@pytest.fixture(params=[None, 1], ids=["in one execution", "continued as new at every step"])
def bench(workbench: Workbench, request: pytest.FixtureRequest) -> Workbench:
    workbench.continue_after = request.param
    return workbench


async def answer(handle: WorkflowHandle[Any, Any], path: str, **told: Any) -> dict[str, Any]:
    answered: dict[str, Any] = await handle.execute_update(MESSAGE, {"path": path} | told)
    return answered


async def refusal(handle: WorkflowHandle[Any, Any], path: str, **told: Any) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await answer(handle, path, **told)
    return str(refused.value.cause)


async def result(handle: WorkflowHandle[Any, Any]) -> Any:
    found = await asyncio.wait_for(handle.result(), 30)
    await untroubled(handle)
    return found


async def test_a_callback_that_comes_before_its_wait_is_kept_for_it(bench: Workbench) -> None:
    handle = await bench.start(ONE)
    await answer(handle, "paid", data={"amount": 7})
    assert "has its answer already" in await refusal(handle, "paid", data={"amount": 8})
    await handle.signal("go")
    assert await result(handle) == {"amount": 7}


async def test_a_callback_during_the_wait_is_its_event_and_a_second_is_refused(bench: Workbench) -> None:
    handle = await bench.start(
        ONE.replace("output:", "  - {id: after, type: wait-for-event, config: {signal: go}}\noutput:")
    )
    await handle.signal("go")
    await bench.waiting(handle, "paid")
    await answer(handle, "paid", data=[1])
    await bench.waiting(handle, "after")
    assert "has its answer already" in await refusal(handle, "paid", data=[2])
    await handle.signal("go")
    assert await result(handle) == [1]


async def test_a_callback_with_an_error_fails_its_step(bench: Workbench) -> None:
    handle = await bench.start(ONE)
    await answer(handle, "paid", error={"type": "declined", "message": "no funds"})
    await handle.signal("go")
    error = await failure_of(handle)
    assert (error["type"], error["message"], error["step"]["path"]) == ("declined", "no funds", "paid")


async def test_each_pass_of_a_loop_has_a_callback_of_its_own(bench: Workbench) -> None:
    handle = await bench.start(EACH)
    await answer(handle, "each[1]/paid", data="second")
    await answer(handle, "each[0]/paid", data="first")
    assert await result(handle) == ["first", "second"]


async def test_a_callback_as_a_signal_counts_once_whatever_comes_again(bench: Workbench) -> None:
    handle = await bench.start(ONE)
    for amount in (1, 2):
        await handle.signal(MESSAGE, {"path": "paid", "data": amount, "signal_id": f"s{amount}"})
    await handle.signal("go")
    assert await result(handle) == 1


async def test_what_names_no_wait_is_refused_in_words(bench: Workbench) -> None:
    handle = await bench.start(ONE)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(MESSAGE, {"data": 1})
    assert "send" in str(refused.value.cause)
    await handle.terminate()


async def test_of_many_answers_one_counts_however_often_the_run_continues_meanwhile(bench: Workbench) -> None:
    handle = await bench.start(ONE)
    told = await asyncio.gather(*(answer(handle, "paid", data=number) for number in range(8)), return_exceptions=True)
    taken = [number for number, outcome in enumerate(told) if not isinstance(outcome, BaseException)]
    await handle.signal("go")
    assert [await result(handle)] == taken
