"""Retry policies and time limits at every level, and what handlers see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from tests.engine.harness import Workbench, failure_of, scheduled

ONE = """
id: one
steps:
  - id: a
    type: function
    retry: RETRY
    config: {handler: fail_times, params: {times: 99, retry_after: AFTER}}
"""

DELAYS: list[tuple[str, str, int, float]] = [
    # policy, retry-after, attempt that has failed, seconds until the next
    ("{backoff: fixed, initial_interval: 20s}", "null", 1, 20),
    ("{backoff: linear, initial_interval: 700ms}", "null", 2, 1.4),
    ("{backoff: exponential, initial_interval: 100ms, multiplier: 10}", "null", 2, 1),
    ("{backoff: exponential, initial_interval: 100ms, multiplier: 10, max_interval: 1500ms, max_attempts: 9}", "null", 3, 1.5),
    ("{initial_interval: 1h}", "null", 1, 60),
    ("{initial_interval: 1s}", "40", 1, 40),
    ("{initial_interval: 1s}", "3600", 1, 60),
    ("{initial_interval: 1s, max_interval: 2h}", "1800", 1, 1800),
]  # fmt: skip


async def _interval(handle: WorkflowHandle[Any, Any], attempt: int) -> float:
    """What Temporal waits after ``attempt`` has failed."""
    async with asyncio.timeout(30):
        while True:
            described = await handle.describe()
            for pending in described.raw_description.pending_activities:
                if pending.attempt == attempt + 1 and pending.HasField("current_retry_interval"):
                    # The server adds microseconds of its own.
                    return round(pending.current_retry_interval.ToTimedelta().total_seconds(), 2)
            await asyncio.sleep(0.02)


async def test_the_wait_before_the_next_attempt_follows_the_policy_and_the_other_sides_wish(
    workbench: Workbench,
) -> None:
    async def waited(policy: str, after: str, attempt: int) -> float:
        handle = await workbench.start(ONE.replace("RETRY", policy).replace("AFTER", after))
        seconds = await _interval(handle, attempt)
        await handle.terminate()
        return seconds

    got = await asyncio.gather(*(waited(policy, after, attempt) for policy, after, attempt, _ in DELAYS))
    assert {row[:3]: seconds for row, seconds in zip(DELAYS, got, strict=True)} == {row[:3]: row[3] for row in DELAYS}


async def test_jitter_varies_the_wait_within_its_bounds(workbench: Workbench) -> None:
    async def waited(kind: str) -> float:
        policy = f"{{backoff: fixed, initial_interval: 40s, jitter: {kind}}}"
        handle = await workbench.start(ONE.replace("RETRY", policy).replace("AFTER", "null"))
        seconds = await _interval(handle, 1)
        await handle.terminate()
        return seconds

    full = await asyncio.gather(*(waited("full") for _ in range(4)))
    tenth = await asyncio.gather(*(waited("0.1") for _ in range(4)))
    assert all(0 <= one <= 40 for one in full)
    assert all(36 <= one <= 44 for one in tenth)
    assert len(set(full)) > 1
    assert len(set(tenth)) > 1


async def test_no_attempt_begins_beyond_max_duration(workbench: Workbench) -> None:
    policy = "{max_attempts: 99, initial_interval: 2s, backoff: fixed, max_duration: 3s}"
    error = await workbench.failure(ONE.replace("RETRY", policy).replace("AFTER", "null"))
    assert (error["type"], error["attempts"]) == ("network_error", 2)
    assert len(workbench.calls()) == 2


LEVELS = """
id: levels
defaults: {retry: {max_attempts: 4, initial_interval: 10ms}}
steps:
  - id: flow-level
    type: function
    on_error: continue
    config: {handler: fail_times, params: {times: 99}}
  - id: outer
    type: block
    defaults: {retry: {max_attempts: 3}}
    config:
      steps:
        - id: block-level
          type: function
          on_error: continue
          config: {handler: fail_times, params: {times: 99}}
        - id: inner
          type: for-each
          defaults: {retry: {on: [odd]}}
          config:
            items: 1
            steps:
              - id: both
                type: function
                on_error: continue
                config: {handler: fail_times, params: {times: 99, type: odd, terminal: true}}
              - id: unnamed
                type: function
                on_error: continue
                config: {handler: fail_times, params: {times: 99}}
              - id: step-level
                type: function
                on_error: continue
                retry: {max_attempts: 2}
                config: {handler: fail_times, params: {times: 99, type: odd, terminal: true}}
              - id: off
                type: function
                on_error: continue
                retry: none
                config: {handler: fail_times, params: {times: 99, type: odd}}
