"""What continue-as-new carries over and what it loses."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy
from tests.engine.lab import Handle, Lab, names, seconds, status, until

ended: dict[str, list[str]] = defaultdict(list)


@activity.defn
async def slow() -> str:
    await asyncio.sleep(0.7)
    ended[activity.info().workflow_id or ""].append("slow")
    return "slow"


@workflow.defn
class Child:
    @workflow.run
    async def run(self, length: float) -> str:
        await workflow.sleep(length)
        return "child"


@workflow.defn
class LeavesBehind:
    """Starts a child or an activity, continues as new while it runs, then waits longer than it takes."""

    @workflow.run
    async def run(self, what: str, again: bool = False) -> str:
        if not again:
            if what == "child":
                await self._child()
            else:
                workflow.start_activity(slow, start_to_close_timeout=seconds(20))
            await workflow.sleep(0.2)
            workflow.continue_as_new(args=[what, True])
        outcome = "nothing"
        if what == "child":
            try:
                await self._child()
            except WorkflowAlreadyStartedError:
                outcome = "already started"
        await workflow.sleep(1.5)
        return outcome

    async def _child(self) -> None:
        await workflow.start_child_workflow(
            Child.run,
            1.2,
            id=f"{workflow.info().workflow_id}/child",
            parent_close_policy=ParentClosePolicy.ABANDON,
        )


@workflow.defn
class Hasty:
    """Ends while an update handler is still at work."""

    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self, how: str) -> str:
        await workflow.wait_condition(lambda: self.done)
        if how == "again":
            self.done = False
            workflow.continue_as_new("finish")
        return "over"

    @workflow.update(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)
    async def work(self) -> str:
        self.done = True
        await workflow.sleep(30)
        return "worked"


@workflow.defn
class Buffered:
    """Continues as new with a signal it has received and not handed on."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @workflow.run
    async def run(self, again: bool) -> list[str]:
        if not again:
            await workflow.wait_condition(lambda: bool(self.seen))
            workflow.continue_as_new(True)
        await workflow.sleep(0.3)
        return self.seen

    @workflow.signal
    def note(self, word: str) -> None:
        self.seen.append(word)


async def test_a_child_in_flight_never_reports_to_the_new_run_and_its_id_is_taken(lab: Lab) -> None:
    async with lab.worker(LeavesBehind, Child):
        handle = await lab.start(LeavesBehind.run, "child")
        assert await asyncio.wait_for(handle.result(), 30) == "already started"
        child = lab.client.get_workflow_handle(f"{handle.id}/child")
        assert await child.result() == "child"
        seen = await names(handle)
    assert "CHILD_WORKFLOW_EXECUTION_COMPLETED" not in seen
    assert "CHILD_WORKFLOW_EXECUTION_STARTED" not in seen


async def test_an_activity_in_flight_is_orphaned_its_effect_lands_and_nobody_hears_of_it(lab: Lab) -> None:
    async with lab.worker(LeavesBehind, activities=[slow]):
        handle = await lab.start(LeavesBehind.run, "activity")
        assert await asyncio.wait_for(handle.result(), 30) == "nothing"
        assert ended[handle.id] == ["slow"]
        oldest: Handle = lab.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
        for run in (oldest, handle):
            assert "ACTIVITY_TASK_COMPLETED" not in await names(run)


async def test_a_signal_that_was_delivered_is_lost_unless_the_workflow_passes_it_on(lab: Lab) -> None:
    async with lab.worker(Buffered):
        handle = await lab.start(Buffered.run, False)
        await handle.signal(Buffered.note, "first")
        await until(lambda: _continued(lab, handle))
        await handle.signal(Buffered.note, "second")
        assert await handle.result() == ["second"]


async def _continued(lab: Lab, handle: Handle) -> bool:
    oldest: Handle = lab.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
    return await status(oldest) == "CONTINUED_AS_NEW"


async def test_an_update_at_work_fails_at_its_caller_when_the_run_continues_as_new(lab: Lab) -> None:
    """So a run continues only when ``all_handlers_finished()``."""
    async with lab.worker(Hasty):
        handle = await lab.start(Hasty.run, "again")
        with pytest.raises(WorkflowUpdateFailedError):
            _ = await asyncio.wait_for(handle.execute_update(Hasty.work), 20)
        await handle.terminate()
