"""What ends a run, what leaves it stuck, and what kills it without running its code."""

from __future__ import annotations

import asyncio

import pytest
import temporalio.api.enums.v1 as enums
import temporalio.api.workflowservice.v1 as wire
from temporalio import activity, exceptions, workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, TerminatedError, TimeoutType
from temporalio.service import RPCError
from tests.engine.lab import Handle, Lab, attempt, names, seconds, status, task_failure, until

ran: list[str] = []
"""What workflow code here did, by workflow id: workflows run unsandboxed in this process."""


@workflow.defn
class Fails:
    @workflow.run
    async def run(self, how: str) -> None:
        if how == "bare":
            raise KeyError("missing")
        if how == "group":
            raise ExceptionGroup("two", [ApplicationError("one"), ApplicationError("two")])
        if how == "task group":
            async with asyncio.TaskGroup() as group:
                group.create_task(_raise())
        raise ApplicationError("clear", {"path": "a"}, type="rejected", non_retryable=True)


async def _raise() -> None:
    raise ApplicationError("inside")


@workflow.defn
class Marks:
    """Upserts a search attribute."""

    @workflow.run
    async def run(self, name: str) -> str:
        workflow.upsert_search_attributes([SearchAttributeKey.for_keyword(name).value_set("x")])
        return "marked"


@workflow.defn
class Tidy:
    """Waits for ever, and says so when it is asked to stop."""

    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.sleep(600)
        except asyncio.CancelledError:
            ran.append(workflow.info().workflow_id)
            raise


@activity.defn
async def echo(value: str) -> str:
    return value


@workflow.defn
class Unattended:
    """Calls an activity on a queue nobody polls."""

    @workflow.run
    async def run(self, bounded: bool) -> str:
        try:
            await workflow.execute_activity(
                echo,
                "x",
                task_queue="nobody-is-here",
                start_to_close_timeout=seconds(0.3),
                schedule_to_close_timeout=seconds(1.0) if bounded else None,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except ActivityError as error:
            assert isinstance(error.cause, exceptions.TimeoutError)
            assert error.cause.type is not None
            return error.cause.type.name
        return "ran"


@pytest.mark.parametrize("how", ["bare", "group", "task group"])
async def test_an_exception_that_is_not_a_temporal_failure_leaves_the_run_running_and_retried(
    lab: Lab, how: str
) -> None:
    async with lab.worker(Fails):
        handle = await lab.start(Fails.run, how)
        assert "WORKFLOW_WORKER_UNHANDLED_FAILURE" in await task_failure(handle)
        await until(lambda: _tried_again(handle))
        assert await status(handle) == "RUNNING"
        await handle.terminate()


async def _tried_again(handle: Handle) -> bool:
    return await attempt(handle) >= 2


async def test_a_repeated_task_failure_is_not_written_to_history_again(lab: Lab) -> None:
    """Only the attempt number of the pending task tells how long a run has been stuck."""
    async with lab.worker(Fails):
        handle = await lab.start(Fails.run, "bare")
        await until(lambda: _tried_again(handle))
        assert (await names(handle)).count("WORKFLOW_TASK_FAILED") == 1
        await handle.terminate()


async def test_one_application_error_fails_the_run_with_its_type_and_details(lab: Lab) -> None:
    async with lab.worker(Fails):
        with pytest.raises(WorkflowFailureError) as failure:
            await lab.run(Fails.run, "clear")
    cause = failure.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.details, cause.message) == ("rejected", ({"path": "a"},), "clear")


@pytest.mark.parametrize("how", ["bare", "group"])
async def test_failure_exception_types_turn_a_bug_into_a_failed_run(lab: Lab, how: str) -> None:
    """Why the engine never sets it: a bad deploy would fail every run it touches."""
    async with lab.worker(Fails, workflow_failure_exception_types=[Exception]):
        handle = await lab.start(Fails.run, how)
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(handle.result(), 20)
    assert await status(handle) == "FAILED"


