"""Inputs against their schema."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import InputsInvalid
from orchestrator.spec.inputs import check_inputs, check_json, check_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "default": 18},
        "vip": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    },
    "required": ["name"],
}


def fields(given: dict[str, Any], *, convert_text: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(InputsInvalid) as caught:
        check_inputs("hello", SCHEMA, given, convert_text=convert_text)
    return [(problem.field, problem.message) for problem in caught.value.problems]


def test_defaults_are_filled_in_and_undeclared_members_left_out() -> None:
    assert check_inputs("hello", SCHEMA, {"name": "Ada", "other": 1}) == {"name": "Ada", "age": 18, "tags": []}


def test_a_default_is_a_copy() -> None:
    check_inputs("hello", SCHEMA, {"name": "Ada"})["tags"].append("x")
    assert check_inputs("hello", SCHEMA, {"name": "Ada"})["tags"] == []


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [("name", "is required")]),
        ({"name": 1}, [("name", "must be text, got a number")]),
        ({"name": ""}, [("name", "must have at least 1 character(s)")]),
        ({"name": "a", "age": "18"}, [("age", "must be a whole number, got text")]),
        ({"name": "a", "age": True}, [("age", "must be a whole number, got true")]),
        ({"name": "a", "address": {}}, [("address.city", "is required")]),
        ({"name": "a", "tags": ["x", 2]}, [("tags[1]", "must be text, got a number")]),
        ({"nmae": "Ada"}, [("name", "is required; you gave `nmae`, which is not declared")]),
        (
            {"name": None, "vip": "yes"},
            [("name", "must be text, got nothing"), ("vip", "must be true or false, got text")],
        ),
    ],
)
def test_every_wrong_field_is_named(given: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert fields(given) == found


def test_text_of_forms_is_read_as_the_declared_scalar() -> None:
    given = {"name": "12", "age": "42", "vip": "TRUE", "tags": '["a"]', "address": '{"city": "Seoul"}'}
    assert check_inputs("hello", SCHEMA, given, convert_text=True) == {
        "name": "12", "age": 42, "vip": True, "tags": ["a"], "address": {"city": "Seoul"},
    }  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [("4.5", "got a number"), ("x", "got text"), ("NaN", "got text")])
def test_text_that_is_not_the_declared_scalar_stays_text_and_is_refused(text: str, said: str) -> None:
    assert fields({"name": "a", "age": text}, convert_text=True) == [("age", f"must be a whole number, {said}")]


def test_nothing_remote_is_fetched() -> None:
    with pytest.raises(ValueError, match="nothing is fetched"):
        check_json({"$ref": "http://127.0.0.1:9/schema.json"}, {})
    assert check_schema({"properties": {"a": {"$ref": "https://example.com/x"}}}) == (
        ("properties", "a", "$ref"),
        "refers to 'https://example.com/x'; only references inside the schema (`#/…`) are followed",
    )


@pytest.mark.parametrize(
    ("schema", "where", "why"),
    [
        ({"$ref": "#"}, (), "refers to itself without end"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}, (), "refers to itself without end"),
        ({"$ref": "#/$defs/none"}, (), "refers to '#/$defs/none', which is not in the schema; nothing is fetched"),
        ({"items": {"$ref": "#anchor"}}, ("items", "$ref"), "refers to '#anchor'"),
        ({"pattern": "("}, ("pattern",), "must be a valid regex"),
        ({"properties": {"a": {"minimum": "x"}}}, ("properties", "a", "minimum"), "must be a number, got text"),
    ],
)
def test_a_schema_that_cannot_be_used_says_where_and_why(
    schema: dict[str, Any], where: tuple[str | int, ...], why: str
) -> None:
    found = check_schema(schema)
    assert found is not None
    assert found[0] == where
    assert found[1].startswith(why)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"child": {"$ref": "#"}}},
        {"properties": {"default": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}, "default": {"$ref": "http://not/a/ref"}},
        True,
    ],
)
def test_recursive_data_and_words_that_only_look_like_references_are_fine(schema: Any) -> None:
    assert check_schema(schema) is None


def test_references_inside_the_schema_are_followed() -> None:
    schema = {"$defs": {"id": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/id"}}}
    assert [problem.field for problem in check_json(schema, {"a": "x"})] == ["a"]


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"enum": ["a", "b"]}, "c", 'must be one of "a", "b"'),
        ({"const": 1}, 2, "must be 1"),
        ({"minimum": 3}, 2, "must be at least 3"),
        ({"pattern": "^a"}, "b", "must match the pattern ^a"),
        ({"format": "date"}, "x", "must be a valid date"),
        ({"additionalProperties": False}, {"x": 1}, "has members that are not allowed: 'x'"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "does not match the rule `anyOf`"),
        ({"type": ["string", "null"]}, 1, "must be text or null, got a number"),
    ],
)
def test_rules_are_explained_in_plain_words(schema: dict[str, Any], value: Any, said: str) -> None:
    [problem] = check_json(schema, value)
    assert problem.message.startswith(said)


def test_a_bad_schema_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no JSON Schema"):
        check_json({"type": "strng"}, 1)
