"""``for-each``: what it takes, what a pass sees, what it gives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from tests.engine.harness import Workbench, events, scheduled

EACH = """
id: each
inputs: {given: {}, n: {default: null}}
steps:
  - id: each
    type: for-each
    config:
      items: "{{ inputs.given }}"
      OPTIONS
      steps:
        BODY
output: OUTPUT
"""
SAME = "- {id: same, type: transform, config: {value: '{{ item }}'}}"
FAIL_THREES = (
    "- {id: bad, type: fail, if: 'item % 3 == 0', config: {type: three, message: 'no {{ item }}'}}\n"
    "        - {id: good, type: transform, config: {value: '{{ item }}'}}"
)
RESULT = "'{{ steps.each.output }}'"


def each(options: str = "", body: str = SAME, output: str = RESULT) -> str:
    return EACH.replace("OPTIONS", options).replace("BODY", body).replace("OUTPUT", output)


ITEMS: list[tuple[object, list[Any]]] = [
    ([3, "b", None, {"c": [1]}], [3, "b", None, {"c": [1]}]),
    ([], []),
    (0, []),
    (3, [0, 1, 2]),
    (
        {"pear": 1, "apple": {"x": 2}},
        [{"key": "apple", "value": {"x": 2}}, {"key": "pear", "value": 1}],
    ),
    ({}, []),
]


async def test_items_are_a_list_a_number_or_an_object_whose_order_is_always_the_same(workbench: Workbench) -> None:
    got = await asyncio.gather(*(workbench.run(each(), {"given": given}) for given, _ in ITEMS))
    assert got == [expected for _, expected in ITEMS]


NO_ITEMS: list[tuple[object, str]] = [
    ("abc", '"abc"'),
    (None, "null"),
    (True, "true"),
    (2.5, "2.5"),
    (-1, "-1"),
    (1_000_001, "1000001"),
]


async def test_what_is_no_list_fails_the_step_and_says_what_it_was(workbench: Workbench) -> None:
    errors = await asyncio.gather(*(workbench.failure(each(), {"given": given}) for given, _ in NO_ITEMS))
    for (_, told), error in zip(NO_ITEMS, errors, strict=True):
        assert error["type"] == "invalid_items"
        assert f"'each' gave {told}; it takes a list" in error["message"]
        assert (error["step"]["path"], error["source"]) == ("each", "flow.yaml:5:5")


SHAPES: list[tuple[str, str, object, object]] = [
    ("as: fruit", "- {id: x, type: transform, config: {value: '{{ fruit }}!'}}", ["a", "b"], ["a!", "b!"]),
    ("batch_size: 2", SAME, [1, 2, 3], [[1, 2], [3]]),
    ("batch_size: 5", SAME, 3, [[0, 1, 2]]),
    ("collect: none", SAME, [1, 2], None),
    ("concurrency: 3", SAME, 7, [0, 1, 2, 3, 4, 5, 6]),
    ("concurrency: 9", SAME, 2, [0, 1]),
    ("until: item == 3", SAME, [1, 2, 3, 4, 5], [1, 2, 3]),
    ("until: steps.same.output > 3", SAME, [5, 6], [5]),
    ("until: item > 99", SAME, [1, 2], [1, 2]),
    ("", "- {id: x, type: transform, if: item > 1, config: {value: '{{ item }}'}}", [1, 2], [None, 2]),
]


async def test_options_shape_the_passes(workbench: Workbench) -> None:
    got = await asyncio.gather(
        *(workbench.run(each(options, body), {"given": given}) for options, body, given, _ in SHAPES),
        return_exceptions=True,
    )
    for (options, body, given, expected), ended in zip(SHAPES, got, strict=True):
        assert ended == expected, (options, body, given)


async def test_numbers_may_be_templates_and_anything_else_is_refused_in_words(workbench: Workbench) -> None:
    template = "'{{ inputs.n }}'"
    assert await workbench.run(each(f"concurrency: {template}"), {"given": 4, "n": 2}) == [0, 1, 2, 3]
    assert await workbench.run(each(f"batch_size: {template}"), {"given": 3, "n": "2"}) == [[0, 1], [2]]
    assert await workbench.run(each(f"tolerate: {template}", FAIL_THREES), {"given": [3, 1], "n": "50%"}) == [None, 1]
    rows = [("concurrency", 0), ("concurrency", "x"), ("concurrency", 201), ("concurrency", None), ("batch_size", -1)]
    rows += [("batch_size", 1.5), ("tolerate", "few"), ("tolerate", True)]
    errors = await asyncio.gather(
        *(workbench.failure(each(f"{key}: {template}"), {"given": 2, "n": n}) for key, n in rows)
    )
    for (key, n), error in zip(rows, errors, strict=True):
        assert (error["type"], error["step"]["path"]) == ("invalid_config", "each"), (key, n)
        assert f"`{key}`" in error["message"]


async def test_a_pass_knows_its_place_and_what_the_last_one_gave(workbench: Workbench) -> None:
    told = "'{{ [loop.index, loop.count, loop.first, loop.previous | default(\"nothing\"), loop.parent is defined] }}'"
    got = await workbench.run(
        each(body=f"- {{id: x, type: transform, config: {{value: {told}}}}}"), {"given": ["a", "b"]}
    )
    first = [0, 2, True, "nothing", False]
    assert got == [first, [1, 2, False, first, False]]


async def test_passes_that_may_overlap_have_no_previous_one(workbench: Workbench) -> None:
    body = "- {id: x, type: transform, config: {value: '{{ loop.previous is defined }}'}}"
    assert await workbench.run(each("concurrency: 2", body), {"given": 3}) == [False, False, False]


async def test_nested_loops_see_the_items_and_the_loop_around(workbench: Workbench) -> None:
    flow = """
    id: nested
    steps:
      - id: rows
        type: for-each
        config:
          items: [[1, 2], [3]]
          as: row
          steps:
            - {id: size, type: transform, config: {value: "{{ row | length }}"}}
            - id: cells
              type: for-each
              config:
                items: "{{ row }}"
                as: cell
                steps:
                  - id: at
                    type: transform
                    config: {value: "{{ [loop.parent.index, loop.index, cell, row | length, steps.size.output] }}"}
    """
    assert await workbench.run(flow) == [[[0, 0, 1, 2, 2], [0, 1, 2, 2, 2]], [[1, 0, 3, 1, 1]]]


async def test_a_loop_in_an_overlapping_loop_has_its_own_passes(workbench: Workbench) -> None:
    flow = """
    id: nested-wide
    steps:
      - id: rows
        type: for-each
        config:
          items: 3
          as: row
          concurrency: 3
          steps:
            - id: cells
              type: for-each
              config:
                items: "{{ row + 1 }}"
                concurrency: 2
                steps: [{id: at, type: function, config: {handler: echo, args: ["{{ [row, item] }}"]}}]
    """
    handle = await workbench.start(flow)
    assert await handle.result() == [[[0, 0]], [[1, 0], [1, 1]], [[2, 0], [2, 1], [2, 2]]]
    assert sorted(await scheduled(handle)) == [
        f"rows[{row}]/cells[{cell}]/at" for row in range(3) for cell in range(row + 1)
    ]


async def test_results_are_in_item_order_whatever_finishes_first(workbench: Workbench) -> None:
    body = (
        "- {id: nap, type: wait, config: {duration: '{{ item }}ms'}}\n"
        "        - {id: x, type: function, config: {handler: echo, args: ['{{ item }}']}}"
    )
    given = [600, 300, 1]
    assert await workbench.run(each("concurrency: 3", body), {"given": given}) == given
    assert workbench.calls() == ["echo 1", "echo 300", "echo 600"]


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (2, 2), (5, 5)])
async def test_no_more_passes_than_allowed_run_at_once(workbench: Workbench, concurrency: int, most: int) -> None:
    body = "- {id: x, type: function, config: {handler: slow, params: {seconds: 0.15}}}"
    await workbench.run(each(f"concurrency: {concurrency}", body), {"given": 5})
    open_now, seen = 0, 0
    for call in workbench.calls():
        open_now += 1 if call.startswith("start") else -1
        seen = max(seen, open_now)
    assert seen == most


TOLERANCES = {"2": True, "1": False, "20%": True, "19%": False, "all": True}
GIVEN = [1, 3, 4, 5, 6, 7, 8, 10, 11, 13]


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_as_many_failed_passes_as_written_are_tolerated(workbench: Workbench, concurrency: int) -> None:
    def flow(tolerate: str) -> str:
        options = f"tolerate: {tolerate}\n      concurrency: {concurrency}"
        return each(options, FAIL_THREES, "['{{ steps.each.output }}', '{{ steps.each.errors }}']")

    enough = [tolerate for tolerate, suffices in TOLERANCES.items() if suffices]
    for output, errors in await asyncio.gather(*(workbench.run(flow(one), {"given": GIVEN}) for one in enough)):
        assert output == [None if item in (3, 6) else item for item in GIVEN]
        told = [(one["index"], one["item"], one["error"]["message"]) for one in errors]
        assert told == [(1, 3, "no 3"), (4, 6, "no 6")]
        assert errors[0]["error"]["step"] == {"id": "bad", "type": "fail", "path": "each[1]/bad"}
    small = [tolerate for tolerate, suffices in TOLERANCES.items() if not suffices]
    for error in await asyncio.gather(*(workbench.failure(flow(one), {"given": GIVEN}) for one in small)):
        assert error["type"] == "three"
        assert error["step"]["path"] in ("each[1]/bad", "each[4]/bad")


async def test_nothing_is_tolerated_unless_written_and_nothing_begins_after_it(workbench: Workbench) -> None:
    body = FAIL_THREES.replace(
        "type: transform, config: {value: '{{ item }}'}",
        "type: function, config: {handler: echo, args: ['{{ item }}']}",
    )
    error = await workbench.failure(each("", body), {"given": [1, 2, 3, 4]})
    assert (error["type"], error["step"]["path"]) == ("three", "each[2]/bad")
    assert workbench.calls() == ["echo 1", "echo 2"]


async def test_the_errors_of_all_failed_passes_are_told_when_they_are_too_many(workbench: Workbench) -> None:
    error = await workbench.failure(each("tolerate: 1", FAIL_THREES), {"given": [3, 1, 6, 9]})
    assert [one["message"] for one in error["errors"]] == ["no 3", "no 6"]


async def test_a_tolerated_failure_is_a_warning_of_the_run(workbench: Workbench) -> None:
    handle = await workbench.start(each("tolerate: all", FAIL_THREES), {"given": [3]})
    assert await handle.result() == [None]
    [warning] = (await handle.query("state"))["warnings"]
    assert "item 0 of 'each' failed and was tolerated: three" in warning


async def test_steps_of_a_pass_are_gone_in_the_next(workbench: Workbench) -> None:
    body = (
        "- {id: once, type: transform, if: loop.first, config: {value: 1}}\n"
        "        - {id: seen, type: transform, config: {value: '{{ [steps.once.status, steps.once.output | default(0)] }}'}}"
    )
    assert await workbench.run(each("", body), {"given": 2}) == [["completed", 1], ["skipped", 0]]


async def test_a_finished_pass_takes_the_failed_passes_inside_it_along(workbench: Workbench) -> None:
    flow = """
    id: loops
    steps:
      - id: outer
        type: while
        config:
          max_iterations: 9
          while: "loop.count < 3"
          steps:
            - id: inner
              type: for-each
              config:
                items: 2
                tolerate: all
                steps: [{id: bad, type: fail, if: "item == 1", config: {type: boom, message: m}}]
    """
    handle = await workbench.start(flow)
    await handle.result()
    journal = await handle.query("journal")
    assert [path for path, _ in journal["records"]] == ["outer"]
    assert list(journal["folded"]) == ["outer"]


async def test_every_pass_has_its_own_path_and_idempotency_key(workbench: Workbench) -> None:
    body = "- {id: x, type: function, config: {handler: fail_times, params: {times: 0}}}"
    handle = await workbench.start(each("", body), {"given": 3})
    await handle.result()
    told = [call.split() for call in workbench.calls()]
    assert [one[1] for one in told] == ["each[0]/x", "each[1]/x", "each[2]/x"]
    assert len({one[3] for one in told}) == 3
    assert await scheduled(handle) == ["each[0]/x", "each[1]/x", "each[2]/x"]


async def test_a_loop_adds_no_activity_and_no_timer_of_its_own(workbench: Workbench) -> None:
    handle = await workbench.start(each(), {"given": 200})
    assert await handle.result() == list(range(200))
    assert {EventType.Name(event.event_type).split("_")[2] for event in await events(handle)} == {"WORKFLOW"}


async def test_items_from_vars_stay_as_they_were_when_the_loop_began(workbench: Workbench) -> None:
    flow = """
    id: snapshot
    vars: {left: [1, 2, 3]}
    steps:
      - id: each
        type: for-each
        config:
          items: "{{ vars.left }}"
          steps:
            - {id: cut, type: set, config: {left: []}}
            - {id: x, type: transform, config: {value: "{{ item }}"}}
    output: ["{{ steps.each.output }}", "{{ vars.left }}"]
    """
    assert await workbench.run(flow) == [[1, 2, 3], []]


async def test_an_empty_loop_is_completed_and_its_steps_are_nobodys(workbench: Workbench) -> None:
    handle = await workbench.start(each(output="['{{ steps.each.status }}', '{{ steps.each.errors }}']"), {"given": []})
    assert await handle.result() == ["completed", []]
    assert list((await handle.query("state"))["steps"]) == ["each"]


async def test_return_in_a_pass_ends_the_run(workbench: Workbench) -> None:
    body = (
        "- {id: out, type: return, if: item == 2, config: {output: 'at {{ loop.index }}'}}\n"
        "        - {id: x, type: function, config: {handler: echo, args: ['{{ item }}']}}"
    )
    assert await workbench.run(each("", body), {"given": [1, 2, 3]}) == "at 1"
    assert workbench.calls() == ["echo 1"]


async def test_an_until_that_cannot_be_evaluated_fails_the_loop_at_its_own_place(workbench: Workbench) -> None:
    error = await workbench.failure(each("until: item > 1"), {"given": ["a"]})
    assert (error["type"], error["step"]["path"]) == ("expression_error", "each")
