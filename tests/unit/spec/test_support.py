"""What the format has and this release cannot run is shown, and never ignored."""

from __future__ import annotations

from typing import Any

import pytest

TAIL = "is part of the flow format, but this release cannot run it yet"
WAIT = "[{type: wait, config: {duration: 1}}]"


@pytest.mark.parametrize(
    ("top", "what"),
    [
        ("triggers: [{type: schedule, every: 1h, idempotency_key: a}]", "`idempotency_key` of a trigger"),
    ],
)
def test_parts_of_the_flow_that_cannot_run_yet_are_listed(load: Any, top: str, what: str) -> None:
    [problem] = load(f"id: f\n{top}\nsteps: {WAIT}\n").unsupported
    assert problem.message == f"{what} {TAIL}"
    assert problem.line == 2


def test_what_runs_is_not_listed(load: Any) -> None:
    loaded = load(
        """\
        id: f
        triggers:
          - {type: webhook, path: /x, method: PUT, respond: result, max_body: 1MB, idempotency_key: "{{ trigger.body.id }}",
             inputs: {a: "{{ trigger.body.b }}"}}
          - {type: api}
        inputs: {a: string}
        vars: {n: 0}
        steps:
          - parallel: {on_failure: finish_all, branches: [{id: b, type: wait, config: {duration: 1}}]}
          - {id: s, if: inputs.a == 'x', type: set, timeout: 3s, config: {n: 1}, on_error: continue}
          - {id: h, type: http, config: {url: "https://x.example"}, retry: none, output_schema: {type: object},
             on_error: [{type: return, config: {output: 1}}]}
          - {id: t, type: human-task, config: {assignee: x, deadline: 1h, on_deadline: {decide: reject}}}
          - {id: each, type: for-each, config: {items: [1], steps: [{type: wait, config: {duration: 1}}]}}
          - {id: again, type: while, config: {while: 'true', max_iterations: 2, steps: [{type: wait, config: {duration: 1}}]}}
          - {id: careful, type: try, config: {steps: [{type: wait, config: {duration: 1}}]}}
          - id: order
            type: saga
            config:
              steps:
                - {id: charge, type: http, config: {url: "https://x.example"}, compensate_on: attempted,
                   compensate: {type: http, config: {url: "https://x.example"}}}
          - {id: paid, type: wait-for-event, config: {event: paid}}
          - {id: told, type: wait-for-event, config: {signal: told}}
          - {id: child, type: flow, config: {flow: other}}
          - {id: kept, type: function, config: {handler: f}, cache: {key: k, ttl: 1h}}
          - {id: plan, type: run-steps, config: {steps: "{{ inputs.a }}", allow: [http]}}
          - {id: race, parallel: {wait_for: any, branches: [{id: b2, type: wait, counts: false, config: {duration: 1}}, {id: b3, type: wait, config: {duration: 1}}]}}
          - {type: block, defaults: {durability: express, timeout: 5s}, config: {steps: [{type: http, config: {url: "https://x.example"}}]}}
        error_handling: {finally: [{type: function, config: {handler: x}}]}
        """
    )
    assert loaded.unsupported == ()
