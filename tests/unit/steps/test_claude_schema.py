"""Which schemas the API holds an answer to."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.steps.claude.schema import AnswerMismatch, api_schema, read_answer

TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        (
            {"type": "object", "properties": {"a": TEXT}, "required": ["a"]},
            {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False, "required": ["a"]},
        ),
        ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}),
        ({"type": ["string", "null"]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"enum": ["a", "b"]}, {"enum": ["a", "b"]}),
        ({"type": "array", "items": TEXT}, {"type": "array", "items": TEXT}),
        ({"type": "number", "minimum": 0}, {"type": "number", "description": "{minimum: 0}"}),
    ],
)
def test_what_the_api_knows_is_sent(schema: dict[str, Any], sent: dict[str, Any]) -> None:
    assert api_schema(schema) == sent


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "required": ["a"]},
        {"type": "object", "properties": {"a": TEXT}, "required": ["b"]},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": TEXT}, "additionalProperties": {"type": "number"}},
        {"type": "array"},
        {"type": "object", "properties": {"a": {"$ref": "#/definitions/x"}}},
        {"type": "object", "properties": {"a": TEXT}, "if": {}, "then": {}},
        {"enum": [{"a": 1}]},
        {"type": "nonsense"},
    ],
)
def test_what_it_cannot_hold_is_told_in_words(schema: dict[str, Any]) -> None:
    assert api_schema(schema) is None


def test_the_authors_schema_is_not_changed() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "$defs": {"b": TEXT}}
    before = repr(schema)
    assert api_schema(schema) is not None
    assert repr(schema) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [("Yes", "not JSON"), ("[NaN]", "NaN is not a JSON number"), ("[" * 100_000, "nested too deeply"), ("[1]", "text")],
)
def test_an_answer_that_is_no_json_of_the_schema_says_how(text: str, says: str) -> None:
    with pytest.raises(AnswerMismatch, match=says):
        read_answer(text, {"type": "array", "items": TEXT})


def test_an_answer_may_stand_in_a_fence() -> None:
    assert read_answer('```json\n["a"]\n```', {"type": "array", "items": TEXT}) == ["a"]
