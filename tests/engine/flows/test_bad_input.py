"""Values that come up at run time and cannot be used: each fails its step with a type and words that help, and no run
sticks."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError
from tests.engine.harness import Workbench, failure_of

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
