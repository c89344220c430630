"""What answers for the steps of a flow in its tests."""

from __future__ import annotations

import pytest
from tests.integration.flowtests.conftest import Bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALL = """
    id: tested
    steps:
      - id: call
        type: http
        retry: {max_attempts: 3, initial_interval: 1m, backoff: fixed}
        config: {url: "https://vendor.example/{{ run.flow }}", method: POST, body: {order: 7}}
"""


async def test_one_answer_is_given_every_time_and_a_list_attempt_by_attempt(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: each
            type: for-each
            config:
              items: 3
              steps:
                - {id: ask, type: http, config: {url: "https://a.example/{{ item }}"}}
                - {id: tell, type: http, config: {url: "https://b.example"}}
        output: {asked: "{{ steps.each.output }}"}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: both
            mocks:
              ask: {output: again}
              tell: [{output: 1}, {error: network_error}, {output: 2}, {output: 3}]
            expect:
              output: {asked: [1, 2, 3]}
              calls: {ask: 3, tell: 4}
              called_with: {ask: [{url: "https://a.example/0"}, {url: "https://a.example/1"}, {url: "https://a.example/2"}]}
        """,
    )


async def test_a_mock_of_a_path_wins_over_that_of_the_id_and_a_step_without_id_has_its_shown_name(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: each
            type: for-each
            config:
              items: 2
              steps:
                - type: http
                  config: {url: "https://a.example"}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: both
            mocks:
              http-1: {output: any}
              "each[1]/http-1": {output: second}
            expect: {output: [any, second], ran: [http-1, "each[1]/http-1"]}
        """,
    )


async def test_errors_are_retried_as_the_step_says_in_the_runs_own_time(bench: Bench) -> None:
    await bench.passes(
        CALL,
        """
        cases:
          - name: a transient error is tried again
            mocks: {call: [{error: network_error}, {error: http_503}, {output: {status: 200}}]}
            expect: {calls: {call: 3}, duration: 2m}
          - name: the other side says when
            mocks: {call: [{error: {type: rate_limit_exceeded, retry_after: 20s}}, {output: {}}]}
            expect: {duration: 20s}
          - name: another error is not
            mocks: {call: {error: http_400}}
            expect: {status: failed, error: {type: http_400, status: 400, step: call}, calls: {call: 1}, duration: 0}
          - name: unless the test says so
            mocks: {call: {error: {type: http_400, retryable: true, message: for once}}}
            expect: {status: failed, error: {message: for once}, calls: {call: 3}, duration: 2m}
        """,
    )


async def test_the_flow_sees_all_of_an_error(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: try
            type: try
            config:
              steps:
                - {id: call, type: http, config: {url: "https://a.example"}}
              catch:
                - on: [http_409]
                  steps:
                    - id: seen
                      type: transform
                      config: {value: "{{ error.data.taken }} {{ error.status }} {{ error.attempts }} {{ error.step.type }}"}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: a conflict
            mocks: {call: {error: {type: http_409, message: taken, data: {taken: yes it is}}}}
            expect: {output: yes it is 409 1 http, failed: [call], ran: [seen]}
        """,
    )


async def test_a_delay_takes_the_runs_time_and_its_time_limits_count(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: slow, type: http, timeout: {attempt: 10m, total: 25m}, retry: {initial_interval: 0s}, config: {url: "https://a.example"}}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: in time
            mocks: {slow: {output: done, delay: 9m}}
            expect: {output: done, duration: 9m}
          - name: an attempt too slow
            mocks: {slow: [{output: 1, delay: 1h}, {output: 2}]}
            expect: {output: 2, calls: {slow: 2}, duration: 10m}
          - name: all too slow
            mocks: {slow: {output: 1, delay: 1h}}
            expect: {status: failed, error: {type: step_timeout}, calls: {slow: 3}, duration: 25m}
        """,
    )


