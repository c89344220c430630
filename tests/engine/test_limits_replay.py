"""What replay notices, what it is blind to, and which asyncio calls do not survive it."""

from __future__ import annotations

import asyncio

import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from tests.engine.lab import Lab, seconds

ROUNDS = 6


@activity.defn(name="charge")
async def charge(what: str) -> str:
    return what


@activity.defn(name="refund")
async def refund(what: str) -> str:
    return what


async def _charge(what: str, name: str = "charge", activity_id: str | None = None, limit: float = 5) -> str:
    done: str = await workflow.execute_activity(
        name, what, result_type=str, activity_id=activity_id, start_to_close_timeout=seconds(limit)
    )
    return done


@workflow.defn(name="Racing")
class AsyncioWait:
    """Eight timers end in one task; what follows each is done in the order ``asyncio.wait`` gives."""

    @workflow.run
    async def run(self) -> list[str]:
        tasks = [asyncio.create_task(_nap(number)) for number in range(8)]
        done, _ = await asyncio.wait(tasks)
        return [await _charge(task.result(), activity_id=task.result()) for task in done]


@workflow.defn(name="Racing")
class WorkflowWait:
    """The same with ``workflow.wait``."""

    @workflow.run
    async def run(self) -> list[str]:
        tasks = [asyncio.create_task(_nap(number)) for number in range(8)]
        done, _ = await workflow.wait(tasks)
        return [await _charge(task.result(), activity_id=task.result()) for task in done]


async def _nap(number: int) -> str:
    await workflow.sleep(0.05)
    return f"step-{number}"


@workflow.defn
class TwoSteps:
    """Two steps and a timer, as the variant of the moment has them."""

    variant = "original"

    @workflow.run
    async def run(self) -> None:
        variant = self.variant
        ids = ("first", "second") if "ids" in variant else (None, None)
        order = [("one", ids[0]), ("two", ids[1])]
        if "swapped" in variant:
            order.reverse()
        for what, activity_id in order:
            await _charge(
                "other" if variant == "inputs" else what,
                name="refund" if variant == "type" else "charge",
                activity_id=activity_id,
                limit=60 if variant == "options" else 5,
            )
        await workflow.sleep(0.3 if variant == "duration" else 0.05)
        if variant == "longer":
            await workflow.sleep(0.05)


async def record(lab: Lab, kind: type) -> WorkflowHistory:
    """The history of one finished run."""
    async with lab.worker(kind, activities=[charge, refund]):
        handle = await lab.start(workflow._Definition.must_from_class(kind).name or "")
        await handle.result()
        return await handle.fetch_history()


async def replays(kind: type, history: WorkflowHistory) -> bool:
    """Whether the code replays the history."""
    replayer = Replayer(workflows=[kind], workflow_runner=UnsandboxedWorkflowRunner())
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    return result.replay_failure is None


async def test_asyncio_wait_does_not_survive_replay(lab: Lab) -> None:
    """It gives a set: its order is the order of addresses in memory."""
    history = await record(lab, AsyncioWait)
    assert False in [await replays(AsyncioWait, history) for _ in range(ROUNDS)]


async def test_workflow_wait_survives_every_replay(lab: Lab) -> None:
    history = await record(lab, WorkflowWait)
    assert [await replays(WorkflowWait, history) for _ in range(ROUNDS)] == [True] * ROUNDS


@pytest.mark.parametrize("variant", ["swapped", "inputs", "options", "duration"])
async def test_replay_is_blind_to(lab: Lab, monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    """Two swapped steps of one type, other inputs, other timeouts, another timer: all replay fine."""
    history = await record(lab, TwoSteps)
    monkeypatch.setattr(TwoSteps, "variant", variant)
    assert await replays(TwoSteps, history)


@pytest.mark.parametrize(
    ("before", "after"),
    [("ids", "ids swapped"), ("original", "type"), ("longer", "original"), ("original", "longer")],
    ids=["swapped-steps-with-ids", "another-type", "a-missing-command", "one-command-more"],
)
async def test_replay_notices(lab: Lab, monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    monkeypatch.setattr(TwoSteps, "variant", before)
    history = await record(lab, TwoSteps)
    monkeypatch.setattr(TwoSteps, "variant", after)
    assert not await replays(TwoSteps, history)
