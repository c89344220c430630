"""What a step is said to answer where nobody says it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.flowtests.dry_run.made_up import made_up
from orchestrator.spec.inputs import check_json
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"enum": ["x", "y"]}}},
    {"type": "array", "minItems": 3, "items": {"type": "integer", "minimum": 4}},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    {"type": "number", "maximum": -3},
    {"type": "integer", "exclusiveMaximum": 0},
    {"type": ["string", "null"], "minLength": 20},
    {"type": "string", "maxLength": 3},
    {"const": {"any": [1]}},
    {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"type": "boolean"}}}]},
    {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "string", "format": "date"}},
    },
    {"type": "object", "properties": {"x": {"type": "number", "default": 0.5}}},
]


def answer(step: str, text: str) -> Any:
    definition = load_flow(text, "flow.yaml", Project()).definition
    return made_up(next(node for node in definition.walk() if node.id == step), definition)


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_an_output_that_is_made_up_is_one_that_the_schema_takes(schema: dict[str, Any]) -> None:
    output = answer("a", f"id: x\nsteps: [{{id: a, type: function, config: {{handler: f}}, output_schema: {schema}}}]")
    assert output is not None
    assert check_json(schema, output) == []


def test_a_schema_that_cannot_be_followed_gives_nothing() -> None:
    schema = {"type": "string", "pattern": "^[0-9]{4}$"}
    assert (
        answer("a", f"id: x\nsteps: [{{id: a, type: function, config: {{handler: f}}, output_schema: {schema}}}]")
        is None
    )


def test_without_a_schema_it_has_what_the_flow_looks_for() -> None:
    text = """
id: x
steps:
  - {id: a, type: function, config: {handler: f}}
  - {id: b, type: http, config: {url: "https://b.example/{{ steps.a.output.place.name }}"}}
  - id: c
    type: condition
    config:
      if: "{{ steps.a.output.score }} > 0.7 and steps.a.output.known"
      then: [{id: d, type: for-each, config: {items: "{{ steps.b.output.body.rows }}", steps: [{type: wait, config: {duration: 1s}}]}}]
  - {id: e, type: transform, config: {value: "{{ steps.b.output.body.tags | length }}"}}
"""
    assert answer("a", text) == {"place": {"name": "made up"}, "score": 0, "known": True}
    assert answer("b", text) == {
        "status": 200, "headers": {}, "body": {"rows": ["made up"], "tags": ["made up"]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "member"),
    [
        ("{{ 1 if steps.a.output.m else 2 }}", True),
        ("{{ not steps.a.output.m }}", True),
        ("{{ steps.a.output.m * 2 }}", 0),
        ("{{ (2 + steps.a.output.m) | round }}", 0),
        ("{{ steps.a.output.m == 3 }}", 0),
        ("{{ steps.a.output.m == 'x' }}", "made up"),
        ("{{ steps.a.output.m | map('n') }}", ["made up"]),
        ("{{ inputs.n ~ steps.a.output.m }}", "made up"),
        ("{{ 'x' if steps.a.output.m == 'y' else 'z' }}", "made up"),
    ],
)
def test_a_member_is_something_its_expression_can_use(value: str, member: Any) -> None:
    text = f"""
id: x
inputs: {{n: number}}
steps:
  - {{id: a, type: function, config: {{handler: f}}}}
  - {{id: shown, type: transform, config: {{value: "see {{{{ steps.a.output.m }}}} here"}}}}
output: "{value}"
"""
    assert answer("a", text) == {"m": member}


def test_a_person_is_said_to_take_the_first_decision() -> None:
    text = "id: x\nsteps: [{id: a, type: human-task, config: {assignee: kim, decisions: [publish, drop]}}]"
    assert answer("a", text)["decision"] == "publish"
