"""Functions: threads, other people's workers, heartbeats, what the step tells them."""

from __future__ import annotations

import uuid
from typing import Any

from temporalio import activity
from temporalio.worker import Worker
from tests.engine.harness import Workbench


@activity.defn(name="score")
async def foreign_score(order: dict[str, Any]) -> float:
    """As a worker in another language would serve it: plain arguments, plain result."""
    return float(order["total"]) / 10


@activity.defn(name="refuse")
async def foreign_refuse() -> None:
    raise ValueError("not today")


async def test_a_function_on_another_queue_is_served_by_somebody_elses_worker(workbench: Workbench) -> None:
    queue = f"ml-{uuid.uuid4().hex[:8]}"
    flow = f"""
    id: foreign
    steps: [{{id: s, type: function, config: {{handler: score, task_queue: {queue}, params: {{total: 42}}}}}}]
    """
    async with Worker(workbench.temporal, task_queue=queue, activities=[foreign_score]):
        assert await workbench.run(flow) == 4.2


async def test_a_foreign_failure_keeps_its_type_and_message(workbench: Workbench) -> None:
    queue = f"ml-{uuid.uuid4().hex[:8]}"
    flow = f"""
    id: foreign-failure
    steps: [{{id: s, type: function, retry: none, config: {{handler: refuse, task_queue: {queue}}}}}]
    """
    async with Worker(workbench.temporal, task_queue=queue, activities=[foreign_refuse]):
        error = await workbench.failure(flow)
    assert (error["type"], error["message"]) == ("ValueError", "not today")


async def test_secrets_are_not_sent_to_somebody_elses_worker(workbench: Workbench) -> None:
    flow = """
    id: foreign-secret
    steps: [{id: s, type: function, config: {handler: score, task_queue: ml, params: {key: "{{ secrets.K }}"}}}]
    """
    error = await workbench.failure(flow)
    assert error["type"] == "invalid_config"
    assert "'ml'" in error["message"]


async def test_a_synchronous_function_runs_in_a_thread_and_does_not_hold_up_the_others(workbench: Workbench) -> None:
    flow = """
    id: threads
    steps:
      - parallel:
          - {id: a, type: function, config: {handler: in_thread, params: {seconds: 1}}}
          - {id: b, type: function, config: {handler: slow, params: {seconds: 0}}}
    """
    output = await workbench.run(flow)
    assert output["a"] == {"thread": True}
    assert workbench.calls() == ["start parallel-1/b", "end parallel-1/b", "in_thread"]


async def test_a_step_longer_than_the_heartbeat_timeout_is_not_taken_for_lost(workbench: Workbench) -> None:
    flow = """
    id: long
    steps:
      - parallel:
          - {id: a, type: function, config: {handler: slow, params: {seconds: 7}}}
          - {id: b, type: function, config: {handler: in_thread, params: {seconds: 7}}}
    """
    handle = await workbench.start(flow)
    await handle.result()
    state: dict[str, Any] = await handle.query("state")
    assert [state["steps"][f"parallel-1/{step}"]["attempts"] for step in ("a", "b")] == [1, 1]


async def test_a_functions_own_heartbeat_details_survive_its_retry(workbench: Workbench) -> None:
    flow = """
    id: progress
    steps:
      - id: p
        type: function
        retry: {max_attempts: 2, initial_interval: 10ms}
        config: {handler: count_up}
    """
    assert await workbench.run(flow) == [5]
