"""Retries, timeouts, handlers: what a failure does to a step and to the run."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.harness import Workbench


def failing(params: str, retry: str = "{max_attempts: 3, initial_interval: 10ms}", more: str = "") -> str:
    return f"""
id: failing
steps:
  - id: try-it
    type: function
    retry: {retry}
    {more}
    config: {{handler: fail_times, params: {params}}}
"""


async def test_a_retryable_error_is_tried_again_and_attempts_are_recorded(workbench: Workbench) -> None:
    handle = await workbench.start(failing("{times: 2}"))
    assert await handle.result() == {"attempt": 3}
    state = await handle.query("state")
    assert state["steps"]["try-it"]["attempts"] == 3


async def test_the_idempotency_key_is_the_same_for_every_attempt(workbench: Workbench) -> None:
    await workbench.run(failing("{times: 2}"))
    keys = [call.split()[-1] for call in workbench.calls()]
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("params", "retry", "attempts"),
    [
        ("{times: 9}", "{max_attempts: 3, initial_interval: 10ms}", 3),
        ("{times: 9, terminal: true}", "{max_attempts: 3, initial_interval: 10ms}", 1),
        (
            "{times: 9, terminal: true, type: http_409, status: 409}",
            "{max_attempts: 2, initial_interval: 10ms, on: [http_409]}",
            2,
        ),
        ("{times: 9, type: flaky}", "{max_attempts: 3, initial_interval: 10ms, not_on: [flaky]}", 1),
        (
            "{times: 9, type: http_503, status: 503}",
            "{max_attempts: 2, initial_interval: 10ms, on: [http_5xx]}",
            2,
        ),
        ("{times: 9}", "none", 1),
        ("{times: 9, retry_after: 3600}", "{max_attempts: 2, initial_interval: 10ms, max_interval: 20ms}", 2),
    ],
)
async def test_attempts_follow_the_policy(workbench: Workbench, params: str, retry: str, attempts: int) -> None:
    error = await workbench.failure(failing(params, retry))
    assert error["attempts"] == attempts
    assert len(workbench.calls()) == attempts
    assert error["step"]["path"] == "try-it"
    assert error["source"].startswith("flow.yaml:4")


async def test_a_wait_beyond_the_total_time_ends_the_step_at_once_with_the_original_error(
    workbench: Workbench,
) -> None:
    more = "timeout: {attempt: 5s, total: 10s}"
    error = await workbench.failure(
        failing("{times: 9, retry_after: 3600}", "{max_attempts: 5, max_interval: 2h}", more)
    )
    assert (error["type"], error["attempts"]) == ("network_error", 1)


async def test_an_attempt_timeout_is_counted_as_written(workbench: Workbench) -> None:
    flow = """
    id: attempt-timeout
    steps:
      - id: hang
        type: function
        timeout: 200ms
        retry: {max_attempts: 2, initial_interval: 10ms}
        config: {handler: slow, params: {seconds: 30}}
    """
    error = await workbench.failure(flow)
    assert (error["type"], error["attempts"]) == ("timeout", 2)
    assert workbench.calls() == ["start hang", "cancelled hang"] * 2


async def test_a_queue_without_workers_fails_instead_of_hanging(workbench: Workbench) -> None:
    flow = """
    id: nobody
    steps:
      - {id: lost, type: function, timeout: {total: 1s}, config: {handler: anything, task_queue: no-such-queue}}
    """
    error = await workbench.failure(flow)
    assert error["type"] == "step_timeout"
    assert "worker" in error["message"]


async def test_a_control_steps_timeout_bounds_the_whole_block(workbench: Workbench) -> None:
    flow = """
    id: block-timeout
    steps:
      - id: b
        type: block
        timeout: 300ms
        config: {steps: [{id: hang, type: function, config: {handler: slow, params: {seconds: 30}}}]}
    """
    error = await workbench.failure(flow)
    assert (error["type"], error["step"]["id"]) == ("step_timeout", "b")
    assert workbench.calls() == ["start b/hang", "cancelled b/hang"]


async def test_an_unknown_function_fails_once_and_names_the_nearest(workbench: Workbench) -> None:
    error = await workbench.failure("id: unknown\nsteps: [{id: a, type: function, config: {handler: ecko, args: [1]}}]")
    assert error["type"] == "unknown_function"
    assert "'echo'" in error["message"]
    assert error["attempts"] == 1


async def test_a_bug_in_user_code_is_named_and_retried(workbench: Workbench) -> None:
    flow = """
    id: bug
    steps: [{id: a, type: function, retry: {max_attempts: 2, initial_interval: 10ms}, config: {handler: broken, args: [1]}}]
    """
    error = await workbench.failure(flow)
    assert (error["type"], error["message"], error["attempts"]) == ("ValueError", "a bug in user code", 2)


ON_ERROR: list[tuple[str, Any]] = [
    ("on_error: continue", ["failed", None]),
    ("on_error: [{id: plan-b, type: transform, config: {value: '{{ error.type }}'}}]", ["completed", "boom"]),
]


@pytest.mark.parametrize(("handler", "expected"), ON_ERROR)
async def test_on_error_decides_what_a_failure_becomes(workbench: Workbench, handler: str, expected: list[Any]) -> None:
    flow = f"""
id: handled
steps:
  - id: a
    type: fail
    {handler}
    config: {{type: boom, message: m}}
output: ["{{{{ steps.a.status }}}}", "{{{{ steps.a.output | default(none) }}}}"]
"""
    assert await workbench.run(flow) == expected


async def test_fallback_and_finally_run_and_do_not_hide_the_error(workbench: Workbench) -> None:
    flow = """
    id: fallbacks
    steps: [{id: a, type: fail, config: {type: boom, message: m}}]
    error_handling:
      fallback: [{id: tell, type: function, config: {handler: echo, args: ["{{ error.type }}"]}}]
      finally: [{id: clean, type: function, config: {handler: echo, args: [cleaned]}}]
    """
    assert (await workbench.failure(flow))["type"] == "boom"
    assert workbench.calls() == ["echo boom", "echo cleaned"]


async def test_finally_runs_after_success_too(workbench: Workbench) -> None:
    flow = """
    id: after-success
    steps: [{id: a, type: transform, config: {value: 1}}]
    error_handling: {finally: [{id: clean, type: function, config: {handler: echo, args: [cleaned]}}]}
    """
    assert await workbench.run(flow) == 1
    assert workbench.calls() == ["echo cleaned"]


async def test_output_that_misses_its_schema_is_invalid_output(workbench: Workbench) -> None:
    flow = """
    id: schema
    steps:
      - id: a
        type: function
        retry: none
        output_schema: {type: object, required: [score]}
        config: {handler: echo, params: {text: no score}}
    """
    error = await workbench.failure(flow)
    assert error["type"] == "invalid_output"
    assert "score" in error["message"]


@pytest.mark.parametrize("handler", ["continue", "[{id: b, type: transform, config: {value: plan b}}]"])
async def test_an_if_that_cannot_be_evaluated_is_a_failure_of_its_step(workbench: Workbench, handler: str) -> None:
    flow = f"""
id: bad-if
inputs: {{n: {{}}}}
steps:
  - {{id: a, type: transform, if: "inputs.n > 3", on_error: {handler}, config: {{value: 1}}}}
output: ["{{{{ steps.a.status }}}}", "{{{{ steps.a.error.type }}}}", "{{{{ steps.a.output | default(none) }}}}"]
"""
    expected = (
        ["failed", "expression_error", None] if handler == "continue" else ["completed", "expression_error", "plan b"]
    )
    assert await workbench.run(flow, {"n": "x"}) == expected
