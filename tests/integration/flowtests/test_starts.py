"""How a case's run starts: as the door of its trigger would start it."""

from __future__ import annotations

import json

import pytest
from tests.integration.flowtests.conftest import Bench

from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.project import load_project

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOORS = """
    id: tested
    triggers:
      - {type: webhook, path: /orders, if: "trigger.body.amount > 0", inputs: {amount: "{{ trigger.body.amount }}", shop: "{{ trigger.query.shop }}", vip: "{{ trigger.headers['x-vip'] }}"}}
      - {type: webhook, id: plain, path: /plain}
      - {type: schedule, id: nightly, every: 1d, inputs: {amount: 1}}
      - {type: event, id: paid, event: order.paid, if: "event.data.amount > 5", inputs: {amount: "{{ trigger.body.amount }}", shop: "{{ trigger.event.source }}"}}
      - {type: file, id: drop, path: in, inputs: {amount: 2, shop: "{{ trigger.file.name }}"}}
    inputs:
      amount: {type: number, minimum: 0}
      shop: {type: string, default: none}
      vip: {type: boolean, default: false}
    env: {LIMIT: 10}
    steps: [{id: seen, type: transform, config: {value: {type: "{{ trigger.type }}", id: "{{ trigger.id }}"}}}]
    output: {amount: "{{ inputs.amount }}", shop: "{{ inputs.shop }}", vip: "{{ inputs.vip }}", limit: "{{ env.LIMIT }}", by: "{{ steps.seen.output }}"}
"""


async def test_a_start_through_each_kind_of_trigger_has_the_inputs_that_its_door_would_give(bench: Bench) -> None:
    await bench.passes(
        DOORS,
        """
        cases:
          - name: the first webhook, whose query is text
            trigger: {type: webhook, body: {amount: 3}, query: {shop: north}, headers: {X-VIP: "true"}}
            expect: {output_has: {amount: 3, shop: north, vip: true, by: {type: webhook, id: webhook-1}}}
          - name: a webhook by its id, which takes members of the body
            trigger: {type: webhook, id: plain, body: {amount: 4, shop: south, more: ignored}}
            expect: {output: {amount: 4, shop: south, vip: false, limit: 10, by: {type: webhook, id: plain}}}
          - name: its if says no
            trigger: {type: webhook, body: {amount: 0}, query: {shop: x}, headers: {x-vip: "false"}}
            expect: {status: not_started}
          - name: the clock
            trigger: {type: schedule, scheduled_time: "2026-01-01T00:00:00Z"}
            expect: {output_has: {amount: 1, by: {id: nightly}}}
          - name: an event
            trigger: {type: event, body: {amount: 6}, event: {source: shop-1}}
            expect: {output_has: {amount: 6, shop: shop-1}}
          - name: an event that is not wanted
            trigger: {type: event, body: {amount: 5}}
            expect: {status: not_started}
          - name: a file
            trigger: {type: file, file: {name: a.csv}}
            expect: {output_has: {amount: 2, shop: a.csv}}
          - name: inputs and env of an api start
            inputs: {amount: 7}
            env: {LIMIT: 99}
            expect: {output_has: {amount: 7, limit: 99, by: {type: api}}}
          - name: inputs that do not fit
            inputs: {amount: -1}
            expect: {status: not_started}
        """,
    )


async def test_inputs_that_do_not_fit_are_told_where_a_run_was_expected(bench: Bench) -> None:
    said = await bench.problem(DOORS, "cases:\n  - name: none\n")
    assert said.startswith("tested.test.yaml:2:5: the run was not started (the inputs do not match")
    assert said.endswith("expected: completed")


async def test_a_sample_beside_the_test_is_the_trigger(bench: Bench) -> None:
    tests = """
        cases:
          - name: as it came
            trigger: {sample: came.json, body: {amount: 8}}
            expect: {output_has: {amount: 8, shop: sampled}}
    """
    path = bench.write(DOORS, tests)
    delivery = {"type": "webhook", "id": "webhook-1", "query": {"shop": "sampled"}, "headers": {"x-vip": "false"}}
    (path.parent / "came.json").write_text(json.dumps({"id": "s", "delivery": delivery | {"body": {"amount": 1}}}))
    loaded = load_test_file(path, load_project(bench.folder))
    [result] = [await bench.run(case, loaded.flow) for case in loaded.cases]
    assert not result.problems
