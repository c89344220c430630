"""What cancellation and deadlines really raise, hide and leave behind."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ActivityError, CancelledError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType
from tests.engine.lab import Handle, Lab, names, seconds, status, until

order: dict[str, list[str]] = defaultdict(list)
"""What happened in which order, by workflow id: activities run in this process."""


@activity.defn
async def stubborn(length: float, heartbeats: bool) -> str:
    """Works for ``length`` seconds whatever happens; notes that it began, was told to stop, took effect."""
    noted = order[activity.info().workflow_id or ""]
    noted.append("began")
    end = asyncio.get_running_loop().time() + length
    while asyncio.get_running_loop().time() < end:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            noted.append("told")
        if heartbeats:
            activity.heartbeat()
    noted.append("effect")
    return "finished"


@activity.defn
async def undo() -> str:
    order[activity.info().workflow_id or ""].append("undo")
    return "undone"


@workflow.defn
class Limited:
    """An activity inside ``asyncio.timeout``; gives the type of what came out and of its cause."""

    @workflow.run
    async def run(self) -> list[str]:
        try:
            async with asyncio.timeout(0.5):
                await workflow.execute_activity(
                    stubborn,
                    args=[3, True],
                    start_to_close_timeout=seconds(30),
                    heartbeat_timeout=seconds(5),
                    cancellation_type=ActivityCancellationType.TRY_CANCEL,
                )
        except ActivityError as error:
            return [type(error).__name__, type(error.cause).__name__, str(is_cancelled_exception(error))]
        except TimeoutError as error:
            return [type(error).__name__, type(error.__cause__).__name__, ""]
        return []


@workflow.defn
class LimitedSleep:
    @workflow.run
    async def run(self) -> str:
        try:
            async with asyncio.timeout(0.1):
                await workflow.sleep(60)
        except TimeoutError as error:
            return type(error).__name__
        return ""


@workflow.defn
class Undoes:
    """Runs an activity with a cancellation type; when cancelled, undoes it in a shield."""

    @workflow.run
    async def run(self, kind: int, heartbeats: bool) -> str:
        try:
            await workflow.execute_activity(
                stubborn,
                args=[1.0, heartbeats],
                start_to_close_timeout=seconds(30),
                heartbeat_timeout=seconds(5) if heartbeats else None,
                cancellation_type=ActivityCancellationType(kind),
            )
        except ActivityError as error:
            assert is_cancelled_exception(error)
            await asyncio.shield(workflow.execute_activity(undo, start_to_close_timeout=seconds(10)))
            raise
        return f"finished, {workflow.cancellation_reason()}"


@workflow.defn
class Swallows:
    """Catches the cancellation and goes on as if nothing had been."""

    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.sleep(60)
        except asyncio.CancelledError:
            await workflow.sleep(0.01)
        return f"went on, {workflow.cancellation_reason()}"


@workflow.defn
class Shielded:
    """Undoes in a task of its own, awaited in a loop of shields."""

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.sleep(60)
        except asyncio.CancelledError:
            task = asyncio.create_task(self.compensate())
            while not task.done():
                try:
                    await asyncio.shield(task)
                except asyncio.CancelledError:
                    continue
            raise

    async def compensate(self) -> None:
        for _ in range(3):
            await workflow.execute_activity(undo, start_to_close_timeout=seconds(10))


async def _began(handle: Handle) -> bool:
    return "began" in order[handle.id]


async def _waits(handle: Handle) -> bool:
    return "TIMER_STARTED" in await names(handle)


async def test_asyncio_timeout_around_an_activity_raises_activity_error_and_not_timeout_error(
    lab: Lab,
) -> None:
    async with lab.worker(Limited, activities=[stubborn]):
        assert await lab.run(Limited.run) == [ActivityError.__name__, CancelledError.__name__, "True"]


async def test_asyncio_timeout_around_a_timer_raises_timeout_error(lab: Lab) -> None:
    async with lab.worker(LimitedSleep):
        assert await lab.run(LimitedSleep.run) == "TimeoutError"


async def test_a_step_that_finishes_normally_after_a_cancel_hides_it(lab: Lab) -> None:
    """Only ``workflow.cancellation_reason()`` still tells; without asking, the run ends as completed."""
    async with lab.worker(Undoes, activities=[stubborn, undo]):
        handle = await lab.start(Undoes.run, ActivityCancellationType.WAIT_CANCELLATION_COMPLETED.value, True)
        await until(lambda: _began(handle))
        await handle.cancel(reason="customer left")
        assert await handle.result() == "finished, customer left"
    assert await status(handle) == "COMPLETED"
    assert order[handle.id] == ["began", "told", "effect"]


async def test_with_try_cancel_the_compensation_runs_before_the_effect_it_should_undo(lab: Lab) -> None:
    async with lab.worker(Undoes, activities=[stubborn, undo]):
        handle = await lab.start(Undoes.run, ActivityCancellationType.TRY_CANCEL.value, True)
        await until(lambda: _began(handle))
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        await until(lambda: _effect(handle))
    noted = order[handle.id]
    assert noted.index("undo") < noted.index("effect")


async def _effect(handle: Handle) -> bool:
    return "effect" in order[handle.id]


async def test_an_activity_without_heartbeats_is_never_told_of_its_cancellation(lab: Lab) -> None:
    async with lab.worker(Undoes, activities=[stubborn, undo]):
        handle = await lab.start(Undoes.run, ActivityCancellationType.WAIT_CANCELLATION_COMPLETED.value, False)
        await until(lambda: _began(handle))
        await handle.cancel(reason="x")
        assert await handle.result() == "finished, x"
    assert order[handle.id] == ["began", "effect"]


async def test_a_swallowed_cancellation_ends_the_run_as_completed(lab: Lab) -> None:
    async with lab.worker(Swallows):
        handle = await lab.start(Swallows.run)
        await until(lambda: _waits(handle))
        await handle.cancel(reason="stop")
        assert await handle.result() == "went on, stop"
    assert await status(handle) == "COMPLETED"


async def test_a_second_cancel_is_not_delivered_and_shielded_compensations_run_to_their_end(lab: Lab) -> None:
    async with lab.worker(Shielded, activities=[undo]):
        handle = await lab.start(Shielded.run)
        await until(lambda: _waits(handle))
        await handle.cancel()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
    assert isinstance(failure.value.cause, CancelledError)
    assert order[handle.id] == ["undo"] * 3
    assert (await names(handle)).count("WORKFLOW_EXECUTION_CANCEL_REQUESTED") == 1
