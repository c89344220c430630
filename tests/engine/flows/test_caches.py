"""``cache`` seen from a flow: hits are part of the run."""

from __future__ import annotations

import pytest
from tests.engine.harness import Workbench, failure_of

FLOW = """
id: cached
inputs: {customer: {type: object, default: {id: 1, name: Ada}}}
steps:
  - id: ask
    type: function
    config: {handler: echo, params: "{{ inputs.customer }}"}
    cache: {key: "{{ inputs.customer }}"}
"""


@pytest.mark.parametrize("express", [False, True], ids=["step", "express"])
async def test_a_second_run_takes_the_output_of_the_first_and_says_so(workbench: Workbench, express: bool) -> None:
    flow = FLOW + ("defaults: {durability: express, timeout: 5s}\n" if express else "")
    assert await workbench.run(flow) == {"id": 1, "name": "Ada"}
    again = await workbench.start(flow)
    assert await again.result() == {"id": 1, "name": "Ada"}
    (record,) = [record for path, record in dict((await again.query("state"))["steps"]).items() if path == "ask"]
    assert record["cached"] is True
    assert len(workbench.calls()) == 1


async def test_passes_of_a_loop_share_a_key(workbench: Workbench) -> None:
    flow = """
    id: cached-loop
    steps:
      - id: each
        type: for-each
        config:
          items: [a, b, a, b]
          steps: [{id: ask, type: function, config: {handler: echo, params: "{{ item }}"}, cache: {key: "{{ item }}"}}]
    """
    assert await workbench.run(flow) == ["a", "b", "a", "b"]
    assert workbench.calls() == ["echo a", "echo b"]


async def test_a_step_that_was_not_run_is_not_undone(workbench: Workbench) -> None:
    flow = """
    id: cached-saga
    inputs: {fails: boolean}
    steps:
      - id: book
        type: function
        config: {handler: echo, args: [room]}
        cache: {key: room}
        compensate: {type: function, config: {handler: echo, args: [undo]}}
      - {type: fail, if: inputs.fails, config: {type: told, message: to}}
    """
    await workbench.run(flow, {"fails": False})
    await failure_of(await workbench.start(flow, {"fails": True}))
    assert workbench.calls() == ["echo room"]
