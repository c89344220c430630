"""What happens to a run from outside in its tests, and when."""

from __future__ import annotations

import pytest
from tests.integration.flowtests.conftest import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

TASK = """
    id: tested
    steps:
      - {id: ask, type: human-task, config: {assignee: ada, title: Well?, deadline: 1d, on_reject: continue}}
    output: "{{ steps.ask.output.decision }}"
"""


async def test_a_task_is_decided_as_soon_as_it_is_open_or_when_the_case_says(bench: Bench) -> None:
    await bench.passes(
        TASK,
        """
        cases:
          - name: at once
            events: [{decide: ask, decision: approve, by: ada}]
            expect: {output: approve, duration: 0}
          - name: after some time
            events: [{after: 20h, decide: ask, decision: reject, comment: no}]
            expect: {output: reject, duration: 20h}
          - name: nobody
            expect: {status: failed, error: {type: deadline_exceeded, step: ask}, duration: 1d}
        """,
    )


async def test_a_task_in_a_loop_is_decided_pass_by_pass_and_by_path(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: each
            type: for-each
            config:
              items: 3
              steps: [{id: ask, type: human-task, config: {assignee: ada, title: Well?, on_reject: continue}}]
        output: {said: "{{ steps.each.output | map('decision') }}"}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: in turn
            events:
              - {decide: "each[1]/ask", decision: reject}
              - {decide: ask, decision: approve}
              - {decide: ask, decision: approve}
            expect: {output: {said: [approve, reject, approve]}}
        """,
    )


async def test_votes_are_counted(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: vote, type: human-task, config: {group: board, title: Well?, quorum: 2, deadline: 1d}}
        output: "{{ steps.vote.output.votes | map('by') }}"
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: two of them
            events:
              - {decide: vote, decision: approve, by: ada}
              - {after: 1h, decide: vote, decision: approve, by: bob}
            expect: {output: [ada, bob], duration: 1h}
        """,
    )


async def test_events_reach_the_wait_they_correlate_with(bench: Bench) -> None:
    flow = """
        id: tested
        inputs: {order: string}
        steps:
          - {id: before, type: wait, config: {duration: 1h}}
          - id: paid
            type: wait-for-event
            config: {event: order.paid, correlate: {data.order: "{{ inputs.order }}"}, timeout: 1d, on_timeout: continue}
        output: {late: "{{ steps.paid.output.timed_out }}"}
    """
    await bench.passes(
        flow,
        """
        defaults: {inputs: {order: A7}}
        cases:
          - name: while it waits
            events: [{event: order.paid, data: {order: A7}}]
            expect: {output: {late: false}, duration: 1h}
          - name: before it waits
            events: [{after: 1m, event: order.paid, data: {order: A7}, source: shop, id: e1}]
            expect: {output: {late: false}, duration: 1h}
          - name: later
            events: [{on: paid, after: 2h, event: order.paid, data: {order: A7}}]
            expect: {output: {late: false}, duration: 3h}
          - name: another order's
            events: [{event: order.paid, data: {order: B8}}]
            expect: {output: {late: true}, duration: 25h}
        """,
    )


async def test_signals_and_callbacks_reach_their_waits(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: go, type: wait-for-event, config: {signal: go, timeout: 1d}}
          - {id: call, type: http, config: {url: "https://a.example", body: {to: "{{ callback.answer.url }}"}}}
          - {id: answer, type: wait-for-event, config: {callback: true, timeout: 1d}}
        output: ["{{ steps.go.output.event.data }}", "{{ steps.answer.output.event.data }}"]
    """
    await bench.passes(
        flow,
        """
        defaults: {mocks: {call: {output: {}}}}
        cases:
          - name: both
            events: [{signal: go, data: 1}, {callback: answer, data: {done: true}}]
            expect: {output: [1, {done: true}], called_with: {call: {method: GET}}}
          - name: an error
            events: [{signal: go}, {on: answer, after: 3h, callback: answer, error: {type: lost, message: on the way}}]
            expect: {status: failed, error: {type: lost, message: on the way, step: answer}, duration: 3h}
        """.replace(", called_with: {call: {method: GET}}", ""),
    )


async def test_a_run_is_cancelled_paused_and_resumed(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: made, type: http, config: {url: "https://a.example"}, compensate: {id: undo, type: http, config: {url: "https://u.example"}}}
          - {id: rest, type: wait, config: {duration: 1h}}
          - {id: last, type: http, config: {url: "https://b.example"}}
    """
    await bench.passes(
        flow,
        """
        defaults: {mocks: {made: {output: {}}, undo: {output: {}}, last: {output: {}}}}
        cases:
          - name: cancelled
            events: [{on: rest, after: 10m, cancel: true}]
            expect: {status: cancelled, compensated: [made], ran: [undo], not_reached: [last], duration: 10m}
          - name: paused before its first step
            events: [{after: 0s, pause: true}, {after: 2h, resume: true}]
            expect: {ran: [last], duration: 3h}
          - name: paused
            events: [{after: 30m, pause: true}, {after: 5h, resume: true}]
            expect: {ran: [last], duration: 5h}
        """,
    )


async def test_an_event_that_never_happens_fails_the_case(bench: Bench) -> None:
    said = await bench.problem(
        TASK,
        """
        cases:
          - name: too late
            events: [{after: 2d, decide: ask, decision: approve}]
            expect: {status: failed}
        """,
    )
    assert said.startswith("tested.test.yaml:4:14: this event never happened (decide ask)")


async def test_an_answer_that_the_run_refuses_fails_the_case(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: ask, type: human-task, config: {assignee: ada, title: Well?, not_by: [eve], deadline: 1h}}
    """
    said = await bench.problem(
        flow,
        """
        cases:
          - name: not she
            events: [{decide: ask, decision: approve, by: eve}]
            expect: {status: failed}
        """,
    )
    assert "tested.test.yaml:4:14: the run refused this event" in said


async def test_a_run_that_waits_for_ever_says_for_what_and_leaves_nothing_behind(bench: Bench) -> None:
    flow = """
        id: tested
        steps: [{id: ask, type: human-task, config: {assignee: ada, title: Well?}}]
    """
    said = await bench.problem(flow, "cases:\n  - name: stuck\n")
    assert "tested.test.yaml:2:5: the run waits for ever: it waits for ask (human-task)" in said
    [result] = await bench.passes(flow, "cases: [{name: on, events: [{decide: ask, decision: approve}]}]")
    assert result.status == "completed"


async def test_a_run_that_never_rests_is_stopped(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: loop
            type: while
            config: {while: "true", interval: 1s, max_iterations: 1000000, collect: none, steps: [{id: nothing, type: wait, config: {duration: 1s}}]}
    """
    said = await bench.problem(flow, "cases:\n  - name: endless\n    timeout: 1s\n")
    assert "tested.test.yaml:2:5: the run did not end within 1s" in said
    await bench.passes(TASK, "cases: [{name: on, events: [{after: 2h, decide: ask, decision: approve}]}]")