async def test_who_loses_a_race_is_stopped_within_its_delay(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: race
            type: parallel
            config:
              wait_for: any
              branches:
                - {id: quick, type: http, timeout: 1d, config: {url: "https://a.example"}}
                - {id: slow, type: http, timeout: 1d, config: {url: "https://b.example"}}
    """
    [result] = await bench.passes(
        flow,
        """
        cases:
          - name: the quick one
            mocks: {quick: {output: 1, delay: 1m}, slow: {output: 2, delay: 10h}}
            expect: {output: {quick: 1}, duration: 1m}
        """,
    )
    assert {ran.step: ran.status for ran in result.steps}["slow"] == "cancelled"


async def test_usage_is_seen_and_its_cost_added_up(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: ask, type: claude, config: {prompt: hello}}
          - {id: agent, type: agent, config: {model: claude-haiku-4-5, goal: hello}}
        output: {used: "{{ steps.ask.usage.input_tokens }}"}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: paid
            mocks:
              ask:
                - {error: rate_limit_exceeded, usage: {cost: 0.01, input_tokens: 1}}
                - {output: {text: hi}, usage: {cost: 0.02, input_tokens: 10}}
              agent: {output: {text: ho}, usage: {cost: 0.03}}
            expect: {output: {used: 11}, cost: 0.06}
          - name: bounded
            mocks: {ask: {output: {text: a}, usage: {cost: 0.5, input_tokens: 3}}, agent: {output: {text: b}}}
            expect: {cost: {at_most: 0.5}, output_has: {used: 3}}
        """,
    )


async def test_steps_that_are_several_activities_are_mocked_as_a_whole(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: think, type: agent, on_error: continue, config: {model: claude-haiku-4-5, goal: "{{ inputs.goal }}"}}
          - {id: child, type: flow, config: {flow: elsewhere, inputs: {n: 1}}}
          - {id: ask, type: human-task, config: {assignee: ada, title: "{{ steps.child.output.title }}"}}
          - {id: listen, type: wait-for-event, config: {event: order.paid, timeout: 1d}}
          - {id: never, type: agent, if: "false", config: {model: claude-haiku-4-5, goal: x}}
        inputs: {goal: string}
        output: [ "{{ steps.think.status }}", "{{ steps.ask.output.decision }}", "{{ steps.listen.output.event.data }}" ]
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: all of them
            inputs: {goal: win}
            mocks:
              think: {error: budget_exceeded}
              child: {output: {title: from the child}}
              ask: {output: {decision: approve}}
              listen: {output: {event: {data: 5}}}
            expect:
              output: [failed, approve, 5]
              called_with: {think: {goal: win}, child: {inputs: {n: 1}}, ask: {title: from the child}}
              skipped: [never]
              warnings: [budget_exceeded]
        """,
    )


async def test_secrets_need_no_value_and_are_told_by_name(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: call
            type: http
            config:
              url: https://a.example
              headers: {authorization: "Bearer {{ secrets.TOKEN }}", key: "{{ step.idempotency_key }}"}
    """
    [result] = await bench.passes(
        flow,
        """
        cases:
          - name: sent
            mocks: {call: {output: {}}}
            expect: {called_with: {call: {headers: {authorization: "Bearer {{ secrets.TOKEN }}"}}}}
        """,
    )
    assert result.calls[0].config["headers"]["key"].endswith("/call#1")


async def test_a_config_that_the_step_would_refuse_is_refused(bench: Bench) -> None:
    flow = """
        id: tested
        inputs: {method: string}
        steps:
          - {id: call, type: http, config: {url: "https://a.example", method: "{{ inputs.method }}"}}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: no such method
            inputs: {method: SHOUT}
            mocks: {call: {output: {}}}
            expect: {status: failed, error: {type: invalid_config, message: config.method}}
        """,
    )


async def test_what_is_undone_is_mocked_and_told_in_order(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: a, type: http, config: {url: "https://a.example"}, compensate: {id: undo-a, type: http, config: {url: "https://a.example/{{ steps.a.output.id }}"}}}
          - {id: b, type: http, config: {url: "https://b.example"}, compensate: {id: undo-b, type: http, config: {url: "https://b.example"}}}
          - {id: c, type: http, config: {url: "https://c.example"}}
        error_handling:
          fallback: [{id: alarm, type: notification, target: ada, message: "{{ error.type }}"}]
          finally: [{id: tidy, type: http, config: {url: "https://t.example"}}]
    """
    await bench.passes(
        flow,
        """
        defaults:
          mocks:
            a: {output: {id: 1}}
            b: {output: {id: 2}}
            c: {output: {id: 3}}
            undo-a: {output: {}}
            undo-b: {output: {}}
            alarm: {output: {}}
            tidy: {output: {}}
        cases:
          - name: all is well
            expect: {compensated: [], not_reached: [undo-a, undo-b, alarm], ran: [tidy]}
          - name: the last one fails
            mocks: {c: {error: http_400}}
            expect:
              status: failed
              error: {type: http_400}
              compensated: [b, a]
              order: [a, b, c, undo-b, undo-a, alarm, tidy]
              called_with: {undo-a: {url: "https://a.example/1"}, alarm: {message: http_400}}
          - name: what cannot be undone stands
            mocks: {c: {error: http_400}, undo-b: {error: gone}}
            expect: {status: failed, compensated: [a], failed: [undo-b]}
        """,
    )


async def test_express_steps_and_functions_of_other_workers_are_mocked_like_any_other(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: fast
            type: block
            defaults: {durability: express}
            config:
              steps:
                - {id: quick, type: http, timeout: 5s, config: {url: "https://a.example"}}
          - {id: foreign, type: function, task_queue: theirs, config: {handler: their_function, args: [1, two]}}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: both
            mocks: {quick: {output: 1}, foreign: {output: {made: there}}}
            expect: {output: {made: there}, called_with: {foreign: {handler: their_function, args: [1, two]}}}
        """,
    )


