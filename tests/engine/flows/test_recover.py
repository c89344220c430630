"""``try``: which catch takes an error, what it sees, when the body runs again, and that ``finally`` always runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from tests.engine.harness import Workbench, events, failure_of, scheduled

TRY = """
id: recover
inputs: {type: {default: x}, status: {default: null}}
steps:
  - id: t
    type: try
    OPTIONS
    config:
      steps:
        - {id: before, type: transform, config: {value: kept}}
        - id: bad
          type: function
          retry: none
          config:
            handler: fail_times
            params: {times: 99, type: "{{ inputs.type }}", status: "{{ inputs.status }}", terminal: TERMINAL}
      REST
output: ["{{ steps.t.output }}", "{{ steps.t.status }}"]
"""


def attempted(rest: str, options: str = "", terminal: str = "true") -> str:
    return TRY.replace("REST", rest).replace("OPTIONS", options).replace("TERMINAL", terminal)


ORDER = """catch:
        - {on: [alpha, beta], steps: [{id: c0, type: transform, config: {value: named}}]}
        - {on: [http_404], steps: [{id: c1, type: transform, config: {value: not-found}}]}
        - {on: [http_4xx], steps: [{id: c2, type: transform, config: {value: client}}]}
        - {on: [http_5xx], steps: [{id: c3, type: transform, config: {value: server}}]}
        - {on: [retryable], steps: [{id: c4, type: transform, config: {value: retryable}}]}
        - {steps: [{id: c5, type: transform, config: {value: rest}}]}"""


TAKEN: list[tuple[str, int | None, str, str]] = [
    ("alpha", None, "true", "named"),
    ("beta", 404, "true", "named"),
    ("gamma", 404, "true", "not-found"),
    ("http_404", 404, "true", "not-found"),
    ("out_of_stock", 409, "true", "client"),
    ("http_500", 500, "true", "server"),
    ("network_error", None, "false", "retryable"),
    ("network_error", None, "true", "rest"),
]


async def test_the_first_catch_that_names_the_error_takes_it(workbench: Workbench) -> None:
    async def taken(kind: str, status: int | None, terminal: str) -> tuple[Any, list[str], str]:
        handle = await workbench.start(attempted(ORDER, terminal=terminal), {"type": kind, "status": status})
        output = await handle.result()
        steps = (await handle.query("state"))["steps"]
        catches = sorted(record["status"] for path, record in steps.items() if "/catch[" in path)
        return output, catches, steps["t/bad"]["status"]

    got = await asyncio.gather(*(taken(*row[:3]) for row in TAKEN))
    for row, ended in zip(TAKEN, got, strict=True):
        assert ended == ([row[3], "completed"], ["completed"] + ["skipped"] * 5, "failed"), row


async def test_an_error_that_no_catch_names_fails_the_try_as_it_is(workbench: Workbench) -> None:
    flow = attempted("catch: [{on: [other, http_5xx], steps: [{id: c, type: transform, config: {value: 1}}]}]")
    error = await workbench.failure(flow, {"type": "alpha", "status": 404})
    assert (error["type"], error["status"], error["step"]["path"]) == ("alpha", 404, "t/bad")


async def test_a_catch_sees_the_error_and_what_the_body_did(workbench: Workbench) -> None:
    flow = attempted(
        "catch: [{steps: [{id: c, type: transform, config: {value: "
        "['{{ error.type }}', '{{ error.message }}', '{{ error.status }}', '{{ error.step.path }}', "
        "'{{ error.attempts }}', '{{ error.retryable }}', '{{ error.source }}', '{{ steps.before.output }}', "
        "'{{ steps.bad.status }}']}}]}]"
    )
    [told, _] = await workbench.run(flow, {"type": "alpha", "status": 404})
    assert told[:6] == ["alpha", "told to fail", 404, "t/bad", 1, False]
    assert told[6].startswith("flow.yaml:")
    assert told[7:] == ["kept", "failed"]


async def test_a_body_that_completes_skips_every_catch(workbench: Workbench) -> None:
    flow = """
    id: fine
    steps:
      - id: t
        type: try
        config:
          steps: [{id: ok, type: transform, config: {value: 1}}]
          catch: [{steps: [{id: c, type: transform, config: {value: 2}}]}]
    output: ["{{ steps.t.output }}", "{{ steps.c.status }}"]
    """
    assert await workbench.run(flow) == [1, "skipped"]


async def test_a_failure_in_a_catch_is_the_failure_of_the_try(workbench: Workbench) -> None:
    flow = attempted(
        "catch: [{steps: [{id: c, type: fail, config: {type: 'was-{{ error.type }}', message: m}}]}]\n"
        "      finally: [{id: f, type: function, config: {handler: echo, args: ['{{ error.type }}']}}]"
    )
    error = await workbench.failure(flow, {"type": "alpha"})
    assert (error["type"], error["step"]["path"]) == ("was-alpha", "t/catch[0]/c")
    assert (error["cause"]["type"], error["cause"]["step"]["path"]) == ("alpha", "t/bad")
    assert workbench.calls()[1:] == ["echo was-alpha"]


async def test_a_failure_in_on_error_steps_tells_the_failure_it_was_to_handle(workbench: Workbench) -> None:
    flow = """
    id: recover
    steps:
      - id: a
        type: fail
        config: {type: first, message: m}
        on_error: [{id: h, type: fail, config: {type: second, message: m}}]
    """
    error = await workbench.failure(flow)
    assert (error["type"], error["cause"]["type"]) == ("second", "first")


async def test_what_was_caught_is_a_warning_of_the_run(workbench: Workbench) -> None:
    handle = await workbench.start(attempted("catch: [{steps: [{id: c, type: transform, config: {value: 1}}]}]"))
    await handle.result()
    assert (await handle.query("state"))["warnings"] == ["a failure in 't' was caught: x"]


@pytest.mark.parametrize("kind", ["cancelled", "run_timeout"])
async def test_what_a_step_calls_like_an_end_of_the_run_is_a_failure_like_any_other(
    workbench: Workbench, kind: str
) -> None:
    named = f"{{type: fail, config: {{type: {kind}, message: the customer did not want the order any more}}}}"
    fallback = "error_handling: {fallback: [{type: function, config: {handler: echo, args: [fallback]}}]}"
    handle = await workbench.start(f"id: f\nsteps: [{named}]\n{fallback}")
    assert (await failure_of(handle))["type"] == kind
    assert (await handle.query("state"))["status"] == "failed"
    assert workbench.calls() == ["echo fallback"]
    caught = (
        f"{{type: try, config: {{steps: [{named}], catch: [{{steps: [{{type: transform, config: {{value: 1}}}}]}}]}}}}"
    )
    assert await workbench.run(f"id: f\nsteps: [{caught}]") == 1


async def test_an_inner_try_catches_first_and_what_it_lets_through_comes_outside(workbench: Workbench) -> None:
    flow = """
    id: inner
    inputs: {type: string}
    steps:
      - id: outer
        type: try
        config:
          steps:
            - id: inner
              type: try
              config:
                steps: [{id: bad, type: fail, config: {type: "{{ inputs.type }}", message: m}}]
                catch: [{on: [alpha], steps: [{id: c1, type: transform, config: {value: inside}}]}]
          catch: [{on: [beta], steps: [{id: c2, type: transform, config: {value: outside}}]}]
    """
    assert await workbench.run(flow, {"type": "alpha"}) == "inside"
    assert await workbench.run(flow, {"type": "beta"}) == "outside"
    assert (await workbench.failure(flow, {"type": "gamma"}))["type"] == "gamma"


async def test_the_timeout_of_a_step_inside_can_be_caught(workbench: Workbench) -> None:
    flow = """
    id: late
    steps:
      - id: t
        type: try
        config:
          steps:
            - id: b
              type: block
              timeout: 300ms
              config: {steps: [{id: nap, type: wait, config: {duration: 1h}}]}
          catch: [{on: [step_timeout], steps: [{id: c, type: transform, config: {value: "{{ error.step.id }}"}}]}]
    """
    assert await workbench.run(flow) == "b"


async def test_the_timeout_of_the_try_itself_stops_it_runs_finally_and_is_not_its_own_to_catch(
    workbench: Workbench,
) -> None:
    flow = """
    id: own-timeout
    steps:
      - id: t
        type: try
        timeout: 500ms
        config:
          steps: [{id: hang, type: function, config: {handler: slow, params: {seconds: 60}}}]
          catch: [{steps: [{id: c, type: function, config: {handler: echo, args: [caught]}}]}]
          finally: [{id: f, type: function, config: {handler: echo, args: [finally]}}]
    """
    error = await workbench.failure(flow)
    assert (error["type"], error["step"]["id"]) == ("step_timeout", "t")
    assert workbench.calls() == ["start t/hang", "cancelled t/hang", "echo finally"]


# -- the body again ---------------------------------------------------------------------------------------------

AGAIN = """
id: again
vars: {n: 0}
steps:
  - id: t
    type: try
    config:
      steps:
        - {id: first, type: function, config: {handler: fail_times, params: {times: 0}}}
        - {id: up, type: set, config: {n: "{{ vars.n + 1 }}"}}
        - id: second
          type: function
          retry: none
          config: {handler: fail_times, params: {times: "{{ 9 if vars.n < 3 else 0 }}", type: TYPE, terminal: TERMINAL}}
        - {id: third, type: function, config: {handler: echo, args: ["{{ vars.n }}"]}}
      retry: RETRY
