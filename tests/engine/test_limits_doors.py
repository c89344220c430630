"""Starts, signals, updates and queries: what the doors of a run really promise."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from tests.engine.lab import Handle, Lab, events, names, seconds, until

calls: dict[str, int] = defaultdict(int)
"""How often something in this process ran, by workflow id."""


@workflow.defn(dynamic=True)
class Anything:
    """One workflow for every type; its signals, updates and queries get their names while it runs."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> list[Any]:
        calls[workflow.info().workflow_id] += 1
        given = [workflow.payload_converter().from_payload(raw.payload) for raw in args]
        workflow.set_signal_handler("심사", self.note)
        workflow.set_update_handler("manual-review", self.decide, validator=self.check)
        workflow.set_query_handler("state", lambda: {"answers": len(self.answers)})
        workflow.set_dynamic_signal_handler(self.other)
        await workflow.wait_condition(lambda: len(self.answers) >= 2)
        return [workflow.info().workflow_type, given, self.answers]

    async def note(self, data: Any) -> None:
        self.answers.append(data)

    async def other(self, name: str, args: Sequence[RawValue]) -> None:
        self.answers.append([name, workflow.payload_converter().from_payload(args[0].payload)])

    async def decide(self, data: Any) -> dict[str, Any]:
        self.answers.append(data)
        return {"accepted": True}

    def check(self, data: Any) -> None:
        if data.get("decision") not in ("approve", "reject"):
            raise ApplicationError(f"'{data.get('decision')}' is not a decision", type="refused")


@workflow.defn
class Short:
    @workflow.run
    async def run(self, fails: bool) -> str:
        if fails:
            raise ApplicationError("no")
        return workflow.info().run_id


@workflow.defn
class Steps:
    """Three timers, one after the other; counts how often its code was run from the top."""

    @workflow.run
    async def run(self) -> str:
        calls[workflow.info().workflow_id] += 1
        for _ in range(3):
            await workflow.sleep(0.05)
        return "done"


@activity.defn
async def light() -> int:
    """Counts its calls and takes most of a second."""
    key = f"light {activity.info().workflow_id}"
    calls[key] += 1
    await asyncio.sleep(0.8)
    return calls[key]


@workflow.defn
class Express:
    """A local activity, while signals arrive; ends in the same task or in a later one."""

    def __init__(self) -> None:
        self.signals = 0

    @workflow.run
    async def run(self, ends_at_once: bool) -> int:
        count = await workflow.execute_local_activity(light, start_to_close_timeout=seconds(20))
        if not ends_at_once:
            await workflow.sleep(0.01)
        return count

    @workflow.signal
    def note(self) -> None:
        self.signals += 1


async def _asked(handle: Handle) -> bool:
    return calls[handle.id] >= 1


async def test_a_dynamic_workflow_takes_named_signals_updates_and_queries_of_any_script(lab: Lab) -> None:
    async with lab.worker(Anything):
        handle = await lab.start("customer-onboarding", {"customer": 1}, {"format": 1})
        await until(lambda: _asked(handle))
        assert await handle.execute_update("manual-review", {"decision": "approve"}) == {"accepted": True}
        assert await handle.query("state") == {"answers": 1}
        await handle.signal("심사", {"decision": "reject"})
        kind, given, answers = await asyncio.wait_for(handle.result(), 20)
    assert kind == "customer-onboarding"
    assert given == [{"customer": 1}, {"format": 1}]
    assert answers == [{"decision": "approve"}, {"decision": "reject"}]


async def test_a_signal_without_its_own_handler_reaches_the_dynamic_one(lab: Lab) -> None:
    async with lab.worker(Anything):
        handle = await lab.start("any-flow")
        await handle.signal("first", 1)
        await handle.signal("second", 2)
        assert (await asyncio.wait_for(handle.result(), 20))[2] == [["first", 1], ["second", 2]]


async def test_an_update_refused_by_its_validator_leaves_no_trace_in_history(lab: Lab) -> None:
    async with lab.worker(Anything):
        handle = await lab.start("any-flow")
        await until(lambda: _asked(handle))
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("manual-review", {"decision": "maybe"})
        assert isinstance(refused.value.cause, ApplicationError)
        assert refused.value.cause.message == "'maybe' is not a decision"
        assert not [name for name in await names(handle) if "UPDATE" in name]
        await handle.terminate()


async def test_without_a_cache_every_task_runs_the_workflow_from_the_top(lab: Lab) -> None:
    async with lab.worker(Steps, max_cached_workflows=0):
        handle = await lab.start(Steps.run)
        assert await handle.result() == "done"
    assert calls[handle.id] == 4


async def test_with_a_cache_the_workflow_runs_once(lab: Lab) -> None:
    async with lab.worker(Steps):
        handle = await lab.start(Steps.run)
        assert await handle.result() == "done"
    assert calls[handle.id] == 1


