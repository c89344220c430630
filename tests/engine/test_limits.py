"""Numbers in Temporal that would stop a run: sizes, counts, rates. Every test states what the server and the
SDK really do, with the plain SDK, so that an upgrade which moves a limit is seen the same day."""

from __future__ import annotations

import asyncio
import subprocess
from functools import partial

import pytest
import temporalio.api.workflowservice.v1 as wire
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import TerminatedError
from temporalio.service import RPCError, RPCStatusCode
from tests.conftest import binary
from tests.engine.lab import Handle, Lab, attempt, events, names, seconds, status, task_failure, until


@activity.defn
async def echo(value: str) -> str:
    return value


@workflow.defn
class Wide:
    """Starts ``count`` activities of ``size`` bytes each in one workflow task."""

    @workflow.run
    async def run(self, count: int, size: int) -> int:
        started = [workflow.start_activity(echo, "x" * size, start_to_close_timeout=seconds(600)) for _ in range(count)]
        return len(await asyncio.gather(*started))


@workflow.defn
class Patient:
    """Waits for the signal ``go``."""

    def __init__(self) -> None:
        self.went = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.went)
        return "went"

    @workflow.signal
    def go(self) -> None:
        self.went = True

    @workflow.signal
    def note(self, number: int) -> None:
        pass

    @workflow.update
    async def hold(self) -> str:
        await workflow.wait_condition(lambda: self.went)
        return "held"

    @workflow.update
    def quick(self) -> str:
        return "quick"


@workflow.defn
class ManyChildren:
    @workflow.run
    async def run(self, count: int) -> int:
        children = [workflow.start_child_workflow(Patient.run) for _ in range(count)]
        return len(await asyncio.gather(*children))


@workflow.defn
class LongActivityId:
    @workflow.run
    async def run(self, length: int) -> str:
        return await workflow.execute_activity(echo, "ok", activity_id="i" * length, start_to_close_timeout=seconds(5))


@workflow.defn
class Again:
    """Continues as new ``times`` times with ``size`` bytes of input."""

    @workflow.run
    async def run(self, times: int, size: int, load: str = "") -> str:
        if times:
            workflow.continue_as_new(args=[times - 1, size, "x" * size])
        return "done"


@workflow.defn
class Busy:
    """Computes for ``total`` seconds in slices, yielding after each slice in one of three ways."""

    @workflow.run
    async def run(self, total: float, between: str) -> str:
        for _ in range(round(total / 0.4)):
            _compute(0.4)
            if between == "sleep(0)":
                await asyncio.sleep(0)
            elif between == "timer":
                await workflow.sleep(0.001)
        return "done"


@workflow.defn
class Naps:
    @workflow.run
    async def run(self) -> None:
        for _ in range(3):
            await workflow.sleep(0.001)


def _compute(length: float) -> None:
    import time

    time.sleep(length)


async def test_the_server_that_answers_is_the_binary_that_was_started(lab: Lab) -> None:
    info = await lab.client.workflow_service.get_cluster_info(wire.GetClusterInfoRequest())
    process = await asyncio.create_subprocess_exec(binary("temporal"), "--version", stdout=subprocess.PIPE)
    told = (await process.communicate())[0].decode()
    assert f"Server {info.server_version}" in told


async def test_sixty_parallel_activities_of_90_kb_terminate_the_run_without_running_its_code(
    lab: Lab,
) -> None:
    async with lab.worker(Wide, activities=[echo]):
        handle = await lab.start(Wide.run, 60, 90_000)
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(handle.result(), 40)
    assert isinstance(failure.value.cause, TerminatedError)
    assert await status(handle) == "TERMINATED"


async def test_one_task_with_less_than_4_mb_of_commands_is_fine(lab: Lab) -> None:
    async with lab.worker(Wide, activities=[echo]):
        assert await lab.run(Wide.run, 30, 90_000) == 30


async def test_two_thousand_pending_activities_are_allowed_and_one_more_fails_the_task_forever(
    lab: Lab,
) -> None:
    async with lab.worker(Wide):
        allowed = await lab.start(Wide.run, 2000, 1)
        refused = await lab.start(Wide.run, 2001, 1)
        assert "PENDING_ACTIVITIES_LIMIT_EXCEEDED" in await task_failure(refused)

        async def scheduled() -> bool:
            return (await names(allowed)).count("ACTIVITY_TASK_SCHEDULED") == 2000

        await until(scheduled)
        assert await status(refused) == "RUNNING"
        await allowed.terminate()
        await refused.terminate()


async def test_pending_children_beyond_their_limit_fail_the_task_forever(low_lab: Lab) -> None:
    """2,000 by default; lowered to 20 here."""
    async with low_lab.worker(ManyChildren, Patient):
        allowed = await low_lab.start(ManyChildren.run, 20)
        refused = await low_lab.start(ManyChildren.run, 21)
        assert "PENDING_CHILD_WORKFLOWS_LIMIT_EXCEEDED" in await task_failure(refused)
        assert await status(refused) == "RUNNING"
        assert "WORKFLOW_TASK_FAILED" not in await names(allowed)
        await allowed.terminate()
        await refused.terminate()


