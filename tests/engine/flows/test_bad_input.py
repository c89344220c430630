"""Values that come up at run time and cannot be used: each fails its step with a type and words that help, and no run
sticks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.service import RPCError
from tests.engine.harness import Workbench, events, failure_of, open_workbench, scheduled, untroubled

STEPS: dict[str, str] = {
    "duration": "{id: a, type: wait, config: {duration: '{{ inputs.x }}'}}",
    "until": "{id: a, type: wait, config: {until: '{{ inputs.x }}'}}",
    "wait_for": "{id: a, type: parallel, config: {wait_for: inputs.x, branches: [{id: b, type: transform, config: {value: 1}}]}}",
    "items": "{id: a, type: for-each, config: {items: inputs.x, steps: [{id: b, type: transform, config: {value: 1}}]}}",
    "tolerate": "{id: a, type: for-each, config: {items: 2, tolerate: '{{ inputs.x }}', steps: [{id: b, type: fail, config: {message: m}}]}}",
    "interval": "{id: a, type: while, config: {while: loop.count < 2, max_iterations: 5, interval: '{{ inputs.x }}', steps: [{id: b, type: transform, config: {value: 1}}]}}",
    "while": "{id: a, type: while, config: {while: inputs.x, max_iterations: 5, steps: [{id: b, type: transform, config: {value: 1}}]}}",
    "loop until": "{id: a, type: while, config: {until: inputs.x, max_iterations: 5, steps: [{id: b, type: transform, config: {value: 1}}]}}",
    "each until": "{id: a, type: for-each, config: {items: 2, until: inputs.x, steps: [{id: b, type: transform, config: {value: 1}}]}}",
    "if": "{id: a, type: transform, if: inputs.x, config: {value: 1}}",
    "condition": "{id: a, type: condition, config: {if: inputs.x, then: [{id: b, type: transform, config: {value: 1}}]}}",
    "member": "{id: a, type: transform, config: {value: '{{ inputs.x.nothing }}'}}",
    "deadline": "{id: a, type: human-task, config: {assignee: k, deadline: '{{ inputs.x }}'}}",
    "assignee": "{id: a, type: human-task, config: {assignee: '{{ inputs.x }}'}}",
    "event": "{id: a, type: wait-for-event, config: {event: '{{ inputs.x }}', timeout: 1s}}",
    "correlate": "{id: a, type: wait-for-event, config: {event: e, correlate: '{{ inputs.x }}', timeout: 1s}}",
    "flow": "{id: a, type: flow, config: {flow: '{{ inputs.x }}'}}",
    "flow inputs": "{id: a, type: flow, config: {flow: other, inputs: '{{ inputs.x }}'}}",
    "steps": "{id: a, type: run-steps, config: {steps: '{{ inputs.x }}', allow: [transform]}}",
    "handler": "{id: a, type: function, retry: none, config: {handler: '{{ inputs.x }}', args: [1]}}",
    "args": "{id: a, type: function, retry: none, config: {handler: echo, args: '{{ inputs.x }}'}}",
    "queue": "{id: a, type: function, retry: none, config: {handler: echo, args: [1], task_queue: '{{ inputs.x }}'}}",
    "set": "{id: a, type: set, config: {v: '{{ inputs.x | int }}'}}",
}

CASES: list[tuple[str, Any, str, str]] = [
    ("duration", None, "invalid_config", "a duration"),
    ("duration", ["1s"], "invalid_config", "a duration"),
    ("duration", "soon", "invalid_config", "500ms, 30s"),
    ("duration", -1, "invalid_config", "zero or more"),
    ("duration", True, "invalid_config", "true or false"),
    ("duration", "99999999w", "invalid_config", "too long"),
    ("duration", 1e300, "invalid_config", "too long"),
    ("until", "tomorrow", "invalid_config", "tomorrow"),
    ("until", "2026-01-31T09:00:00", "invalid_config", "no time zone"),
    ("until", None, "invalid_config", "until"),
    ("until", {}, "invalid_config", "until"),
    ("wait_for", "two", "invalid_config", '"two"'),
    ("wait_for", None, "invalid_config", "all, any, majority or a number"),
    ("wait_for", True, "invalid_config", "all, any, majority or a number"),
    ("wait_for", 7, "invalid_config", "7 branches"),
    ("items", "text", "invalid_items", '"text"'),
    ("items", None, "invalid_items", "null"),
    ("items", -1, "invalid_items", "-1"),
    ("items", 1.5, "invalid_items", "1.5"),
    ("items", True, "invalid_items", "true"),
    ("items", 10_000_000, "invalid_items", "1000000"),
    ("tolerate", "lots", "invalid_config", "lots"),
    ("tolerate", None, "invalid_config", "tolerate"),
    ("tolerate", [], "invalid_config", "tolerate"),
    ("tolerate", "nan", "invalid_config", "nan"),
    ("tolerate", "nan%", "invalid_config", "nan%"),
    ("tolerate", "inf", "invalid_config", "inf"),
    ("tolerate", -1, "invalid_config", "-1"),
    ("tolerate", "500%", "invalid_config", "500%"),
    ("interval", "soon", "invalid_config", "interval"),
    ("interval", -1, "invalid_config", "interval"),
    ("interval", [], "invalid_config", "interval"),
    ("interval", 1e18, "invalid_config", "too long"),
    ("while", "yes", "expression_error", "true or false"),
    ("loop until", 1, "expression_error", "true or false"),
    ("each until", None, "expression_error", "true or false"),
    ("if", "yes", "expression_error", "true or false"),
    ("condition", 0, "expression_error", "true or false"),
    ("member", {"total": 7}, "expression_error", "total"),
    ("member", 7, "expression_error", "nothing"),
    ("deadline", "soon", "invalid_config", "deadline"),
    ("deadline", 1e300, "invalid_config", "too long"),
    ("assignee", None, "invalid_config", "assignee"),
    ("assignee", 7, "invalid_config", "assignee"),
    ("assignee", "a\0", "invalid_config", "NUL"),
    ("until", "9999-12-31T23:59:59Z", "invalid_config", "too late"),
    ("correlate", "text", "invalid_config", "correlate"),
    ("correlate", None, "invalid_config", "correlate"),
    ("interval", None, "invalid_config", "interval"),
    ("event", None, "invalid_config", "event"),
    ("event", 7, "invalid_config", "event"),
    ("event", [[]], "invalid_config", "event"),
    ("flow", None, "invalid_config", "flow"),
    ("flow", "no-such-flow", "not_found", "no-such-flow"),
    ("flow", {"a": 1}, "invalid_config", "flow"),
    ("flow inputs", "text", "invalid_config", "inputs"),
    ("steps", None, "invalid_steps", "list"),
    ("steps", "garbage", "invalid_steps", "list"),
    ("steps", [{"type": "http"}], "invalid_steps", "http"),
    ("steps", [None], "invalid_steps", ""),
    ("steps", [[[[]]]], "invalid_steps", ""),
    ("handler", None, "invalid_config", "handler"),
    ("handler", "", "invalid_config", "handler"),
    ("handler", "x" * 2000, "invalid_config", "handler"),
    ("args", "text", "invalid_config", "args"),
    ("args", None, "invalid_config", "args"),
    ("queue", 7, "invalid_config", "task_queue"),
    ("queue", "x" * 2000, "invalid_config", "task_queue"),
    ("set", "x", "expression_error", "int"),
]


def flow(step: str) -> str:
    return f"id: bad\ninputs: {{x: {{}}}}\nvars: {{v: 1}}\nsteps:\n  - {STEPS[step]}\n"


async def judged(bench: Workbench, case: tuple[str, Any, str, str]) -> str | None:
    """What is wrong with how a case fails, or None."""
    step, value, kind, words = case
    handle = await bench.start(flow(step), {"x": value})
    try:
        error = await asyncio.wait_for(failure_of(handle), 20)
    except (TimeoutError, AssertionError, WorkflowFailureError) as wrong:
        with contextlib.suppress(RPCError):
            await handle.terminate()
        return f"{step} = {value!r:.50}: {type(wrong).__name__} {wrong!s:.300}"
    told = {"type": error["type"], "path": error.get("step", {}).get("path"), "source": error.get("source")}
    fits = told["type"] == kind and words in error["message"] and str(told["source"]).startswith("flow.yaml:5:")
    return None if fits else f"{step} = {value!r:.50}: {told} {error['message'][:200]}"


async def test_what_a_step_cannot_use_fails_it_with_a_type_a_place_and_words(workbench: Workbench) -> None:
    room = asyncio.Semaphore(20)

    async def one(case: tuple[str, Any, str, str]) -> str | None:
        async with room:
            return await judged(workbench, case)

    wrong = [found for found in await asyncio.gather(*(one(case) for case in CASES)) if found]
    assert not wrong, "\n".join(wrong)


# -- sizes ------------------------------------------------------------------------------------------------------

LARGE = "{a: '{{ inputs.x }}', b: '{{ inputs.x }}', c: '{{ inputs.x }}'}"
EACH = f"{{id: each, type: for-each, config: {{items: 4, steps: [{{id: a, type: transform, config: {{value: {LARGE}}}}}]}}}}"
SIZES: dict[str, tuple[str, str]] = {
    "output of the last step": (f"steps: [{EACH}]", "output"),
    "config of a step": (
        f"steps: [{{id: a, type: function, config: {{handler: echo, args: [{LARGE}]}}}}]",
        "one step can take",
    ),
}


@pytest.fixture
async def small(temporal: Client, tmp_path: Path) -> AsyncIterator[Workbench]:
    """Without storage: a value may have what Temporal carries, 1.9 MB."""
    async with open_workbench(temporal, tmp_path, payloads="none") as bench:
        yield bench


@pytest.mark.parametrize("place", SIZES)
async def test_what_temporal_cannot_carry_fails_the_run_in_words(small: Workbench, place: str) -> None:
    text, words = SIZES[place]
    handle = await small.start(f"id: large\ninputs: {{x: string}}\n{text}", {"x": "x" * 640_000})
    error = await asyncio.wait_for(failure_of(handle), 30)
    assert error["type"] == "payload_too_large"
    assert words in error["message"] and "1900000" in error["message"]


@pytest.mark.parametrize("storage", ["none", None])
@pytest.mark.parametrize("where", ["data", "message", "errors"])
async def test_an_error_that_carries_too_much_is_cut_and_still_ends_the_run(
    temporal: Client, tmp_path: Path, storage: str | None, where: str
) -> None:
    value = LARGE if where == "data" else "'{{ inputs.x }}'"
    text = f"""
    id: loud
    inputs: {{x: string}}
    steps:
      - {{id: a, type: fail, config: {{type: loud, message: "m", {where}: {value}}}}}
    """.replace('message: "m", message', "message")
    if where == "errors":
        fails = ", ".join(
            f"{{id: f{n}, type: fail, config: {{type: loud, message: m, data: {LARGE}}}}}" for n in range(12)
        )
        text = f"""
        id: chorus
        inputs: {{x: string}}
        steps: [{{id: all, type: parallel, config: {{on_failure: finish_all, branches: [{fails}]}}}}]
        """
    settings: dict[str, Any] = {} if storage is None else {"payloads": storage}
    async with open_workbench(temporal, tmp_path, **settings) as bench:
        handle = await bench.start(text, {"x": "x" * 640_000})
        assert (await asyncio.wait_for(failure_of(handle), 30))["type"] == "loud"


async def test_a_message_of_a_hostile_form_is_judged_at_once(workbench: Workbench) -> None:
    """With a backtracking engine forty characters take minutes, and the run sticks for ever."""
    text = """
    id: hostile
    inputs: {pattern: string}
    steps:
      - id: ask
        type: human-task
        config:
          assignee: x
          form:
            type: object
            properties: {name: {type: string, pattern: "{{ inputs.pattern }}"}}
            patternProperties: {"^(a+)+$": {type: integer}}
    """
    handle = await workbench.start(text, {"pattern": "^([a-z]+)+$"})
    await workbench.waiting(handle, "ask")
    hostile = {"name": "a" * 200 + "!", "a" * 200 + "!": 1}
    await handle.signal("ask", {"decision": "approve", "data": hostile})
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("ask", {"decision": "approve", "data": hostile})
    await handle.signal("ask", {"decision": "approve", "data": {"name": "kim"}})
    assert (await asyncio.wait_for(handle.result(), 30))["data"] == {"name": "kim"}
    await untroubled(handle)


async def test_a_pattern_that_cannot_be_matched_in_bounded_time_is_refused(workbench: Workbench) -> None:
    text = """
    id: look-around
    inputs: {pattern: string}
    steps:
      - {id: ask, type: human-task, config: {assignee: x, form: {type: object, properties: {a: {pattern: "{{ inputs.pattern }}"}}}}}
    """
    error = await workbench.failure(text, {"pattern": "(?=a)b"})
    assert error["type"] == "invalid_config"
    assert "look-around and backreferences are not available" in error["message"]


# -- words ------------------------------------------------------------------------------------------------------


async def test_an_expression_error_names_its_place_and_what_it_saw(workbench: Workbench) -> None:
    text = """
    id: words
    inputs: {order: object}
    steps:
      - id: sum
        type: transform
        config: {value: "{{ inputs.order.total + 1 }}"}
    """
    error = await workbench.failure(text, {"order": {"total": "twelve", "currency": "EUR"}})
    assert (error["type"], error["source"], error["step"]["path"]) == ("expression_error", "flow.yaml:5:5", "sum")
    for word in ("inputs.order.total", "twelve", "character"):
        assert word in error["message"], error["message"]
    error = await workbench.failure(text, {"order": {"amount": 7, "currency": "EUR"}})
    for word in ("total", "amount", "currency"):
        assert word in error["message"], error["message"]


async def test_a_queue_that_nobody_serves_is_given_up_after_an_hour(workbench: Workbench) -> None:
    """How that fails is in test_failures; the time-skipping server does not skip over an activity that waits."""
    handle = await workbench.start(
        "id: nobody\nsteps: [{id: a, type: function, config: {handler: score, task_queue: ml, args: [1]}}]"
    )
    while not await scheduled(handle):
        await asyncio.sleep(0.05)
    found = [e for e in await events(handle) if e.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]
    limit = found[0].activity_task_scheduled_event_attributes.schedule_to_close_timeout
    assert limit.ToSeconds() == 3600
    await handle.terminate()


async def test_large_vars_do_not_hide_the_state_of_a_run(workbench: Workbench) -> None:
    sets = "\n".join(f"      - {{id: s{n}, type: set, config: {{v{n}: {LARGE}}}}}" for n in range(4))
    text = f"""
    id: vars
    inputs: {{x: string}}
    vars: {{v0: "", v1: "", v2: "", v3: "", small: 7}}
    steps:
{sets}
      - {{id: ask, type: human-task, config: {{assignee: x}}}}
    """
    handle = await workbench.start(text, {"x": "x" * 640_000})
    state = await workbench.waiting(handle, "ask")
    assert state["vars"]["small"] == 7
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