async def test_an_eager_start_hands_the_first_task_to_a_worker_of_the_same_client(lab: Lab) -> None:
    async with lab.worker(Short):
        eager = await lab.start(Short.run, False, request_eager_start=True)
        ordinary = await lab.start(Short.run, False)
        await asyncio.gather(eager.result(), ordinary.result())
        told = [
            (await events(handle))[0].workflow_execution_started_event_attributes.eager_execution_accepted
            for handle in (eager, ordinary)
        ]
    assert told == [True, False]


REUSE = {
    "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
    "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
}


async def test_reject_duplicate_and_use_existing_join_a_run_in_progress(lab: Lab) -> None:
    async with lab.worker(Anything):
        first = await lab.start("flow", id="same-1", **REUSE)
        second = await lab.start("flow", id="same-1", **REUSE)
        assert (await first.describe()).run_id == (await second.describe()).run_id
        assert (await names(first)).count("WORKFLOW_EXECUTION_STARTED") == 1
        await first.terminate()


@pytest.mark.parametrize("fails", [False, True])
async def test_reject_duplicate_refuses_a_run_that_has_ended_however_it_ended(lab: Lab, fails: bool) -> None:
    async with lab.worker(Short):
        first = await lab.start(Short.run, fails, id=f"ended-{fails}", **REUSE)
        if fails:
            with pytest.raises(WorkflowFailureError):
                await first.result()
        else:
            await first.result()
        with pytest.raises(WorkflowAlreadyStartedError) as refused:
            await lab.start(Short.run, fails, id=f"ended-{fails}", **REUSE)
        assert refused.value.run_id == first.first_execution_run_id


async def test_allow_duplicate_failed_only_starts_a_failed_run_again_and_no_other(lab: Lab) -> None:
    policy = REUSE | {"id_reuse_policy": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY}
    async with lab.worker(Short):
        failed = await lab.start(Short.run, True, id="retry-me", **policy)
        with pytest.raises(WorkflowFailureError):
            await failed.result()
        again = await lab.start(Short.run, False, id="retry-me", **policy)
        assert await again.result() != failed.first_execution_run_id
        with pytest.raises(WorkflowAlreadyStartedError):
            await lab.start(Short.run, False, id="retry-me", **policy)


@pytest.mark.parametrize(
    ("signals", "ends_at_once", "times"),
    [(20, False, 1), (150, False, 2), (0, True, 1), (1, True, 2)],
    ids=["a-few-signals", "more-than-a-hundred", "none-in-the-last-task", "one-in-the-last-task"],
)
async def test_local_activities_are_repeated_by_a_burst_of_signals_and_by_one_in_the_task_that_ends_the_run(
    lab: Lab, signals: int, ends_at_once: bool, times: int
) -> None:
    """The server drops the running task, and with it whatever the task has not recorded yet."""
    async with lab.worker(Express, activities=[light]):
        handle = await lab.start(Express.run, ends_at_once)
        await until(lambda: _light(handle))
        await asyncio.gather(*[handle.signal(Express.note) for _ in range(signals)])
        assert await asyncio.wait_for(handle.result(), 30) == times


async def _light(handle: Handle) -> bool:
    return calls[f"light {handle.id}"] >= 1


async def test_a_schedule_tells_its_run_when_and_by_whom_it_was_scheduled(lab: Lab) -> None:
    async with lab.worker(Short):
        schedule = await lab.client.create_schedule(
            f"every-hour-{lab.queue}",
            Schedule(
                action=ScheduleActionStartWorkflow(Short.run, False, id=f"sch-{lab.queue}", task_queue=lab.queue),
                spec=ScheduleSpec(cron_expressions=["0 * * * *"]),
            ),
        )
        await schedule.trigger()
        run_id = await until(lambda: _scheduled(schedule))
        handle: Handle = lab.client.get_workflow_handle(run_id)
        await handle.result()
        started = (await events(handle))[0].workflow_execution_started_event_attributes
        await schedule.delete()
    assert {"TemporalScheduledStartTime", "TemporalScheduledById"} <= set(started.search_attributes.indexed_fields)
    assert run_id.startswith(f"sch-{lab.queue}-")


async def _scheduled(schedule: Any) -> str | None:
    actions = (await schedule.describe()).info.recent_actions
    return actions[0].action.workflow_id if actions else None


@workflow.defn
class YearLong:
    @workflow.run
    async def run(self) -> float:
        began = workflow.time()
        await workflow.sleep(timedelta(days=365))
        return workflow.time() - began


async def test_a_wait_of_a_year_costs_one_timer(skipping_lab: Lab) -> None:
    async with skipping_lab.worker(YearLong):
        handle = await skipping_lab.start(YearLong.run)
        assert await handle.result() >= timedelta(days=365).total_seconds()
        assert (await names(handle)).count("TIMER_STARTED") == 1
        assert len(await names(handle)) <= 10
