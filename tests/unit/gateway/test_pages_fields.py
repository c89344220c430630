"""Forms of tasks: the field each schema becomes, what an answer is read as, and that nothing makes them fail."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import FieldProblem
from orchestrator.gateway.pages.fields import data_of, fields, flat, is_untouched, tell
from orchestrator.gateway.pages.language import Language
from orchestrator.gateway.pages.shown import answered, linked, shown
from orchestrator.gateway.pages.wrong import worded
from orchestrator.spec.inputs import check_json

SEOUL = ZoneInfo("Asia/Seoul")


def form(**schemas: Any) -> dict[str, Any]:
    return {"type": "object", "properties": schemas}


@pytest.mark.parametrize(
    ("schema", "kind", "attributes"),
    [
        ({"type": "string"}, "input", {"type": "text"}),
        ({"type": "string", "minLength": 2, "maxLength": 9}, "input", {"type": "text", "minlength": "2", "maxlength": "9"}),
        ({"type": "string", "maxLength": 201}, "long", {"type": "text", "maxlength": "201"}),
        ({"type": "string", "format": "textarea"}, "long", {"type": "text"}),
        ({"type": "string", "format": "date"}, "input", {"type": "date"}),
        ({"type": "string", "format": "date-time"}, "input", {"type": "datetime-local"}),
        ({"type": "string", "format": "email"}, "input", {"type": "email"}),
        ({"type": ["string", "null"]}, "input", {"type": "text"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "title": "T"}, "input", {"type": "text"}),
        ({"anyOf": [{"type": ["string", "integer"]}, {"type": "null"}]}, "json", {}),
        ({"type": "number", "minimum": 0.5}, "input", {"type": "number", "min": "0.5", "step": "any", "inputmode": "decimal"}),
        ({"type": "integer", "exclusiveMaximum": 5}, "input", {"type": "number", "max": "4", "step": "1", "inputmode": "numeric"}),
        ({"type": "boolean"}, "choice", {}),
        ({"enum": ["a", "b"]}, "choice", {}),
        ({"enum": list("abcdef")}, "select", {}),
        ({"oneOf": [{"const": 1, "title": "One"}, {"const": 2}]}, "choice", {}),
        ({"type": "array", "items": {"type": "string"}}, "lines", {}),
        ({"type": "array", "items": {"enum": ["a"]}}, "checks", {}),
        ({"type": "array", "items": {"type": "object"}}, "json", {}),
        ({"type": "array"}, "json", {}),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, "group", {}),
        ({"type": "object"}, "json", {}),
        ({"$ref": "#/$defs/x"}, "json", {}),
        ({"type": ["string", "integer"]}, "json", {}),
        (True, "json", {}),
    ],
)  # fmt: skip
def test_each_schema_has_its_field(schema: Any, kind: str, attributes: dict[str, str]) -> None:
    [field] = fields(form(f=schema), None, UTC)
    assert (field.kind, field.attributes) == (kind, attributes)


def test_a_group_that_may_be_left_out_has_no_field_that_must_be_filled_in() -> None:
    inner = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    optional = fields(form(g=inner), None, UTC)[0].members[0]
    needed = fields(form(g=inner) | {"required": ["g"]}, None, UTC)[0].members[0]
    assert (optional.required, needed.required) == (False, True)
    assert data_of(form(g=inner), {"data.g/a": ""}, UTC) == ({}, [])
    assert data_of(form(g=inner) | {"required": ["g"]}, {}, UTC) == ({"g": {}}, [])


@pytest.mark.parametrize(
    ("schema", "sent", "value"),
    [
        ({"type": "string"}, "a\r\nb", "a\nb"),
        ({"type": "integer"}, " 7 ", 7),
        ({"type": "number"}, "1e2", 100.0),
        ({"type": "number"}, "1,5", "1,5"),
        ({"type": "number"}, "true", "true"),
        ({"type": "boolean"}, "false", False),
        ({"enum": [1, "1"]}, "1", 1),
        ({"oneOf": [{"const": None, "title": "none"}, {"const": "x"}]}, "null", None),
        ({"type": "array", "items": {"type": "integer"}}, "1\r\n\r\n x ", [1, "x"]),
        ({"type": "array", "items": {"enum": ["a", 2]}}, "2", [2]),
        ({"type": "string", "format": "date-time"}, "2026-03-01T09:00", "2026-03-01T09:00:00+09:00"),
        ({"type": "string", "format": "date-time"}, "2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
        ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
    ],
)  # fmt: skip
def test_an_answer_is_read_as_its_schema_says_or_left_for_it_to_judge(schema: Any, sent: str, value: Any) -> None:
    assert data_of(form(f=schema), {"data.f": sent}, SEOUL) == ({"f": value}, [])


def test_a_default_moment_is_shown_for_the_zone_of_the_pages() -> None:
    [field] = fields(form(f={"type": "string", "format": "date-time", "default": "2026-03-01T00:30:00Z"}), None, SEOUL)
    assert field.value == "2026-03-01T09:30"


def test_what_was_typed_is_shown_again_and_not_the_default() -> None:
    schema = form(
        a={"type": "string", "default": "x"}, b={"type": "array", "items": {"enum": ["p", "q"]}, "default": ["p"]}
    )
    assert [one.value for one in fields(schema, None, UTC)] == ["x", ["p"]]
    assert [one.value for one in fields(schema, {"data.a": "y", "data.b": ["q", "p"]}, UTC)] == ["y", ["q", "p"]]
    assert [one.value for one in fields(schema, {}, UTC)] == ["", []]
    assert is_untouched(schema, {"data.a": "x"}, UTC) and not is_untouched(schema, {"data.a": "y"}, UTC)


def test_what_is_wrong_is_told_beside_the_deepest_field_it_is_about() -> None:
    asked = fields(
        form(
            a={"type": "object", "properties": {"b": {"type": "string"}}},
            ab={"type": "array", "items": {"type": "string"}},
        ),
        None,
        UTC,
    )
    problems = [FieldProblem(place, place) for place in ("a.b", "a", "ab[1]", "inputs", "abc")]
    assert tell(asked, problems) == ["inputs", "abc: abc"]
    assert {one.path: one.wrong for one in flat(asked)} == {"a": ["a"], "a.b": ["a.b"], "ab": ["[1]: ab[1]"]}


def test_no_two_fields_of_a_form_have_one_name() -> None:
    names = form(
        **{
            "a/b": {"type": "string"},
            "a": {"type": "object", "properties": {"b": {"type": "string"}}},
            "a~1b": {"type": "string"},
        }
    )
    keys = [(one.key, one.id) for one in flat(fields(names, None, UTC))]
    assert len({key for key, _ in keys}) == len({name for _, name in keys}) == len(keys) == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WORDS = ("type", "enum", "format", "items", "properties", "required", "default", "title", "minimum", "maxLength", "anyOf", "oneOf", "x-order", "description")  # fmt: skip
KINDS = st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null"])
SCHEMAS = st.recursive(
    st.dictionaries(st.sampled_from(WORDS), JSON | KINDS, max_size=4) | st.booleans(),
    lambda inner: st.fixed_dictionaries({"type": KINDS}, optional={"items": inner, "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2)}),
    max_leaves=4,
)  # fmt: skip
ANSWERS = st.dictionaries(
    st.sampled_from(["data", "data.a", "data.b", "data.a/b", "data.a/a"]),
    st.text(max_size=12) | st.lists(st.text(max_size=4), max_size=3) | st.sampled_from(["{", "[1]", "1e999", "2026-01-01T00:00"]) | JSON,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from("ab"), SCHEMAS, max_size=2), st.none() | ANSWERS, JSON)
def test_no_schema_and_no_answer_makes_a_form_fail(schemas: dict[str, Any], sent: Any, required: Any) -> None:
    asked = form(**schemas) | {"required": required}
    assert all(isinstance(one.value, str | list) for one in flat(fields(asked, sent, SEOUL)))
    data, _ = data_of(asked, sent or {}, SEOUL)
    json.dumps(data)
    is_untouched(asked, sent or {}, SEOUL)
    answered(data, asked)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("see https://a.example/x?y=1&z=2.", 'see <a href="https://a.example/x?y=1&amp;z=2" rel="noopener noreferrer nofollow external">https://a.example/x?y=1&amp;z=2</a>.'),
        ("(https://a.example/b_(c))", '(<a href="https://a.example/b_(c)" rel="noopener noreferrer nofollow external">https://a.example/b_(c)</a>)'),
        ("javascript:alert(1) data:text/html,x ftp://a", "javascript:alert(1) data:text/html,x ftp://a"),
        ("<a href=\"https://a.example/\" onclick='x'>", '&lt;a href=&#34;<a href="https://a.example/" rel="noopener noreferrer nofollow external">https://a.example/</a>&#34; onclick=&#39;x&#39;&gt;'),
        ("{0} {x} https://", "{0} {x} https://"),
    ],
)  # fmt: skip
def test_addresses_of_the_web_become_links_and_nothing_else_does(text: str, page: str) -> None:
    assert str(linked(text)) == page


@given(st.text(alphabet="<>\"&'/:.()htps ", max_size=60))
def test_no_text_becomes_more_than_text_and_links(text: str) -> None:
    page = str(linked(text))
    assert page.count("<") == 2 * page.count("<a href=") and "<" not in page.replace("<a href=", "").replace("</a>", "")


def test_large_values_are_cut_and_say_by_how_much() -> None:
    assert shown("x" * 20_500).cut == 500
    assert shown({"a": 1, "b": [1, "two"], "c": None}).facts == [("a", "1"), ("b", "1, two"), ("c", "null")]
    assert shown({"a": {"b": 1}}).facts == []
    assert answered({"b": 1, "a": 2, "c": 3}, form(a={"title": "A"}, b={})).facts == [
        ("A", "2"),
        ("b", "1"),
        ("c", "3"),
    ]


@pytest.mark.parametrize(
    ("schema", "value", "korean"),
    [
        ({"required": ["a"]}, {}, "꼭 답해 주세요"),
        (form(a={"type": "integer"}), {"a": "x"}, "정수 형식이어야 합니다"),
        (form(a={"enum": ["x", 1]}), {"a": 2}, '다음 중에서 골라 주세요: "x", 1'),
        (form(a={"minimum": 3}), {"a": 2}, "3 이상이어야 합니다"),
        (form(a={"exclusiveMaximum": 3}), {"a": 3}, "3보다 작아야 합니다"),
        (form(a={"minLength": 3}), {"a": "x"}, "3자 이상이어야 합니다"),
        (form(a={"maxItems": 1}), {"a": [1, 2]}, "1개 이하여야 합니다"),
        (form(a={"format": "date"}), {"a": "x"}, "올바른 date 형식이 아닙니다"),
        (form(a={"pattern": "^a"}), {"a": "x"}, "다음 형식이어야 합니다: ^a"),
        (form(a={"uniqueItems": True}), {"a": [1, 1]}, "같은 값이 두 번 들어 있습니다"),
        (form(a={"not": {}}), {"a": 1}, None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_the_readers_language(schema: Any, value: Any, korean: str | None) -> None:
    [problem] = check_json(schema, value)
    assert worded(Language("ko"), problem.message) == (korean or problem.message)