"""


async def test_the_nearest_policy_wins_key_by_key(workbench: Workbench) -> None:
    await workbench.run(LEVELS)
    counted: dict[str, int] = {}
    for call in workbench.calls():
        name = call.split()[1].rpartition("/")[2]
        counted[name] = counted.get(name, 0) + 1
    assert counted == {"flow-level": 4, "block-level": 3, "both": 3, "unnamed": 1, "step-level": 2, "off": 1}


async def test_error_handling_retry_is_the_default_of_the_flow(workbench: Workbench) -> None:
    flow = """
    id: as-in-the-tour
    steps: [{id: a, type: function, config: {handler: fail_times, params: {times: 99, type: rate_limit_exceeded}}}]
    error_handling: {retry: {max_attempts: 2, initial_interval: 10ms, on: [network_error, rate_limit_exceeded]}}
    """
    assert (await workbench.failure(flow))["attempts"] == 2


# -- time limits --------------------------------------------------------------------------------------------------

SLEEPY = "{handler: slow, params: {seconds: 60}}"
LIMITS: list[tuple[str, str, str, str, str]] = [
    # what is limited, the flow, the type, the step, what the message says
    (
        "an attempt",
        f"[{{id: a, type: function, timeout: 300ms, retry: none, config: {SLEEPY}}}]",
        "timeout",
        "a",
        "0.3",
    ),
    (
        "all attempts",
        "[{id: a, type: function, timeout: {attempt: 300ms, total: 900ms}, "
        f"retry: {{max_attempts: 99, initial_interval: 10ms}}, config: {SLEEPY}}}]",
        "step_timeout",
        "a",
        "0.9",
    ),
    (
        "max_duration",
        f"[{{id: a, type: function, retry: {{max_duration: 700ms}}, config: {SLEEPY}}}]",
        "step_timeout",
        "a",
        "max_duration of 0.7",
    ),
    (
        "a block",
        f"[{{id: b, type: block, timeout: 700ms, config: {{steps: [{{id: a, type: function, config: {SLEEPY}}}]}}}}]",
        "step_timeout",
        "b",
        "0.7",
    ),
    (
        "the nearest block",
        "[{id: o, type: block, timeout: 30s, config: {steps: ["
        f"{{id: b, type: block, timeout: 700ms, config: {{steps: [{{id: a, type: function, config: {SLEEPY}}}]}}}}]}}}}]",
        "step_timeout",
        "b",
        "0.7",
    ),
    (
        "the defaults of a block",
        f"[{{id: b, type: block, defaults: {{timeout: 300ms, retry: none}}, config: {{steps: "
        f"[{{id: a, type: function, config: {SLEEPY}}}]}}}}]",
        "timeout",
        "a",
        "0.3",
    ),
]


@pytest.mark.parametrize(("steps", "kind", "step", "told"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
async def test_each_time_limit_says_that_it_was_the_one_that_fired(
    workbench: Workbench, steps: str, kind: str, step: str, told: str
) -> None:
    error = await workbench.failure(f"id: limits\nsteps: {steps}")
    assert (error["type"], error["step"]["id"]) == (kind, step)
    assert f"{told}s" in error["message"]
    starts = [call for call in workbench.calls() if call.startswith("start")]
    stops = [call for call in workbench.calls() if call.startswith("cancelled")]
    assert len(starts) == len(stops), "the step is over before it has stopped"


async def test_the_run_timeout_says_that_it_was_the_run(workbench: Workbench) -> None:
    error = await workbench.failure(f"id: limits\ntimeout: 800ms\nsteps: [{{id: a, type: function, config: {SLEEPY}}}]")
    assert error["type"] == "run_timeout"
    assert "0.8s" in error["message"]
    assert workbench.calls() == ["start a", "cancelled a"]


async def test_a_timeout_that_is_not_to_be_retried_is_not(workbench: Workbench) -> None:
    retry = "{max_attempts: 4, initial_interval: 10ms, on: [network_error]}"
    flow = f"id: once\nsteps: [{{id: a, type: function, timeout: 300ms, retry: {retry}, config: {SLEEPY}}}]"
    error = await workbench.failure(flow)
    assert (error["type"], error["attempts"]) == ("timeout", 1)
    assert workbench.calls() == ["start a", "cancelled a"]


# -- handlers -----------------------------------------------------------------------------------------------------

WRAPPED = """
id: wrapped
steps:
  - {id: w, on_error: HANDLER, TYPE}
  - {id: after, type: transform, config: {value: ["{{ steps.w.status }}", "{{ steps.w.error.type }}", "{{ steps.w.output | default(none) }}"]}}
