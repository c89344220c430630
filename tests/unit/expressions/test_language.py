"""What expressions mean: literals, operators, precedence, strict types."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.expressions import ExpressionError, Meter, compile_expression
from orchestrator.expressions import Names as DeclaredNames

from .conftest import Evaluate

SCOPE: dict[str, Any] = {
    "trigger": {
        "body": {
            "tags": ["a", "b", "c"],
            "items": "the key",
            "keys": {"get": 1},
            "none": None,
            "detail-type": "order",
            "rows": [{"n": 1}, {"n": 2}],
        }
    },
    "item": 7,
}

VALUES: list[tuple[str, Any]] = [
    ("1", 1),
    ("1.5", 1.5),
    ("2e3", 2000.0),
    ("-3", -3),
    ("--3", 3),
    ("true", True),
    ("false", False),
    ("none", None),
    ("'its'", "its"),
    (r"'it\'s'", "it's"),
    (r'"say \"so\""', 'say "so"'),
    (r"'a\nb\tc\\d'", "a\nb\tc\\d"),
    (r"'\d+\.'", r"\d+\."),
    (r"'\u00e9\ud83d\ude00'", "é😀"),
    ("[1, 'a', [none],]", [1, "a", [None]]),
    ("{'a': 1, \"b\": {'c': []},}", {"a": 1, "b": {"c": []}}),
    ("[]", []),
    ("{}", {}),
    # members: data keys are never methods
    ("trigger.body.items", "the key"),
    ("trigger.body.keys.get", 1),
    ("trigger.body['detail-type']", "order"),
    ("trigger.body.tags[0]", "a"),
    ("trigger.body.tags[-1]", "c"),
    ("trigger.body.tags[1:]", ["b", "c"]),
    ("trigger.body.tags[:-1]", ["a", "b"]),
    ("'hello'[1:3]", "el"),
    ("trigger.body.tags[item - 6]", "b"),
    ("trigger.body['ta' ~ 'gs'][0]", "a"),
    ("trigger.body.rows[1].n", 2),
    ("(trigger.body.rows | last).n", 2),
    ("trigger.body.rows[-1]['n']", 2),
    # arithmetic
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("10 - 4 - 3", 3),
    ("7 / 2", 3.5),
    ("4 / 2", 2.0),
    ("7 // 2", 3),
    ("-7 // 2", -4),
    ("-7 % 3", 2),
    ("1 + 0.5", 1.5),
    ("'a' + 'b'", "ab"),
    ("[1] + [2]", [1, 2]),
    ("item-1", 6),
    # text
    ("'n=' ~ 1 + 1", "n=2"),
    ("'a' ~ none ~ true ~ 1.0 ~ ['é']", 'atrue1.0["é"]'),
    # comparisons
    ("1 == 1.0", True),
    ("1 == true", False),
    ("0 == false", False),
    ("'1' == 1", False),
    ("none == false", False),
    ("[1, {'a': 2}] == [1.0, {'a': 2.0}]", True),
    ("[1] == [true]", False),
    ("{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", True),
    ("{'a': 1} == {'a': 1, 'b': 2}", False),
    ("1 != 2", True),
    ("1 < 2 <= 2 < 3", True),
    ("1 < 2 < 2", False),
    ("3 > 2 >= 2", True),
    ("'a' < 'b'", True),
    ("date('2026-01-01T00:00:00.5Z') > date('2026-01-01T09:00:00+09:00')", True),
    ("'b' in trigger.body.tags", True),
    ("1 in [true, 1.0]", True),
    ("1 in [true, '1']", False),
    ("'el' in 'hello'", True),
    ("'get' in trigger.body.keys", True),
    ("'z' not in trigger.body.tags", True),
    # logic
    ("true and false or true", True),
    ("not false and false", False),
    ("not (false and false)", True),
    ("not 1 == 2", True),
    ("false and 1 / 0 == 1", False),
    ("true or nothing.here", True),
    ("1 if item > 5 else 2", 1),
    ("1 if false else 2 if false else 3", 3),
    ("1 if true else 1 / 0", 1),
    # tests
    ("trigger.body.none is none", True),
    ("trigger.body.none is not none", False),
    ("trigger.body.nope is defined", False),
    ("trigger.body.none is defined", True),
    ("trigger.body.nope.deeper is not defined", True),
    ("nothing is defined", False),
    ("trigger.body.tags[9] is defined", False),
    ("'x' is text and 1 is number and true is boolean and [] is list and {} is object", True),
    ("true is number", False),
    # filters bind to the value before them
    ("trigger.body.tags | length > 2", True),
    ("1 + trigger.body.tags | length", 4),
    ("-5 | abs", 5),
    ("trigger.body.tags | first | upper", "A"),
    ("trigger.body.nope | default('x') | upper", "X"),
    # braces are parentheses in an expression field
    ("{{ item }} > 5", True),
    ("{{ item - 6 }} * {{ 1 + 1 }}", 2),
    ("{{ item }}", 7),
    ("{{ {'a': {'b': 1}} }} == {'a': {'b': 1}}", True),
    ("{{ 'a }} b' }} == 'a }} b'", True),
    ("{{ '{{' }} == '{{'", True),
]


@pytest.mark.parametrize(("source", "expected"), VALUES)
def test_an_expression_has_this_value(evaluate: Evaluate, source: str, expected: Any) -> None:
    value = evaluate(source, SCOPE)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("'1' + 2", "`+` needs two numbers, not the text '1' and the number 2; write `~`"),
        ("true + 1", "`+` needs two numbers, not true and the number 1"),
        ("none - 1", "write `x | default(0, true)`"),
        ("'a' * 3", "`*` needs two numbers"),
        ("[0] * 3", "`*` needs two numbers, not a list of 1"),
        ("'%d' % 3", "`%` needs two numbers"),
        ("{'a': 1} + {'b': 1}", "write `a | merge(b)`"),
        ("-'a'", "`-` needs a number, not the text 'a'"),
        ("1 < 'a'", "`<` compares two numbers or two texts"),
        ("true < 2", "`<` compares two numbers or two texts, not true and the number 2"),
        ("none > 2", "none has no order"),
        ("[1] < [2]", "`<` compares two numbers or two texts, not a list of 1 and a list of 1"),
        ("1 in 'abc'", "only text can be in text"),
        ("1 in 5", "`in` looks into text, a list or an object, not the number 5"),
        ("1 and true", "`and` needs true or false, not the number 1"),
        ("'' or 'x'", "`or` needs true or false, not the text ''; for a fallback write `x | default(y)`"),
        ("not 'x'", "`not` needs true or false"),
        ("1 if 'x' else 2", "`if` needs true or false"),
        ("1 / 0", "`/` divides by zero"),
        ("1 % 0", "`%` divides by zero"),
        ("[1][true]", "a member is named by text or a whole number, not by true"),
        ("[1]['0':]", "a slice is cut at whole numbers"),
        ("5[1:]", "only text and lists can be sliced, not a number"),
    ],
)
def test_types_never_mix_by_themselves(evaluate: Evaluate, source: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, SCOPE)
    assert message in str(caught.value)


@pytest.mark.parametrize("source", ["1", "'true'", "none", "[]", "trigger.body.tags"])
def test_a_condition_that_is_neither_true_nor_false_is_an_error(source: str, meter: Meter) -> None:
    with pytest.raises(ExpressionError, match="a condition must be true or false"):
        compile_expression(source, DeclaredNames()).evaluate_bool(SCOPE, meter)


def test_an_error_points_at_the_character_and_shows_no_whole_value(evaluate: Evaluate) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate("1 < 2 and x + 'a' <= 3", {"x": "secret " * 1000})
    assert caught.value.offset == "1 < 2 and x + 'a' <= 3".index("<=")
    assert "character 19" in str(caught.value)
    with pytest.raises(ExpressionError) as caught:
        evaluate("1 + x", {"x": "long " * 1000})
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_compiled_expression_is_shared_within_the_process() -> None:
    names = DeclaredNames(steps=frozenset({"a"}))
    again = DeclaredNames(steps=frozenset({"a"}))
    assert compile_expression("steps.a.output > 1", names) is compile_expression("steps.a.output > 1", again)
