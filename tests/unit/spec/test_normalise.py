"""Definitions: defaults filled in nearest first, times in seconds, identity of content."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.errors import InputsInvalid
from orchestrator.spec.definition import Definition, Node, Retry, Timeout, definition_from_json, definition_to_json
from orchestrator.spec.inputs import check_inputs


def nodes(definition: Definition) -> dict[str, Node]:
    return {node.id: node for node in definition.walk()}


HTTP = "type: http, config: {url: 'https://x.example'}"


def test_retry_is_merged_key_by_key_nearest_first(load: Any) -> None:
    loaded = load(
        f"""\
        id: f
        defaults: {{retry: {{max_attempts: 9, backoff: linear, initial_interval: 2s, on: [a]}}}}
        steps:
          - {{id: plain, {HTTP}}}
          - {{id: own, {HTTP}, retry: {{max_attempts: 2, jitter: full}}}}
          - {{id: never, {HTTP}, retry: none}}
          - id: blk
            type: block
            defaults: {{retry: {{max_attempts: 5, max_interval: 10m}}}}
            config:
              steps:
                - {{id: inner, {HTTP}}}
                - {{id: inner-own, {HTTP}, retry: {{backoff: fixed, not_on: [http_404]}}}}
          - id: cut
            type: block
            defaults: {{retry: none}}
            config: {{steps: [{{id: off, {HTTP}}}, {{id: on-again, {HTTP}, retry: {{max_attempts: 4}}}}]}}
          - {{id: pause, type: wait, config: {{duration: 1m}}}}
        """
    )
    by_id = nodes(loaded.definition)
    flow = Retry(max_attempts=9, backoff="linear", initial_interval=2.0, on=("a",))
    assert by_id["plain"].retry == flow
    assert by_id["own"].retry == Retry(2, "linear", 2.0, jitter=1.0, on=("a",))
    assert by_id["never"].retry is None
    assert by_id["inner"].retry == Retry(5, "linear", 2.0, max_interval=600.0, on=("a",))
    assert by_id["inner-own"].retry == Retry(5, "fixed", 2.0, max_interval=600.0, on=("a",), not_on=("http_404",))
    assert by_id["off"].retry is None
    assert by_id["on-again"].retry == Retry(max_attempts=4), "`none` cuts off what lies beyond it"
    assert by_id["pause"].retry is None
    assert by_id["blk"].retry is None


def test_error_handling_retry_holds_for_every_step(load: Any) -> None:
    loaded = load(f"id: f\nerror_handling: {{retry: {{max_attempts: 7}}}}\nsteps: [{{id: a, {HTTP}}}]\n")
    assert loaded.definition.steps[0].retry == Retry(max_attempts=7)


@pytest.mark.parametrize(
    ("defaults", "own", "timeout"),
    [
        ("", "", Timeout(300.0, 3600.0)),
        ("", "timeout: 30s", Timeout(30.0, 3600.0)),
        ("", "timeout: 2h", Timeout(7200.0, 7200.0)),
        ("", "timeout: {total: 60}", Timeout(60.0, 60.0)),
        ("timeout: 10s", "", Timeout(10.0, 3600.0)),
        ("timeout: {total: 10m}", "timeout: 10s", Timeout(10.0, 600.0)),
        ("timeout: {attempt: 10s, total: 10m}", "timeout: {attempt: 1m}", Timeout(60.0, 600.0)),
    ],
)
def test_timeouts_of_act_steps(load: Any, defaults: str, own: str, timeout: Timeout) -> None:
    text = f"id: f\ndefaults: {{{defaults}}}\nsteps: [{{id: a, {HTTP}{', ' + own if own else ''}}}]\n"
    assert load(text).definition.steps[0].timeout == timeout


def test_a_timeout_on_a_control_step_bounds_the_whole_block_and_is_not_inherited(load: Any) -> None:
    loaded = load(
        f"""\
        id: f
        defaults: {{timeout: 5s}}
        steps:
          - {{id: blk, type: block, timeout: 2m, config: {{steps: [{{id: a, {HTTP}}}]}}}}
          - {{id: ask, type: human-task, config: {{assignee: x, deadline: 24h}}}}
        """
    )
    by_id = nodes(loaded.definition)
    assert by_id["blk"].timeout == Timeout(None, 120.0)
    assert by_id["a"].timeout == Timeout(5.0, 3600.0)
    assert (by_id["ask"].timeout, by_id["ask"].retry) == (Timeout(), None), "people are not bound by attempts"


def test_needs_follow_the_list_and_start_together_in_parallel(load: Any) -> None:
    loaded = load(
        """\
        id: f
        steps:
          - {id: a, type: wait, config: {duration: 1}}
          - {id: b, needs: [a, a], type: wait, config: {duration: 1}}
          - {id: c, needs: [], type: wait, config: {duration: 1}}
          - parallel:
              - {id: p, type: wait, config: {duration: 1}}
              - {id: q, needs: [p], type: wait, config: {duration: 1}}
        """
    )
    by_id = nodes(loaded.definition)
    assert {name: (by_id[name].needs, by_id[name].explicit_needs) for name in "abcpq"} == {
        "a": (None, False), "b": (("a",), True), "c": ((), False), "p": ((), False), "q": (("p",), True),
    }  # fmt: skip


def test_steps_without_an_id_are_numbered_by_type_around_the_names_taken(load: Any) -> None:
    loaded = load(
        """\
        id: f
        steps:
          - {type: wait, config: {duration: 1}}
          - {id: wait-2, type: wait, config: {duration: 1}}
          - {type: wait, config: {duration: 1}}
          - steps: [{type: wait, config: {duration: 1}}]
        """
    )
    assert [(node.id, node.named) for node in loaded.definition.walk()] == [
        ("wait-1", False), ("wait-2", True), ("wait-3", False), ("block-1", False), ("wait-4", False),
    ]  # fmt: skip


def test_lists_are_named_as_the_engine_walks_them(load: Any) -> None:
    loaded = load(
        """\
        id: f
        vars: {n: 0}
        steps:
          - id: s
            type: switch
            config:
              value: vars.n
              cases:
                - {equals: [1, 2], steps: [{id: one, type: wait, config: {duration: 1}}]}
                - {equals: 3, steps: []}
              default: [{id: other, type: wait, config: {duration: 1}}]
            on_error: [{id: rescue, type: wait, config: {duration: 1}}]
          - id: c
            type: condition
            config: {if: true, then: [{id: yes, type: wait, config: {duration: 2m}}]}
          - id: t
            type: try
            config:
              steps: [{id: risky, type: wait, config: {duration: 1}}]
              catch: [{steps: [{id: caught, type: wait, config: {duration: 1}}]}]
              finally: [{id: last, type: wait, config: {duration: 1}}]
              retry: {max_attempts: 2}
        """
    )
    by_id = nodes(loaded.definition)
    shape = {
        name: {key: [node.id for node in value] for key, value in by_id[name].lists.items()} for name in ("s", "c", "t")
    }
    assert shape == {
        "s": {"case[0]": ["one"], "case[1]": [], "default": ["other"], "on_error": ["rescue"]},
        "c": {"then": ["yes"]},
        "t": {"steps": ["risky"], "catch[0]": ["caught"], "finally": ["last"]},
    }
    assert by_id["s"].config == {"value": "vars.n", "cases": [{"equals": [1, 2]}, {"equals": 3}]}
    assert by_id["s"].on_error == "steps"
    assert by_id["c"].config == {"if": "true"}, "an expression field is source text"
    assert by_id["yes"].config == {"duration": 120.0}
    assert by_id["t"].config == {"catch": [{"on": ["*"]}]}
    assert by_id["t"].retry == Retry(max_attempts=2)


def test_durations_in_configs_are_seconds_and_templates_stay(load: Any) -> None:
    loaded = load(
        """\
        id: f
        inputs: {days: integer}
        steps:
          - {id: a, type: human-task, config: {assignee: x, deadline: 1h30m}}
          - {id: b, type: wait, config: {duration: "{{ inputs.days }}d"}}
          - {id: c, type: agent, config: {goal: x, model: m, limits: {time: 5m, turns: 3}}}
          - {id: d, type: parallel, config: {branches: [{id: e, type: wait, config: {duration: PT2H}}]}}
        """
    )
    by_id = nodes(loaded.definition)
    assert by_id["a"].config["deadline"] == 5400.0
    assert by_id["a"].config["decisions"] == ["approve", "reject"], "defaults of what the engine reads are pinned"
    assert by_id["b"].config == {"duration": "{{ inputs.days }}d"}
    assert by_id["c"].config["limits"] == {"time": 300.0, "turns": 3}
    assert by_id["d"].config == {"wait_for": "all", "losers": "cancel", "on_failure": "fail_fast"}
    assert by_id["e"].config == {"duration": 7200.0}


def test_inputs_become_one_object_schema(load: Any) -> None:
    loaded = load(
        """\
        id: f
        inputs:
          name: string
          age: {type: integer, default: 3}
          note: {type: string, required: false}
          customer: {type: object, required: [email]}
        steps: [{type: wait, config: {duration: 1}}]
        """
    )
    assert loaded.definition.inputs == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "default": 3},
            "note": {"type": "string"},
            "customer": {"type": "object", "required": ["email"]},
        },
        "required": ["name", "customer"],
    }


def test_references_inside_an_input_keep_their_meaning(load: Any) -> None:
    loaded = load(
        """\
        id: f
        inputs:
          order: {type: object, properties: {id: {$ref: "#/$defs/id"}}, $defs: {id: {type: integer}}}
        steps: [{type: wait, config: {duration: 1}}]
        """
    )
    schema = loaded.definition.inputs
    assert check_inputs("f", schema, {"order": {"id": 1}}) == {"order": {"id": 1}}
    with pytest.raises(InputsInvalid, match=r"order\.id: must be a whole number, got text"):
        check_inputs("f", schema, {"order": {"id": "x"}})


def test_entries_the_flow_declares_travel_with_the_steps_that_name_them(load: Any) -> None:
    loaded = load(
        """\
        id: f
        services: {crm: {base_url: "https://crm.example", methods: {}}, other: {}}
        inputs: {which: string}
        steps:
          - {id: a, type: api, config: {service: crm, method: get}}
          - {id: b, type: api, config: {service: of-the-project, method: get}}
          - {id: c, type: api, config: {service: "{{ inputs.which }}", method: get}}
        """
    )
    by_id = nodes(loaded.definition)
    assert by_id["a"].bindings == {"services": {"crm": {"base_url": "https://crm.example", "methods": {}}}}
    assert by_id["b"].bindings == {}
    assert set(by_id["c"].bindings["services"]) == {"crm", "other"}


def test_handlers_output_and_limits_of_the_run(load: Any) -> None:
    loaded = load(
        """\
        id: f
        timeout: 2h
        output: null
        steps: [{type: wait, config: {duration: 1}}]
        error_handling:
          fallback: [{type: notification, target: ops}]
          finally: [{id: end, type: wait, config: {duration: 1}}]
        """
    )
    definition = loaded.definition
    assert definition.timeout == 7200.0
    assert (definition.has_output, definition.output) == (True, None)
    assert {name: [node.type for node in listed] for name, listed in definition.handlers.items()} == {
        "fallback": ["notification"], "finally": ["wait"],
    }  # fmt: skip


FLOW = "id: f\nversion: 1\nlabels: {a: b}\nsteps: [{id: s, type: wait, config: {duration: 1m}}]\n"


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n\n" + FLOW,
        "steps:\n  - type: wait\n    id: s\n    config:\n      duration: '1m'\nid: f\nversion: 1\nlabels: {a: b}\n",
        FLOW.replace("version: 1", "version: 2.0"),
    ],
)
def test_comments_layout_and_version_do_not_change_the_content(load: Any, text: str) -> None:
    assert load(text).definition.hash == load(FLOW).definition.hash


@pytest.mark.parametrize(
    "text",
    [
        FLOW.replace("1m", "2m"),
        FLOW.replace("id: s", "id: t"),
        FLOW.replace("a: b", "a: c"),
        FLOW + "triggers: [{type: webhook, path: /x}]\n",
        FLOW + "enabled: false\n",
    ],
)
def test_everything_a_version_promises_is_content(load: Any, text: str) -> None:
    assert load(text).definition.hash != load(FLOW).definition.hash


def test_a_definition_survives_json(load: Any) -> None:
    definition = load(FLOW).definition
    assert definition_from_json(json.loads(json.dumps(definition_to_json(definition)))) == definition


def test_compensate_on_is_the_steps_own_else_that_of_the_nearest_saga(load: Any) -> None:
    undo = f"compensate: {{{HTTP}}}"
    loaded = load(
        f"""\
        id: f
        steps:
          - {{id: outside, {HTTP}, {undo}}}
          - id: order
            type: saga
            compensate: [{{id: undo-order, {HTTP}}}]
            on_error: [{{id: rescue, {HTTP}, {undo}}}]
            config:
              compensate_on: attempted
              steps:
                - {{id: from-saga, {HTTP}, {undo}}}
                - {{id: own, {HTTP}, {undo}, compensate_on: completed}}
                - {{id: deep, type: block, config: {{steps: [{{id: deeper, {HTTP}, {undo}}}]}}}}
                - id: inner
                  type: saga
                  config: {{steps: [{{id: in-inner, {HTTP}, {undo}}}]}}
        """
    )
    by_id = nodes(loaded.definition)
    when = {name: node.compensate_on for name, node in by_id.items() if node.named}
    assert when == {
        "outside": "completed", "order": "completed", "undo-order": "completed", "rescue": "completed",
        "from-saga": "attempted", "own": "completed", "deep": "attempted", "deeper": "attempted",
        "inner": "attempted", "in-inner": "completed",
    }  # fmt: skip


def test_control_configs_are_in_seconds_and_keep_their_counts(load: Any) -> None:
    loaded = load(
        f"""\
        id: f
        steps:
          - id: poll
            type: while
            config: {{until: "true", timeout: 2h, interval: 30s, steps: [{{id: ask, {HTTP}}}]}}
          - {{id: paid, type: wait-for-event, config: {{event: order.paid, timeout: PT24H}}}}
          - {{id: child, type: transform, config: {{value: 1}}}}
          - {{id: kept, type: function, config: {{handler: f}}, cache: {{key: k, ttl: 1h}}}}
          - id: race
            parallel:
              wait_for: 2
              branches:
                - {{id: clock, type: wait, counts: false, config: {{duration: 1m}}}}
                - {{id: one, {HTTP}}}
                - {{id: two, {HTTP}}}
        """
    )
    by_id = nodes(loaded.definition)
    assert by_id["poll"].config == {"until": "true", "timeout": 7200.0, "interval": 30.0, "collect": "last"}
    assert by_id["paid"].config["timeout"] == 86400.0
    assert by_id["kept"].cache == {"key": "k", "ttl": 3600.0, "scope": "flow"}
    assert by_id["race"].config["wait_for"] == 2
    assert [by_id[name].counts for name in ("race", "clock", "one", "two")] == [True, False, True, True]
    assert definition_from_json(definition_to_json(loaded.definition)) == loaded.definition
