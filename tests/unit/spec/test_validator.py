"""Schemas are checked in bounded time, whatever their patterns and however large the value."""

from __future__ import annotations

import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.inputs import check_json, check_schema

HOSTILE = "^(a+)+$"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": HOSTILE}, "a" * 50_000 + "!"),
        ({"pattern": r"^(([a-z])+.)+[A-Z]([a-z])+$"}, "a" * 50_000),
        ({"patternProperties": {HOSTILE: {"type": "string"}}, "additionalProperties": False}, {"a" * 50_000 + "!": 1}),
        ({"additionalProperties": {"pattern": HOSTILE}}, {"x": "a" * 50_000 + "!"}),
        ({"pattern": "(.{1,500}){1,2}x"}, "a" * 1_000_000),
        ({"uniqueItems": True}, [{"n": [n, {"deep": n}]} for n in range(20_000)] + [{"n": [1, {"deep": 1.0}]}]),
    ],
)
def test_hostile_patterns_and_long_lists_are_judged_at_once(schema: dict[str, Any], value: Any) -> None:
    # Of this thread alone: a hostile form would take minutes, and a busy machine takes its own time.
    began = time.thread_time()
    assert check_json(schema, value)
    assert time.thread_time() - began < 5


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "missing )"),
        ("(?=a)b", "look-around and backreferences are not available"),
        (r"(a)\1", "look-around and backreferences are not available"),
        ("a{1,5000}", "use minLength and maxLength"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_the_reason(pattern: str, why: str) -> None:
    schemas: list[dict[str, Any]] = [{"pattern": pattern}, {"patternProperties": {pattern: {}}}]
    for schema in schemas:
        found = check_schema(schema)
        assert found is not None
        assert found[1].startswith("must be a valid regex") and why in found[1]


def test_words_that_only_a_slow_engine_could_answer_are_refused_together() -> None:
    found = check_schema({"allOf": [{"patternProperties": {"^a": {}}}], "unevaluatedProperties": False})
    assert found is not None and "use `additionalProperties`" in found[1]


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"pattern": "b"}, "abc", True),
        ({"pattern": r"^\p{L}+$"}, "주문", True),
        ({"pattern": r"^[^\s@]+@[^\s@]+$"}, "kim@example.com", True),
        ({"pattern": "^a"}, 7, True),
        ({"pattern": "a"}, "\ud800", False),
        ({"patternProperties": {"^x-": {"type": "integer"}}}, {"x-a": "1"}, False),
        ({"patternProperties": {"^x-": {}}, "additionalProperties": False}, {"x-a": 1}, True),
        (
            {"patternProperties": {"^x-": {}}, "properties": {"b": {}}, "additionalProperties": False},
            {"b": 1, "c": 1},
            False,
        ),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1, "b": "2"}, False),
        ({"format": "regex"}, "(?=a)", False),
    ],
)
def test_patterns_mean_what_json_schema_says(schema: dict[str, Any], value: Any, fits: bool) -> None:
    assert (check_json(schema, value) == []) is fits


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5]) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)


@given(st.lists(JSON, max_size=5))
def test_items_are_the_same_exactly_where_jsonschema_says_so(items: list[Any]) -> None:
    schema = {"uniqueItems": True}
    assert (check_json(schema, items) == []) == jsonschema.Draft202012Validator(schema).is_valid(items)
