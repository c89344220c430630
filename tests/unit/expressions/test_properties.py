"""Promises about every input: nothing but ExpressionError, types kept, counters that only rise."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.expressions import (
    HELPERS,
    ExpressionError,
    Json,
    Names,
    compile_expression,
    compile_value,
    fill_late,
)

from .conftest import fixed_meter

_TEXT = st.text(max_size=20)
_SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT
)
_JSON = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4))

_WORDS = [
    *[
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "~",
        "<",
        "<=",
        ">",
        ">=",
        "==",
        "!=",
        "|",
        ".",
        ",",
        ":",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "{{",
        "}}",
        "{%",
        "'",
        '"',
        "\\",
    ],
    *[
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "defined",
        "none",
        "true",
        "false",
        "null",
        "steps.",
        "inputs.",
        "secrets.",
        "x",
        "y",
        "steps.a-b",
        "x.k",
        "x[0]",
    ],
    *("1", "0", "2.5", "9223372036854775807", "1e308", "''", "'a'", "'5m'", "'2026-01-01T00:00:00Z'", "[]", "{}"),
    *HELPERS,
    *(f"| {name}" for name in HELPERS),
    *(f"{name}(x, y)" for name in HELPERS),
]
_SOUP = st.lists(st.sampled_from(_WORDS), max_size=14).map(" ".join)
_ARGUMENTS = st.lists(st.sampled_from(["x", "y", "z", "'a'", "1", "none"]), min_size=1, max_size=3).map(", ".join)
_CALLS = st.tuples(st.sampled_from(sorted(HELPERS)), _ARGUMENTS).map(lambda call: f"{call[0]}({call[1]})")
_NAMES = Names(steps=frozenset({"a", "a-b"}), inputs=frozenset({"n"}))


def outcome(source: str, scope: dict[str, Any]) -> Json:
    """The value or the message; anything but ExpressionError is a failed test."""
    meter = fixed_meter()
    try:
        value = compile_expression(source, _NAMES).evaluate(scope, meter)
    except ExpressionError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 700
        return str(error)
    finally:
        assert 0 <= meter.spent <= meter.limit
    json.dumps(value, allow_nan=False)
    return value


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_an_error_that_teaches(source: str) -> None:
    outcome(source, {})


@given(_SOUP, _JSON, _JSON)
def test_any_mixture_of_words_gives_a_json_value_or_an_error(source: str, x: Json, y: Json) -> None:
    outcome(source, {"x": x, "y": y, "steps": {"a": {"output": x}}, "inputs": {"n": y}})


@given(_CALLS, _JSON, _JSON, _JSON)
def test_every_helper_takes_any_value_or_refuses_it(source: str, x: Json, y: Json, z: Json) -> None:
    outcome(source, {"x": x, "y": y, "z": z})


@given(
    st.sampled_from(["+", "-", "*", "/", "//", "%", "~", "<", "<=", ">", ">=", "==", "!=", "in", "and", "or"]),
    _JSON,
    _JSON,
)
def test_every_operator_takes_any_two_values_or_refuses_them(sign: str, x: Json, y: Json) -> None:
    outcome(f"x {sign} y", {"x": x, "y": y})


@given(st.text(max_size=40) | _SOUP.map(lambda text: f"a {{{{ {text} }}}} b"))
def test_any_text_is_a_template_or_an_error(text: str) -> None:
    meter = fixed_meter()
    try:
        rendered = compile_value({"k": [text]}, _NAMES).render({"x": 1, "y": "text"}, meter)
        fill_late(rendered.value, rendered.late, lambda name: name)
    except ExpressionError as error:
        assert len(str(error)) < 700
    assert meter.spent >= 0


@given(_JSON)
def test_one_template_keeps_any_json_value_as_it_is(value: Json) -> None:
    rendered = compile_value({"a": ["{{ inputs.x }}"]}, Names()).render({"inputs": {"x": value}}, fixed_meter()).value
    assert json.dumps(rendered["a"][0]) == json.dumps(value)


@given(_JSON)
def test_json_text_and_back_is_the_same_value(value: Json) -> None:
    again = compile_expression("x | tojson | fromjson", Names()).evaluate({"x": value}, fixed_meter())
    assert json.dumps(again) == json.dumps(value)


@given(_TEXT)
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert compile_value("{{ x }}", Names()).render({"x": text}, fixed_meter()).value == text
    assert compile_value("<{{ x }}>", Names()).render({"x": text}, fixed_meter()).value == f"<{text}>"


@given(_TEXT)
def test_a_text_in_quotes_means_itself(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    assert compile_value(f"{{{{ '{escaped}' }}}}", Names()).render({}, fixed_meter()).value == text


@given(_JSON, _JSON)
def test_equality_is_that_of_json_and_symmetric(x: Json, y: Json) -> None:
    same = compile_expression("x == y", Names())
    meter = fixed_meter()
    assert same.evaluate({"x": x, "y": x}, meter) is True
    assert same.evaluate({"x": x, "y": y}, meter) == same.evaluate({"x": y, "y": x}, meter)


@given(st.lists(_SOUP, max_size=5))
def test_spent_never_falls(sources: list[str]) -> None:
    meter = fixed_meter(limit=20)
    spent = 0
    for source in sources:
        try:
            compile_expression(source, _NAMES).evaluate({"x": list(range(30)), "y": "text"}, meter)
        except ExpressionError:
            pass
        finally:
            assert meter.spent >= spent
            spent = meter.spent


@given(st.dictionaries(st.sampled_from(["a", "b", "c-d"]), _JSON, max_size=3), _TEXT)
def test_late_names_are_never_read_from_data(data: dict[str, Json], text: str) -> None:
    hostile = {"x": data, "t": text + "{{ secrets.STOLEN }}"}
    rendered = compile_value({"a": "{{ x }}", "b": "{{ t }}/{{ secrets.OWN }}", "c": "{{ t }}"}, Names()).render(
        hostile, fixed_meter()
    )
    asked: list[str] = []
    fill_late(rendered.value, rendered.late, lambda name: asked.append(name) or "s")  # type: ignore[func-returns-value]
    assert asked == ["secrets.OWN"]
