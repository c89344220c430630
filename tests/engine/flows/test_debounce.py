"""The last of several deliveries is the one that starts a run, once none has come for a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.conftest import binary

from orchestrator.engine import debounce
from orchestrator.engine.debounce import DebounceWorkflow
from orchestrator.spec.call import DEBOUNCER, HOLD, START_HELD


class Starts:
    """The starts that were made; the first ``failing`` tries fail, for good where ``refusing``."""

    def __init__(self, failing: int = 0, *, refusing: bool = False) -> None:
        self.made: list[str] = []
        self._failing = failing
        self._refusing = refusing

    @activity.defn(name=START_HELD)
    async def start(self, start: dict[str, Any]) -> None:
        if self._failing:
            self._failing -= 1
            raise ApplicationError("the door is closed", non_retryable=self._refusing)
        self.made.append(start["run_id"])


Sent = Sequence[tuple[float, str]]
"""Seconds to let pass before each delivery, and its id."""


async def play(starts: Starts, sent: Sent, **rule: Any) -> None:
    """Send deliveries and let time pass until the workflow closes."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server")
    ) as environment:
        queue = f"q-{uuid4().hex[:8]}"
        async with Worker(
            environment.client, task_queue=queue, workflows=[DebounceWorkflow], activities=[starts.start],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):  # fmt: skip
            for pause, name in sent:
                if pause:
                    await environment.sleep(pause)
                told = {"wait": 30.0, "max_wait": None} | rule
                handle = await environment.client.start_workflow(
                    DEBOUNCER, id=f"d-{queue}", task_queue=queue, start_signal=HOLD,
                    start_signal_args=[{"id": name, "start": {"run_id": name}} | told],
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                )  # fmt: skip
            await handle.result()


async def test_deliveries_that_follow_each_other_closely_start_one_run_with_the_last() -> None:
    starts = Starts()
    await play(starts, [(0, "a"), (20, "b"), (20, "c")])
    assert starts.made == ["c"]


async def test_a_delivery_after_the_wait_starts_a_run_of_its_own() -> None:
    starts = Starts()
    await play(starts, [(0, "a"), (20, "b"), (40, "c")])
    assert starts.made == ["b", "c"]


async def test_no_stream_of_deliveries_postpones_a_run_beyond_max_wait() -> None:
    starts = Starts()
    await play(starts, [(0, "a"), *((25.0, name) for name in "bcdefg")], max_wait=60.0)
    assert starts.made == ["c", "f", "g"]


async def test_a_delivery_that_is_brought_again_does_not_take_a_later_ones_place() -> None:
    starts = Starts()
    await play(starts, [(0, "a"), (1, "b"), (1, "a"), (60, "a")])
    assert starts.made == ["b"]


async def test_a_door_that_is_closed_for_a_moment_is_tried_again_and_a_refusal_is_not() -> None:
    closed = Starts(failing=2)
    await play(closed, [(0, "a")])
    assert closed.made == ["a"]
    refused = Starts(failing=1, refusing=True)
    await play(refused, [(0, "a"), (60, "b")])
    assert refused.made == ["b"]


async def test_what_is_held_survives_continuing_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debounce, "LONGEST_HISTORY", 4)
    starts = Starts()
    await play(starts, [(0, "a"), *((10.0, name) for name in "bcdef"), (5, "b"), (60, "g"), (5, "f")])
    assert starts.made == ["f", "g"]