async def test_an_unregistered_search_attribute_sticks_a_run_forever(lab: Lab) -> None:
    async with lab.worker(Marks):
        handle = await lab.start(Marks.run, "NobodyRegisteredThis")
        assert "BAD_SEARCH_ATTRIBUTES" in await task_failure(handle)
        await until(lambda: _tried_again(handle))
        assert await status(handle) == "RUNNING"
        await handle.terminate()


async def test_an_unregistered_search_attribute_at_the_start_is_refused(lab: Lab) -> None:
    from temporalio.common import SearchAttributePair, TypedSearchAttributes

    pair = SearchAttributePair(SearchAttributeKey.for_keyword("NobodyRegisteredThis"), "x")
    with pytest.raises(RPCError, match="NobodyRegisteredThis"):
        await lab.start(Marks.run, "x", search_attributes=TypedSearchAttributes([pair]))


@pytest.mark.parametrize("option", ["execution_timeout", "run_timeout"])
async def test_temporals_own_run_timeouts_kill_without_running_code(lab: Lab, option: str) -> None:
    async with lab.worker(Tidy):
        handle = await lab.start(Tidy.run, **{option: seconds(1)})
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(handle.result(), 20)
        assert isinstance(failure.value.cause, exceptions.TimeoutError)
        assert (await names(handle))[-1] == "WORKFLOW_EXECUTION_TIMED_OUT"
        assert handle.id not in ran


async def test_terminate_runs_no_code_and_cancel_does(lab: Lab) -> None:
    async with lab.worker(Tidy):
        terminated, cancelled = await lab.start(Tidy.run), await lab.start(Tidy.run)
        await until(lambda: _waits(terminated))
        await until(lambda: _waits(cancelled))
        await terminated.terminate("enough")
        await cancelled.cancel()
        with pytest.raises(WorkflowFailureError) as failure:
            await terminated.result()
        assert isinstance(failure.value.cause, TerminatedError)
        with pytest.raises(WorkflowFailureError):
            await cancelled.result()
        assert cancelled.id in ran
        assert terminated.id not in ran


async def _waits(handle: Handle) -> bool:
    return "TIMER_STARTED" in await names(handle)


async def test_a_queue_without_workers_ends_the_step_by_its_total_time_only(lab: Lab) -> None:
    """The server reports it as SCHEDULE_TO_START although only schedule-to-close was set."""
    async with lab.worker(Unattended):
        assert await lab.run(Unattended.run, True) == TimeoutType.SCHEDULE_TO_START.name
        hanging = await lab.start(Unattended.run, False)
        await asyncio.sleep(2)
        assert await status(hanging) == "RUNNING"
        await hanging.terminate()


async def test_pausing_a_workflow_is_off_by_default(lab: Lab) -> None:
    async with lab.worker(Tidy):
        handle = await lab.start(Tidy.run)
        with pytest.raises(RPCError, match="pause is not enabled"):
            await _pause(lab, handle)
        await handle.terminate()


async def test_one_paused_workflow_breaks_list_describe_and_query_for_every_python_client(
    pause_lab: Lab,
) -> None:
    async with pause_lab.worker(Tidy):
        handle = await pause_lab.start(Tidy.run)
        await until(lambda: _waits(handle))
        await _pause(pause_lab, handle)
        with pytest.raises(ValueError, match="8 is not a valid WorkflowExecutionStatus"):
            await handle.describe()

        async def listing_breaks() -> bool:
            try:
                async for _ in pause_lab.client.list_workflows():
                    pass
            except ValueError:
                return True
            return False

        await until(listing_breaks)
        raw = await pause_lab.client.workflow_service.list_workflow_executions(
            wire.ListWorkflowExecutionsRequest(namespace="default")
        )
        assert enums.WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED in [
            execution.status for execution in raw.executions
        ]
        await handle.terminate()


async def _pause(lab: Lab, handle: Handle) -> None:
    await lab.client.workflow_service.pause_workflow_execution(
        wire.PauseWorkflowExecutionRequest(
            namespace="default", workflow_id=handle.id, identity="test", reason="test", request_id="1"
        )
    )