"""


def again(retry: str, kind: str = "network_error", terminal: str = "false") -> str:
    return AGAIN.replace("RETRY", retry).replace("TYPE", kind).replace("TERMINAL", terminal)


async def test_the_body_runs_again_with_new_keys_for_what_had_completed_and_the_old_key_for_what_failed(
    workbench: Workbench,
) -> None:
    handle = await workbench.start(again("{max_attempts: 3, initial_interval: 10ms}"))
    assert await handle.result() == 3
    calls = [call.split() for call in workbench.calls()[:-1]]
    assert [call[1] for call in calls] == ["t/first", "t/second"] * 3
    first = [call[3] for call in calls if call[1] == "t/first"]
    second = [call[3] for call in calls if call[1] == "t/second"]
    assert len(set(first)) == 3
    assert len(set(second)) == 1
    assert [key.rpartition("#")[2] for key in first[1:]] == ["2", "3"]
    assert workbench.calls()[-1] == "echo 3"


@pytest.mark.parametrize(
    ("retry", "kind", "terminal", "bodies"),
    [
        ("{max_attempts: 2, initial_interval: 10ms}", "network_error", "false", 2),
        ("{max_attempts: 5, initial_interval: 10ms}", "network_error", "true", 1),
        ("{max_attempts: 5, initial_interval: 10ms, on: [alpha]}", "alpha", "true", 3),
        ("{max_attempts: 5, initial_interval: 10ms, on: [alpha]}", "beta", "false", 1),
        ("{max_attempts: 5, initial_interval: 10ms, on: ['*'], not_on: [beta]}", "beta", "false", 1),
        ("none", "network_error", "false", 1),
    ],
)
async def test_the_body_runs_as_often_as_the_policy_says(
    workbench: Workbench, retry: str, kind: str, terminal: str, bodies: int
) -> None:
    handle = await workbench.start(again(retry, kind, terminal))
    if bodies == 3:
        await handle.result()
    else:
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert sum("t/first" in call for call in workbench.calls()) == bodies


WAITS: list[tuple[str, list[int]]] = [
    ("{max_attempts: 3, initial_interval: 1h, backoff: fixed, max_interval: 9h}", [3600, 3600]),
    ("{max_attempts: 3, initial_interval: 1h, backoff: linear, max_interval: 9h}", [3600, 7200]),
    ("{max_attempts: 3, initial_interval: 1h, multiplier: 3, max_interval: 9h}", [3600, 10800]),
    ("{max_attempts: 3, initial_interval: 1h, max_interval: 90m}", [3600, 5400]),
]


async def test_the_waits_between_bodies_follow_the_policy(skipping: Workbench) -> None:
    # One after the other: the clock of this server is one for all its runs.
    for retry, waits in WAITS:
        handle = await skipping.start(again(retry))
        assert await handle.result() == 3
        assert await _timers(handle) == waits, retry


async def test_jitter_shortens_the_wait_by_a_share_of_it(skipping: Workbench) -> None:
    policy = "{max_attempts: 3, initial_interval: 1h, backoff: fixed, max_interval: 9h, jitter: KIND}"
    full = await skipping.start(again(policy.replace("KIND", "full")))
    await full.result()
    tenth = await skipping.start(again(policy.replace("KIND", "0.1")))
    await tenth.result()
    assert all(0 <= wait <= 3600 for wait in await _timers(full))
    for wait in await _timers(tenth):
        assert 3240 <= wait <= 3960
        assert wait != 3600


async def test_no_body_begins_beyond_max_duration(skipping: Workbench) -> None:
    policy = "{max_attempts: 9, initial_interval: 1h, backoff: fixed, max_interval: 9h, max_duration: 90m}"
    error = await skipping.failure(again(policy))
    assert error["type"] == "network_error"
    assert sum("t/first" in call for call in skipping.calls()) == 2


async def _timers(handle: Any) -> list[float]:
    started = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds()
        for event in await events(handle)
        if event.HasField("timer_started_event_attributes")
    ]
    return [round(seconds) for seconds in started if seconds > 1]


async def test_the_catch_comes_after_the_last_body(workbench: Workbench) -> None:
    flow = again("{max_attempts: 2, initial_interval: 10ms}") + (
        "      catch: [{steps: [{id: c, type: function, config: {handler: echo, args: [caught]}}]}]\n"
    )
    assert await workbench.run(flow) == "caught"
    assert [call.split()[1] for call in workbench.calls()] == ["t/first", "t/second"] * 2 + ["caught"]


# -- finally ----------------------------------------------------------------------------------------------------

FINALLY = """
id: at-last
steps:
  - id: t
    type: try
    config:
      steps: [BODY]
      CATCH
      finally:
        - {id: f, type: function, config: {handler: echo, args: ["finally {{ 'well' if error is none else error.type }}"]}}
  - {id: after, type: function, config: {handler: echo, args: [after]}}
