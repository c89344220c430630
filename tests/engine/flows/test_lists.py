"""Sequences, needs, parallel: what runs, in which order, and what it gives."""

from __future__ import annotations

from tests.engine.harness import Workbench, events, scheduled

SEQUENCE = """
id: sequence
inputs: {name: string}
vars: {greeting: "hello {{ inputs.name }}"}
steps:
  - {id: first, type: function, config: {handler: echo, args: ["{{ vars.greeting }}"]}}
  - {id: shape, type: transform, config: {value: {text: "{{ steps.first.output }}!", n: "{{ 1 + 1 }}"}}}
  - {id: keep, type: set, config: {greeting: "{{ steps.shape.output.text | upper }}"}}
output: {said: "{{ vars.greeting }}", n: "{{ steps.shape.output.n }}"}
"""


async def test_a_sequence_runs_in_order_and_templates_keep_their_types(workbench: Workbench) -> None:
    assert await workbench.run(SEQUENCE, {"name": "세계"}) == {"said": "HELLO 세계!", "n": 2}


async def test_control_steps_cost_no_activity(workbench: Workbench) -> None:
    handle = await workbench.start(SEQUENCE, {"name": "a"})
    await handle.result()
    assert await scheduled(handle) == ["first"]


async def test_without_output_the_run_gives_the_last_completed_step(workbench: Workbench) -> None:
    flow = """
    id: last
    steps:
      - {id: a, type: transform, config: {value: 1}}
      - {id: b, type: transform, if: "false", config: {value: 2}}
    """
    assert await workbench.run(flow) == 1


async def test_needs_start_a_step_the_moment_they_are_done(workbench: Workbench) -> None:
    flow = """
    id: graph
    steps:
      - {id: slow, type: function, needs: [], config: {handler: slow, params: {seconds: 1}}}
      - {id: quick, type: function, needs: [], config: {handler: slow, params: {seconds: 0}}}
      - {id: after-quick, type: function, needs: [quick], config: {handler: slow, params: {seconds: 0}}}
      - {id: joined, type: transform, needs: [slow, after-quick], config: {value: "{{ steps.slow.output }}"}}
    """
    assert await workbench.run(flow) == "slow"
    assert workbench.calls().index("end after-quick") < workbench.calls().index("end slow")


async def test_a_step_whose_needs_were_all_skipped_is_skipped(workbench: Workbench) -> None:
    flow = """
    id: skips
    steps:
      - {id: a, type: transform, needs: [], if: "false", config: {value: 1}}
      - {id: b, type: transform, needs: [a], config: {value: 2}}
      - {id: c, type: transform, needs: [], config: {value: 3}}
      - {id: d, type: transform, needs: [b, c], config: {value: 4}}
    output: ["{{ steps.b.status }}", "{{ steps.d.output }}"]
    """
    assert await workbench.run(flow) == ["skipped", 4]


async def test_parallel_gives_an_object_of_its_branches(workbench: Workbench) -> None:
    flow = """
    id: parallel
    steps:
      - id: both
        type: parallel
        config:
          branches:
            - {id: a, type: function, config: {handler: slow, params: {seconds: 0.4}}}
            - {id: b, type: function, config: {handler: echo, args: [2]}}
            - {id: c, type: transform, if: "false", config: {value: 3}}
    output: {out: "{{ steps.both.output }}", order: "{{ steps.both.finished }}"}
    """
    assert await workbench.run(flow) == {"out": {"a": "both/a", "b": 2}, "order": ["b", "a"]}


async def test_the_short_form_of_parallel_runs_and_its_steps_are_visible_after(workbench: Workbench) -> None:
    flow = """
    id: short
    steps:
      - parallel:
          - {id: a, type: transform, config: {value: 1}}
          - {id: b, type: transform, config: {value: 2}}
      - {id: sum, type: transform, config: {value: "{{ steps.a.output + steps.b.output }}"}}
    """
    assert await workbench.run(flow) == 3


async def test_a_failing_branch_stops_the_others_before_the_run_fails(workbench: Workbench) -> None:
    flow = """
    id: fail-fast
    steps:
      - parallel:
          - {id: long, type: function, config: {handler: slow, params: {seconds: 60}}}
          - {id: bad, type: fail, needs: [], config: {type: boom, message: no}}
    """
    error = await workbench.failure(flow)
    assert error["type"] == "boom"
    assert workbench.calls() in (
        ["start long", "cancelled long"],
        ["start parallel-1/long", "cancelled parallel-1/long"],
        [],
    )


async def test_finish_all_lets_the_others_end_and_fails_with_every_error(workbench: Workbench) -> None:
    flow = """
    id: finish-all
    steps:
      - id: p
        type: parallel
        config:
          on_failure: finish_all
          branches:
            - {id: a, type: fail, config: {type: one, message: "1"}}
            - {id: b, type: function, config: {handler: slow, params: {seconds: 0.3}}}
            - {id: c, type: fail, config: {type: two, message: "2"}}
    """
    error = await workbench.failure(flow)
    assert (error["type"], [one["type"] for one in error["errors"]]) == ("one", ["one", "two"])
    assert "end p/b" in workbench.calls()


async def test_three_hundred_branches_stay_within_the_budget_of_a_workflow_task(workbench: Workbench) -> None:
    branches = "\n".join(
        f"      - {{id: b{n}, type: function, config: {{handler: echo, args: [{n}]}}}}" for n in range(300)
    )
    handle = await workbench.start(
        "id: wide\nsteps:\n  - id: p\n    type: parallel\n    config:\n      branches:\n"
        + branches.replace("      -", "        -")
    )
    assert len(await handle.result()) == 300
    per_task: dict[int, int] = {}
    for event in await events(handle):
        if event.HasField("activity_task_scheduled_event_attributes"):
            task = event.activity_task_scheduled_event_attributes.workflow_task_completed_event_id
            per_task[task] = per_task.get(task, 0) + 1
    assert max(per_task.values()) <= 200


async def test_branches_with_large_arguments_do_not_exceed_one_message(workbench: Workbench) -> None:
    branches = "\n".join(
        f"        - {{id: b{n}, type: function, config: {{handler: in_thread, params: {{text: '{{{{ vars.big }}}}'}}}}}}"
        for n in range(60)
    )
    flow = f"id: heavy\nvars: {{big: {'x' * 90_000}}}\nsteps:\n  - id: p\n    type: parallel\n    config:\n      branches:\n{branches}"
    assert len(await workbench.run(flow)) == 60


async def test_activity_ids_are_journal_paths(workbench: Workbench) -> None:
    flow = """
    id: paths
    steps:
      - id: outer
        type: block
        config:
          steps:
            - id: check
              type: condition
              config:
                if: "true"
                then: [{id: yes-step, type: function, config: {handler: echo, args: [1]}}]
    """
    handle = await workbench.start(flow)
    await handle.result()
    assert await scheduled(handle) == ["outer/check/then/yes-step"]