async def test_what_is_real_does_what_it_does_and_is_counted(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: count, type: state, config: {increment: seen}}
          - {id: twice, type: function, config: {handler: double, params: {number: 21}}}
          - {id: wrong, type: function, retry: none, on_error: continue, config: {handler: refuse, args: [not today]}}
        output: {count: "{{ steps.count.output }}", twice: "{{ steps.twice.output }}", said: "{{ steps.wrong.error.message }}"}
    """
    await bench.passes(
        flow,
        """
        defaults: {real: [state, twice, wrong]}
        cases:
          - name: first
            expect:
              output_has: {twice: 42, said: not today}
              called_with: {twice: {handler: double, params: {number: 21}}}
              calls: {twice: 1, count: 1}
          - name: nothing is left of the first
            expect: {output_has: {twice: 42}, failed: [wrong]}
        """,
    )
    first, second = await bench.cases(flow, "defaults: {real: ['*']}\ncases: [{name: a}, {name: b}]")
    assert first.output["count"] == second.output["count"]


async def test_a_sub_flow_that_times_out_is_a_failure_of_the_flow_that_waits_for_it(bench: Bench) -> None:
    slow = "id: slow\ntimeout: 1h\nsteps: [{id: nap, type: wait, config: {duration: 2h}}]"
    tests = "cases: [{name: late, real: [flow], expect: {status: STATUS, error: {type: run_timeout}}}]"
    flow = "id: tested\nsteps: [{id: child, type: flow, config: {flow: slow}}]"
    await bench.passes(flow, tests.replace("STATUS", "failed"), slow=slow)
    alone = slow.replace("id: slow", "id: tested")
    await bench.passes(alone, tests.replace("STATUS", "timed_out"))


async def test_a_real_sub_flow_runs_with_the_cases_mocks(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - {id: child, type: flow, config: {flow: helper, inputs: {n: 4}}}
        output: "{{ steps.child.output }}"
    """
    helper = """
        id: helper
        inputs: {n: integer}
        steps:
          - {id: inner, type: http, config: {url: "https://a.example/{{ inputs.n }}"}}
          - {id: sign, type: human-task, config: {assignee: ada, title: sign}}
        output: {inner: "{{ steps.inner.output }}", by: "{{ steps.sign.output.by }}"}
    """
    await bench.passes(
        flow,
        """
        cases:
          - name: inside
            real: [flow]
            mocks: {inner: {output: mocked}}
            events: [{decide: sign, decision: approve, by: ada}]
            expect:
              output: {inner: mocked, by: ada}
              ran: [child, inner, sign]
              called_with: {inner: {url: "https://a.example/4"}}
        """,
        helper=helper,
    )


async def test_a_step_nobody_answers_for_fails_the_case_saying_what_to_write(bench: Bench) -> None:
    said = await bench.problem(CALL, "cases:\n  - name: alone\n")
    assert "tested.test.yaml:2:5: step 'call' (http, " in said
    assert "tested.yaml:4:5) is neither mocked nor real: add `call: {output: …}` to the case's `mocks`" in said
    assert said.count("\n") == 0


async def test_a_list_that_runs_out_fails_the_case_where_it_stands(bench: Bench) -> None:
    said = await bench.problem(CALL, "cases:\n  - name: short\n    mocks:\n      call: [{error: network_error}]\n")
    assert said.startswith("tested.test.yaml:4:7: step 'call' was called once more than the 1 answers of its mock")


async def test_an_output_the_step_could_not_have_fails_the_case_where_it_stands(bench: Bench) -> None:
    flow = """
        id: tested
        steps:
          - id: ask
            type: claude
            output_schema: {type: object, properties: {score: {type: number}}, required: [score]}
            config: {prompt: hello}
    """
    said = await bench.problem(flow, "cases:\n  - name: wrong\n    mocks: {ask: {output: {score: high}}}\n")
    assert said.startswith("tested.test.yaml:3:13: the mocked output of 'ask' does not match its output_schema: score")