output: "{{ steps.t.output }}"
"""
BOOM = "{id: a, type: fail, config: {type: boom, message: m}}"
FINE = "{id: a, type: transform, config: {value: fine}}"
CATCH = "catch: [{steps: [{id: c, type: transform, config: {value: caught}}]}]"
OUT = "{id: a, type: return, config: {output: out}}"


@pytest.mark.parametrize(
    ("body", "catch", "output", "calls"),
    [
        (FINE, "", "fine", ["finally well", "after"]),
        (BOOM, CATCH, "caught", ["finally well", "after"]),
        (OUT, CATCH, "out", ["finally well"]),
        (
            BOOM,
            CATCH.replace("type: transform, config: {value: caught}", "type: return, config: {output: left}"),
            "left",
            ["finally well"],
        ),
    ],
)
async def test_finally_runs_after_success_catch_and_return(
    workbench: Workbench, body: str, catch: str, output: str, calls: list[str]
) -> None:
    assert await workbench.run(FINALLY.replace("BODY", body).replace("CATCH", catch)) == output
    assert workbench.calls() == [f"echo {call}" for call in calls]


async def test_finally_sees_the_error_and_does_not_hide_it(workbench: Workbench) -> None:
    error = await workbench.failure(FINALLY.replace("BODY", BOOM).replace("CATCH", ""))
    assert error["type"] == "boom"
    assert workbench.calls() == ["echo finally boom"]


@pytest.mark.parametrize(("body", "kind", "also"), [(BOOM, "boom", ["second"]), (FINE, "second", [])])
async def test_a_failure_in_finally_stands_beside_the_first_or_alone(
    workbench: Workbench, body: str, kind: str, also: list[str]
) -> None:
    flow = FINALLY.replace("BODY", body).replace("CATCH", "")
    flow = flow.replace("- {id: f, ", "- {id: g, type: fail, config: {type: second, message: m}}\n        - {id: f, ")
    error = await workbench.failure(flow)
    assert error["type"] == kind
    assert [one["type"] for one in error.get("errors", [])] == also


async def test_a_cancel_is_not_caught_but_finally_runs(workbench: Workbench) -> None:
    body = "{id: a, type: function, config: {handler: slow, params: {seconds: 60}}}"
    caught = "catch: [{on: ['*'], steps: [{id: c, type: function, config: {handler: echo, args: [caught]}}]}]"
    handle = await workbench.start(FINALLY.replace("BODY", body).replace("CATCH", caught))
    while not workbench.calls():
        await asyncio.sleep(0.05)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert [call.split()[:2] for call in workbench.calls()] == [
        ["start", "t/a"],
        ["cancelled", "t/a"],
        ["echo", "finally"],
    ]


@pytest.mark.parametrize("last", [BOOM, "{id: r, type: return, config: {output: 1}}"])
async def test_nothing_in_finally_turns_a_cancel_into_another_end(workbench: Workbench, last: str) -> None:
    nap = "{id: nap, type: wait, config: {duration: 1h}}"
    handle = await workbench.start(
        f"id: ends\nsteps: [{{id: t, type: try, config: {{steps: [{nap}], finally: [{last}]}}}}]"
    )
    await workbench.waiting(handle, "nap")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert any("`finally` of 't'" in warning for warning in (await handle.query("state"))["warnings"])


async def test_a_run_timeout_is_not_caught_but_finally_runs(skipping: Workbench) -> None:
    caught = "catch: [{on: ['*'], steps: [{id: c, type: function, config: {handler: echo, args: [caught]}}]}]"
    flow = FINALLY.replace("BODY", "{id: a, type: wait, config: {duration: 2h}}").replace("CATCH", caught)
    error = await skipping.failure(flow.replace("id: at-last", "id: at-last\ntimeout: 1h"))
    assert error["type"] == "run_timeout"
    assert [call.split()[:2] for call in skipping.calls()] == [["echo", "finally"]]


async def test_a_second_cancel_does_not_cut_finally_short(workbench: Workbench) -> None:
    flow = """
    id: stubborn
    steps:
      - id: t
        type: try
        config:
          steps: [{id: hang, type: function, config: {handler: slow, params: {seconds: 60}}}]
          finally:
            - {id: f, type: function, config: {handler: slow, params: {seconds: 1.5}}}
            - {id: g, type: function, config: {handler: echo, args: [done]}}
    """
    handle = await workbench.start(flow)
    for calls in (1, 3):
        while len(workbench.calls()) < calls:
            await asyncio.sleep(0.05)
        await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert workbench.calls() == [
        "start t/hang",
        "cancelled t/hang",
        "start t/finally/f",
        "end t/finally/f",
        "echo done",
    ]
    assert await scheduled(handle) == ["t/hang", "t/finally/f", "t/finally/g"]


async def test_finally_runs_where_the_try_loses_a_race(workbench: Workbench) -> None:
    flow = """
    id: lost
    steps:
      - id: race
        type: parallel
        config:
          wait_for: any
          branches:
            - {id: quick, type: wait, config: {duration: 500ms}}
            - id: t
              type: try
              config:
                steps: [{id: nap, type: wait, config: {duration: 1h}}]
                catch: [{steps: [{id: c, type: function, config: {handler: echo, args: [caught]}}]}]
                finally: [{id: f, type: function, config: {handler: echo, args: [finally]}}]
      - {id: after, type: function, config: {handler: echo, args: [after]}}
    """
    assert await workbench.run(flow) == "after"
    assert workbench.calls() == ["echo finally", "echo after"]
