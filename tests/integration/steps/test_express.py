"""Express steps: the same boundary around local activities. What Temporal does differently there is stated, because
the engine counts on it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from tests.integration.steps.one_step import Bench, open_bench

FUNCTIONS = """
@activity.defn
async def inspect():
    info, step = activity.info(), current_step()
    return {
        "local": info.is_local, "beats": info.heartbeat_timeout is not None, "run": info.workflow_id == step.run_id,
        "flow": step.flow, "attempt": step.attempt, "key": step.idempotency_key == f"{step.root_id}/the-step#1",
    }

@activity.defn
async def fail_times(times, terminal=False, after=None):
    step = current_step()
    note(f"attempt {step.attempt} {time.monotonic()}")
    if step.attempt <= times:
        raise (TerminalError if terminal else StepError)("network_error", "told to fail", retry_after=after)
    return step.attempt

@activity.defn
async def sleep(seconds):
    note("start")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    note("end")

@activity.defn
def sleep_in_thread(seconds):
    note("start")
    try:
        for _ in range(int(seconds * 50)):
            time.sleep(0.02)
    except BaseException as error:
        note(type(error).__name__)
        raise
    note("end")
    return "slept"

@activity.defn
async def beat():
    activity.heartbeat("progress")
    return "beaten"
"""

ONCE = {"retry": {"max_attempts": 1}}
BOTH = pytest.mark.parametrize("local", [False, True], ids=["step", "express"])


@pytest.fixture
async def bench(temporal: Client, tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(temporal, tmp_path, FUNCTIONS) as made:
        yield made


async def event_names(handle: WorkflowHandle[Any, Any]) -> list[str]:
    return [
        EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") async for event in handle.fetch_history_events()
    ]


async def test_an_express_step_is_given_what_any_step_is_given_and_no_heartbeat(bench: Bench) -> None:
    handle = await bench.start("inspect", local=True)
    seen = {"flow": "OneStep", "attempt": 1, "key": True, "run": True}
    assert await handle.result() == {"output": seen | {"local": True, "beats": False}, "attempts": 1}
    names = await event_names(handle)
    assert names.count("MARKER_RECORDED") == 1
    assert "ACTIVITY_TASK_SCHEDULED" not in names
    assert (await bench.run("inspect"))["output"] == seen | {"local": False, "beats": True}


@BOTH
async def test_attempts_follow_the_policy_of_the_header(bench: Bench, local: bool) -> None:
    retry = {"retry": {"max_attempts": 3, "initial_interval": 0.3, "backoff": "fixed"}}
    assert await bench.run("fail_times", 2, local=local, attempts=10, **retry) == {"output": 3, "attempts": 3}
    times = [float(line.split()[2]) for line in bench.calls()]
    assert all(later - earlier >= 0.29 for earlier, later in itertools.pairwise(times))
    error = await bench.error("fail_times", 9, local=local, attempts=10, **retry)
    assert (error["type"], error["attempts"], error["retryable"]) == ("network_error", 3, True)


@BOTH
async def test_a_terminal_error_is_not_tried_again(bench: Bench, local: bool) -> None:
    error = await bench.error("fail_times", 9, True, local=local, attempts=10, retry={})
    assert (error["type"], error["attempts"], error["retryable"]) == ("network_error", 1, False)


async def test_a_long_backoff_of_an_express_step_is_a_timer_that_lets_the_task_go(bench: Bench) -> None:
    handle = await bench.start("fail_times", 1, False, 1.5, local=True, retry={})
    assert await asyncio.wait_for(handle.result(), 20) == {"output": 2, "attempts": 2}
    names = await event_names(handle)
    assert names.count("TIMER_FIRED") == 1
    assert names.count("MARKER_RECORDED") == 2


@BOTH
async def test_a_delay_beyond_the_total_time_ends_the_step_at_once_with_its_own_error(
    bench: Bench, local: bool
) -> None:
    error = await bench.error("fail_times", 9, False, 60, local=local, total=30, retry={})
    assert (error["type"], error["attempts"]) == ("network_error", 1)


@BOTH
@pytest.mark.parametrize("function", ["sleep", "sleep_in_thread"])
async def test_the_attempt_timeout_of_the_header_is_enforced(bench: Bench, local: bool, function: str) -> None:
    error = await bench.error(function, 30, local=local, attempt_timeout=0.3, **ONCE)
    assert error["type"] == "timeout"
    assert "longer than its timeout of 0.3s" in error["message"]
    while len(bench.calls()) < 2:
        await asyncio.sleep(0.02)
    assert bench.calls() == ["start", "cancelled" if function == "sleep" else "CancelledError"]


@BOTH
@pytest.mark.parametrize(
    ("function", "noted"), [("sleep", "cancelled"), ("sleep_in_thread", "CancelledError")], ids=["async", "thread"]
)
async def test_a_cancelled_run_stops_its_step_and_the_step_counts_as_cancelled(
    bench: Bench, local: bool, function: str, noted: str
) -> None:
    handle = await bench.start(function, 20, local=local)
    while not bench.calls():
        await asyncio.sleep(0.02)
    await handle.cancel()
    # An express step hears of it when its workflow task, kept open, is next reported: 4 of its 5 seconds.
    result = await asyncio.wait_for(handle.result(), 15)
    assert result["failed"] == "CancelledError"
    assert bench.calls() == ["start", noted]


async def test_a_timer_beside_an_express_step_starts_when_the_task_ends(bench: Bench) -> None:
    # The step is to be cancelled after 0.2 s and is long over before that timer exists.
    result = await bench.run("sleep", 1, local=True, cancel_after=0.2)
    assert result == {"output": None, "attempts": 1}
    assert bench.calls() == ["start", "end"]


async def test_a_heartbeat_of_an_express_step_says_nothing_and_harms_nothing(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    assert (await bench.run("beat", local=True))["output"] == "beaten"
    assert "heartbeat failed" not in capfd.readouterr().out


async def test_an_unknown_function_fails_its_express_step_and_not_the_workflow_task(bench: Bench) -> None:
    error = await bench.error("nobody", local=True)
    assert error["type"] == "unknown_function"
