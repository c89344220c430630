"""Compensations while the run continues as new, and after a cancellation: each once, and with an error to look at."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowFailureError
from tests.engine.harness import Workbench

CAUGHT = """
id: caught-saga
steps:
  - id: guarded
    type: try
    config:
      steps:
        - id: doubtful
          type: saga
          config:
            steps:
              - {id: grab, type: function, config: {handler: echo, args: [grab]}, compensate: {id: drop, type: function, config: {handler: echo, args: ["drop after {{ error.type }}"]}}}
              - {id: hold, type: function, config: {handler: echo, args: [hold]}, compensate: {id: free, type: function, config: {handler: echo, args: [free]}}}
              - {id: trip, type: function, config: {handler: fail_with, args: [trip]}}
      catch: [{"on": [refused], steps: [{id: caught, type: function, config: {handler: echo, args: [caught]}}]}]
"""
CANCELLED = """
id: cancelled-undo
steps:
  - {id: a, type: function, config: {handler: echo, args: [a]}, compensate: {id: undo, type: function, config: {handler: echo, args: ["undo after {{ error.type }}"]}}}
  - {id: review, type: human-task, config: {assignee: team}}
"""


@pytest.mark.parametrize("continue_after", [1, 12, 20, 26, 5000])
async def test_a_failed_saga_stays_failed_when_the_run_continues_inside_its_compensations(
    workbench: Workbench, continue_after: int
) -> None:
    assert await workbench.run(CAUGHT, continue_after=continue_after) == "caught"
    assert workbench.calls() == [
        "echo grab",
        "echo hold",
        "fail_with trip",
        "echo free",
        "echo drop after refused",
        "echo caught",
    ]


async def test_a_compensation_of_a_cancelled_run_sees_that_it_was_cancelled(workbench: Workbench) -> None:
    handle = await workbench.start(CANCELLED)
    await workbench.waiting(handle, "review")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert workbench.calls() == ["echo a", "echo undo after cancelled"]
