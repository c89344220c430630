"""``cache``: an output of an earlier run instead of the step, visible in the run that took it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.engine.harness import Workbench

CACHED = """
id: FLOW
inputs: {given: {}}
DEFAULTS
steps:
  - id: ask
    type: function
    config: {handler: echo, args: ["{{ inputs.given }}"]}
    cache: {KEY}
output: ["{{ steps.ask.output }}", "{{ steps.ask.cached | default(false) }}"]
"""


def cached(key: str = "key: '{{ inputs.given }}', ttl: 1h", flow: str = "one", defaults: str = "env: {}") -> str:
    return CACHED.replace("KEY", key).replace("FLOW", flow).replace("DEFAULTS", defaults)


async def test_the_second_run_takes_the_output_of_the_first_and_shows_it(workbench: Workbench) -> None:
    assert await workbench.run(cached(), {"given": "a"}) == ["a", False]
    handle = await workbench.start(cached(), {"given": "a"})
    assert await handle.result() == ["a", True]
    record = (await handle.query("state"))["steps"]["ask"]
    assert (record["cached"], record["status"]) == (True, "completed")
    assert "usage" not in record
    assert workbench.calls() == ["echo a"]


@pytest.mark.parametrize("given", ["x", 1, [1, 2], {"b": 1, "a": [None]}])
async def test_a_key_is_made_per_input(workbench: Workbench, given: Any) -> None:
    other = {"other": given}
    for value, hit in ((given, False), (other, False), (given, True), (other, True)):
        assert await workbench.run(cached(), {"given": value}) == [value, hit]
    assert len(workbench.calls()) == 2


@pytest.mark.parametrize("given", [None, ""])
async def test_no_key_is_no_cache(workbench: Workbench, given: Any) -> None:
    for _ in range(2):
        assert await workbench.run(cached(), {"given": given}) == [given, False]


async def test_what_has_expired_is_made_anew(workbench: Workbench) -> None:
    flow = cached("key: k, ttl: 500ms")
    assert await workbench.run(flow, {"given": "a"}) == ["a", False]
    await asyncio.sleep(0.8)
    assert await workbench.run(flow, {"given": "b"}) == ["b", False]


async def test_flows_share_a_key_only_where_they_say_so(workbench: Workbench) -> None:
    assert await workbench.run(cached("key: k"), {"given": "a"}) == ["a", False]
    assert await workbench.run(cached("key: k", "two"), {"given": "b"}) == ["b", False]
    shared = "key: k, scope: project"
    assert await workbench.run(cached(shared), {"given": "c"}) == ["c", False]
    assert await workbench.run(cached(shared, "two"), {"given": "d"}) == ["c", True]


async def test_a_hit_in_a_loop_is_one_per_pass(workbench: Workbench) -> None:
    flow = """
    id: loop
    steps:
      - id: each
        type: for-each
        config:
          items: [a, b, a, a]
          steps:
            - id: ask
              type: function
              config: {handler: echo, args: ["{{ item }}"]}
              cache: {key: "{{ item }}"}
            - {id: hit, type: transform, config: {value: "{{ steps.ask.cached | default(false) }}"}}
    """
    assert await workbench.run(flow) == [False, False, True, True]
    assert workbench.calls() == ["echo a", "echo b"]


async def test_a_failure_is_not_kept(workbench: Workbench) -> None:
    flow = """
    id: fails
    steps:
      - id: ask
        type: function
        retry: none
        config: {handler: fail_times, params: {times: 9}}
        cache: {key: k}
    """
    for _ in range(2):
        assert (await workbench.failure(flow))["type"] == "network_error"
    assert len(workbench.calls()) == 2


async def test_an_express_step_takes_and_keeps_as_well(workbench: Workbench) -> None:
    flow = cached(defaults="defaults: {durability: express, timeout: 5s}")
    assert await workbench.run(flow, {"given": "a"}) == ["a", False]
    assert await workbench.run(flow, {"given": "a"}) == ["a", True]
    assert workbench.calls() == ["echo a"]


async def test_a_key_that_cannot_be_rendered_fails_the_step(workbench: Workbench) -> None:
    error = await workbench.failure(cached("key: '{{ inputs.given.nope }}'"), {"given": {}})
    assert (error["type"], error["step"]["path"]) == ("expression_error", "ask")
    assert workbench.calls() == []