"""
BOOM = "{id: boom, type: fail, config: {type: boom, message: m}}"
KINDS = {
    "block": f"{{type: block, config: {{steps: [{BOOM}]}}}}",
    "parallel": f"{{type: parallel, config: {{branches: [{BOOM}]}}}}",
    "condition": f"{{type: condition, config: {{if: 'true', then: [{BOOM}]}}}}",
    "switch": f"{{type: switch, config: {{cases: [{{if: 'true', steps: [{BOOM}]}}]}}}}",
    "for-each": f"{{type: for-each, config: {{items: 2, steps: [{BOOM}]}}}}",
    "while": f"{{type: while, config: {{while: 'true', max_iterations: 3, steps: [{BOOM}]}}}}",
    "try": f"{{type: try, config: {{steps: [{BOOM}], finally: [{{type: transform, config: {{value: 1}}}}]}}}}",
    "saga": f"{{type: saga, config: {{steps: [{BOOM}]}}}}",
    "fail": "{type: fail, config: {type: boom, message: m}}",
    "function": "{type: function, retry: none, config: {handler: fail_times, params: {times: 9, type: boom}}}",
}


async def test_every_step_can_go_on_after_a_failure_or_be_replaced(workbench: Workbench) -> None:
    plan_b = "[{id: plan-b, type: transform, config: {value: 'instead of {{ error.type }}'}}]"

    async def ended(kind: str, handler: str) -> Any:
        return await workbench.run(WRAPPED.replace("TYPE", KINDS[kind][1:-1]).replace("HANDLER", handler))

    going_on = await asyncio.gather(*(ended(kind, "continue") for kind in KINDS))
    replaced = await asyncio.gather(*(ended(kind, plan_b) for kind in KINDS))
    assert dict(zip(KINDS, going_on, strict=True)) == {kind: ["failed", "boom", None] for kind in KINDS}
    assert dict(zip(KINDS, replaced, strict=True)) == {kind: ["completed", "boom", "instead of boom"] for kind in KINDS}


async def test_a_handler_that_fails_fails_the_step_with_its_own_error(workbench: Workbench) -> None:
    handler = "[{id: worse, type: fail, config: {type: 'worse-than-{{ error.type }}', message: m}}]"
    handle = await workbench.start(WRAPPED.replace("TYPE", KINDS["fail"][1:-1]).replace("HANDLER", handler))
    error = await failure_of(handle)
    assert (error["type"], error["step"]["path"]) == ("worse-than-boom", "w#on_error/worse")
    state = await handle.query("state")
    assert state["steps"]["w"]["status"] == "failed"


async def test_what_was_handled_is_a_warning_of_the_run(workbench: Workbench) -> None:
    handle = await workbench.start(WRAPPED.replace("TYPE", KINDS["fail"][1:-1]).replace("HANDLER", "continue"))
    await handle.result()
    state = await handle.query("state")
    assert state["status"] == "completed"
    assert any("'w' failed" in warning for warning in state["warnings"])


ENDS = """
id: ends
steps:
  - {id: got, type: transform, config: {value: 7}}
  - {id: b, type: block, config: {steps: [{id: deep, type: transform, config: {value: 8}}, LAST]}}
error_handling:
  fallback:
    - {id: f1, type: function, config: {handler: echo, args: ["fallback {{ error.type }} {{ error.step.path }} {{ steps.got.output }} {{ steps.deep.output }}"]}}
    - FALLBACK
  finally:
    - {id: z1, type: function, config: {handler: echo, args: ["finally {{ 'well' if error is none else error.type }} {{ steps.got.output }}"]}}
    - FINALLY
"""
NOTHING = "{type: transform, config: {value: 1}}"


def ends(last: str, fallback: str = NOTHING, final: str = NOTHING) -> str:
    return ENDS.replace("LAST", last).replace("FALLBACK", fallback).replace("FINALLY", final)


@pytest.mark.parametrize(
    ("fallback", "final", "also"),
    [
        (NOTHING, NOTHING, []),
        ("{type: fail, config: {type: second, message: m}}", NOTHING, ["second"]),
        (NOTHING, "{type: fail, config: {type: third, message: m}}", ["third"]),
        (
            "{type: fail, config: {type: second, message: m}}",
            "{type: fail, config: {type: third, message: m}}",
            ["second", "third"],
        ),
        ("{type: return, config: {output: 1}}", "{type: return, config: {output: 2}}", []),
    ],
)
async def test_fallback_then_finally_see_the_error_and_none_hides_it(
    workbench: Workbench, fallback: str, final: str, also: list[str]
) -> None:
    error = await workbench.failure(ends(BOOM, fallback, final))
    assert (error["type"], error["step"]["path"]) == ("boom", "b/boom")
    assert [one["type"] for one in error.get("errors", [])] == also
    assert workbench.calls() == ["echo fallback boom b/boom 7 8", "echo finally boom 7"]


async def test_after_success_only_finally_runs_and_its_failure_fails_the_run(workbench: Workbench) -> None:
    assert await workbench.run(ends("{type: transform, config: {value: 9}}")) == 9
    error = await workbench.failure(ends(NOTHING, final=BOOM.replace("id: boom", "id: late")))
    assert error["type"] == "boom"
    assert workbench.calls() == ["echo finally well 7"] * 2


async def test_fallback_takes_a_step_with_its_config_inline(workbench: Workbench) -> None:
    flow = """
    id: inline
    steps: [{id: boom, type: fail, config: {type: boom, message: m}}]
    error_handling:
      fallback: [{type: function, handler: echo, args: ["{{ error.message }}"]}]
    """
    handle = await workbench.start(flow)
    await failure_of(handle)
    assert workbench.calls() == ["echo m"]
    assert await scheduled(handle) == ["#fallback/function-1"]
