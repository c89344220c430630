"""``while`` and ``until``: when it stops, what a pass sees, what it gives."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.engine.harness import Workbench

COUNT = """
id: count
vars: {n: 0}
steps:
  - id: w
    type: while
    config:
      OPTIONS
      steps:
        - {id: up, type: set, config: {n: "{{ vars.n + 1 }}"}}
        - {id: now, type: function, config: {handler: echo, args: ["{{ vars.n }}"]}}
output: ["{{ steps.w.output }}", "{{ steps.w.passes }}", "{{ vars.n }}"]
"""


def count(options: str) -> str:
    return COUNT.replace("OPTIONS", options)


ENDS: list[tuple[str, list[Any]]] = [
    ("{while: vars.n < 3, max_iterations: 9}", [3, 3, 3]),
    ("{while: vars.n < 0, max_iterations: 9}", [None, 0, 0]),
    ("{until: steps.now.output >= 2, max_iterations: 9}", [2, 2, 2]),
    ("{until: 'true', max_iterations: 9}", [1, 1, 1]),
    ("{while: vars.n < 3, max_iterations: 9, collect: all}", [[1, 2, 3], 3, 3]),
    ("{while: vars.n < 0, max_iterations: 9, collect: all}", [[], 0, 0]),
    ("{while: vars.n < 3, max_iterations: 9, collect: none}", [None, 3, 3]),
    ("{while: vars.n < 3, max_iterations: 3}", [3, 3, 3]),
    ("{while: vars.n < 3, timeout: 1h}", [3, 3, 3]),
    ("{while: loop.count < 4, max_iterations: 9}", [4, 4, 4]),
    ("{until: loop.count == 4, max_iterations: 9}", [4, 4, 4]),
    ("{until: loop.previous == 3, max_iterations: 9}", [3, 3, 3]),
    ("{while: 'loop.first or loop.previous < 2', max_iterations: 9}", [2, 2, 2]),
]


@pytest.mark.parametrize(("options", "expected"), ENDS)
async def test_a_loop_ends_when_its_condition_says_so(workbench: Workbench, options: str, expected: list[Any]) -> None:
    written = options.strip("{}").replace(", ", "\n      ")
    assert await workbench.run(count(written)) == expected
    assert workbench.calls() == [f"echo {number}" for number in range(1, expected[1] + 1)]


async def test_max_iterations_that_are_used_up_fail_with_loop_limit_after_that_many_passes(
    workbench: Workbench,
) -> None:
    error = await workbench.failure(count("while: vars.n < 9\n      max_iterations: 2"))
    assert (error["type"], error["step"]["path"]) == ("loop_limit", "w")
    assert "2 passes" in error["message"]
    assert workbench.calls() == ["echo 1", "echo 2"]


async def test_max_iterations_may_be_a_template(workbench: Workbench) -> None:
    flow = count("while: vars.n < 9\n      max_iterations: '{{ inputs.most }}'").replace(
        "vars: {n: 0}", "vars: {n: 0}\ninputs: {most: {}}"
    )
    assert (await workbench.failure(flow, {"most": 2}))["type"] == "loop_limit"
    error = await workbench.failure(flow, {"most": "many"})
    assert (error["type"], error["step"]["path"]) == ("invalid_config", "w")
    assert '"many"' in error["message"]
    assert workbench.calls() == ["echo 1", "echo 2"]


async def test_the_timeout_of_a_loop_fails_with_loop_limit_and_says_how_long(skipping: Workbench) -> None:
    error = await skipping.failure(count("while: vars.n < 99\n      timeout: 1h\n      interval: 25m"))
    assert (error["type"], error["step"]["path"]) == ("loop_limit", "w")
    assert "3600s" in error["message"]
    assert skipping.calls() == ["echo 1", "echo 2", "echo 3"]


async def test_a_timeout_stops_the_pass_that_is_running(workbench: Workbench) -> None:
    flow = """
    id: hangs
    steps:
      - id: w
        type: while
        config:
          while: "true"
          timeout: 300ms
          steps: [{id: hang, type: function, config: {handler: slow, params: {seconds: 30}}}]
    """
    assert (await workbench.failure(flow))["type"] == "loop_limit"
    assert workbench.calls() == ["start w[0]/hang", "cancelled w[0]/hang"]


async def test_the_step_timeout_of_a_loop_says_that_it_was_this_one(skipping: Workbench) -> None:
    flow = count("while: vars.n < 99\n      timeout: 9h\n      interval: 25m").replace(
        "type: while", "type: while\n    timeout: 1h"
    )
    error = await skipping.failure(flow)
    assert (error["type"], error["step"]["path"]) == ("step_timeout", "w")


async def test_the_interval_lies_between_passes_and_not_after_the_last(skipping: Workbench) -> None:
    flow = count("until: vars.n == 3\n      max_iterations: 9\n      interval: 1h").replace(
        "output: [", "output: ['{{ date_diff(steps.w.started_at, steps.w.finished_at) }}', "
    )
    got = await skipping.run(flow)
    assert got[1:] == [3, 3, 3]
    assert 7200 <= abs(got[0]) < 7260


async def test_polling_for_a_month_costs_no_time_in_the_test(skipping: Workbench) -> None:
    began = time.monotonic()
    flow = """
    id: month
    steps:
      - id: w
        type: while
        config:
          until: loop.count == 30
          max_iterations: 40
          interval: 24h
          steps: [{id: x, type: transform, config: {value: "{{ loop.index }}"}}]
    """
    assert await skipping.run(flow) == 29
    assert time.monotonic() - began < 30


async def test_a_pass_sees_its_number_the_last_output_and_the_loop_around(workbench: Workbench) -> None:
    flow = """
    id: sees
    steps:
      - id: outer
        type: for-each
        config:
          items: [a, b]
          steps:
            - id: w
              type: while
              config:
                while: loop.count < 2 and loop.parent.index < 9
                max_iterations: 9
                collect: all
                steps:
                  - id: x
                    type: transform
                    config: {value: "{{ [item, loop.parent.index, loop.index, loop.count, loop.first, loop.previous | default('-')] }}"}
    """
    [first, second] = await workbench.run(flow)
    assert first == [["a", 0, 0, 0, True, "-"], ["a", 0, 1, 1, False, ["a", 0, 0, 0, True, "-"]]]
    assert second[1][:5] == ["b", 1, 1, 1, False]


async def test_a_failing_pass_fails_the_loop_with_its_place(workbench: Workbench) -> None:
    flow = """
    id: fails
    steps:
      - id: w
        type: while
        config:
          while: "true"
          max_iterations: 9
          steps: [{id: stop, type: fail, if: loop.index == 2, config: {type: enough, message: m}}]
    """
    error = await workbench.failure(flow)
    assert (error["type"], error["step"]["path"]) == ("enough", "w[2]/stop")


async def test_a_condition_that_is_not_true_or_false_fails_the_loop(workbench: Workbench) -> None:
    error = await workbench.failure(count("while: vars.n\n      max_iterations: 3"))
    assert (error["type"], error["step"]["path"]) == ("expression_error", "w")
    assert workbench.calls() == []


async def test_a_thousand_passes_leave_a_journal_as_small_as_one(workbench: Workbench) -> None:
    flow = """
    id: many
    vars: {n: 0}
    steps:
      - id: w
        type: while
        config:
          while: vars.n < 1000
          max_iterations: 2000
          steps: [{id: up, type: set, config: {n: "{{ vars.n + 1 }}"}}]
    output: "{{ vars.n }}"
    """
    handle = await workbench.start(flow)
    assert await handle.result() == 1000
    journal = await handle.query("journal", {"after": 0})
    assert [path for path, _ in journal["records"]] == ["w"]
    assert journal["folded"] == {"w": 1000}