async def test_an_activity_id_above_1000_bytes_fails_the_task_forever(lab: Lab) -> None:
    async with lab.worker(LongActivityId, activities=[echo]):
        assert await lab.run(LongActivityId.run, 1000) == "ok"
        handle = await lab.start(LongActivityId.run, 1001)
        assert "BAD_SCHEDULE_ACTIVITY_ATTRIBUTES" in await task_failure(handle)
        assert await status(handle) == "RUNNING"
        await handle.terminate()


async def test_a_continue_as_new_input_of_2_3_mb_fails_the_task_forever(lab: Lab) -> None:
    async with lab.worker(Again):
        handle = await lab.start(Again.run, 1, 2_300_000)
        failure = await task_failure(handle)
        await until(lambda: _tried_again(handle))
        assert await status(handle) == "RUNNING"
        assert "LARGE" in failure
        await handle.terminate()


async def _tried_again(handle: Handle) -> bool:
    return await attempt(handle) >= 2


async def test_continue_as_new_happens_at_most_once_a_second_per_workflow_id(untuned_lab: Lab) -> None:
    async with untuned_lab.worker(Again):
        first = await untuned_lab.start(Again.run, 2, 1)
        assert await asyncio.wait_for(first.result(), 30) == "done"
        oldest = untuned_lab.client.get_workflow_handle(first.id, run_id=first.first_execution_run_id)
        began = (await events(oldest))[0].event_time.ToDatetime()
        ended = (await events(first))[-1].event_time.ToDatetime()
    assert (ended - began).total_seconds() >= 1.9


async def test_the_ten_thousand_and_first_signal_is_refused_at_once(lab: Lab) -> None:
    handle = await lab.start(Patient.run)
    for start in range(0, 10_000, 500):
        await asyncio.gather(*[handle.signal(Patient.note, number) for number in range(start, start + 500)])
    with pytest.raises(RPCError, match="limit for signal events") as refused:
        await asyncio.wait_for(handle.signal(Patient.note, 1), 10)
    assert refused.value.status == RPCStatusCode.INVALID_ARGUMENT
    await handle.terminate()


async def test_the_eleventh_update_in_flight_hangs_and_rpc_timeout_does_not_bound_it(lab: Lab) -> None:
    async with lab.worker(Patient):
        handle = await lab.start(Patient.run)
        held = [asyncio.create_task(handle.execute_update(Patient.hold)) for _ in range(10)]
        await until(lambda: _accepted(handle, 10))
        with pytest.raises(WorkflowUpdateRPCTimeoutOrCancelledError):
            await asyncio.wait_for(handle.execute_update(Patient.quick, rpc_timeout=seconds(0.5)), 2)
        await handle.signal(Patient.go)
        assert await asyncio.gather(*held) == ["held"] * 10


async def _accepted(handle: Handle, count: int) -> bool:
    return (await names(handle)).count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED") == count


async def test_updates_beyond_their_total_per_run_are_refused_at_once(low_lab: Lab) -> None:
    """2,000 by default; lowered to 20 here."""
    async with low_lab.worker(Patient):
        handle = await low_lab.start(Patient.run)
        for _ in range(20):
            assert await handle.execute_update(Patient.quick) == "quick"
        with pytest.raises(RPCError, match="total number of distinct updates") as refused:
            await asyncio.wait_for(handle.execute_update(Patient.quick), 10)
        assert refused.value.status == RPCStatusCode.FAILED_PRECONDITION
        await handle.signal(Patient.go)
        assert await handle.result() == "went"


async def test_a_run_that_computes_two_seconds_in_one_task_never_recovers_and_sleep_zero_does_not_help(
    lab: Lab,
) -> None:
    async with lab.worker(Busy):
        handles = [await lab.start(Busy.run, 2.4, between) for between in ("nothing", "sleep(0)")]
        for handle in handles:
            assert "deadlock" in await task_failure(handle)
            await until(partial(_tried_again, handle))
            assert await status(handle) == "RUNNING"
            await handle.terminate()


async def test_a_one_millisecond_timer_between_slices_calms_the_deadlock_detector(lab: Lab) -> None:
    async with lab.worker(Busy):
        assert await lab.run(Busy.run, 2.4, "timer") == "done"


async def test_a_server_as_it_comes_stretches_a_timer_of_a_millisecond_to_a_second(untuned_lab: Lab) -> None:
    assert min(await _timers(untuned_lab)) > 0.9


async def test_a_time_shift_of_10_ms_keeps_a_timer_of_a_millisecond_short(lab: Lab) -> None:
    assert min(await _timers(lab)) < 0.5


async def _timers(lab: Lab) -> list[float]:
    """Seconds that each of three timers of a millisecond took, by the server's clock."""
    async with lab.worker(Naps):
        handle = await lab.start(Naps.run)
        await handle.result()
    times = {"timer_started": [], "timer_fired": []}  # type: dict[str, list[float]]
    for event in await events(handle):
        for kind, found in times.items():
            if event.HasField(f"{kind}_event_attributes"):  # type: ignore[arg-type]
                found.append(event.event_time.ToDatetime().timestamp())
    return [end - begin for begin, end in zip(times["timer_started"], times["timer_fired"], strict=True)]
