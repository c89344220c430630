"""What every helper gives, and what it says to an argument it cannot use."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.expressions import HELPERS, ExpressionError

from .conftest import Evaluate

SCOPE: dict[str, Any] = {
    "rows": [
        {"k": "b", "n": 2, "ok": True},
        {"k": "a", "n": 1, "ok": False},
        {"k": "c", "n": 2},
    ],
    "o": {"x": 1, "y": None},
    "t": "2026-03-01T00:30:00+09:00",
}

RESULTS: list[tuple[str, Any]] = [
    ("'a' | default('b')", "a"),
    ("'héllo' | length", 5),
    ("rows | length", 3),
    ("o | length", 2),
    ("[1, 2] | first", 1),
    ("[] | first", None),
    ("'xyz' | last", "z"),
    ("[1, 'a', none, true] | join('-')", "1-a--true"),
    ("['a', 'b'] | join", "ab"),
    ("[] | join(',')", ""),
    ("'a,b,,c' | split(',')", ["a", "b", "", "c"]),
    ("' a  b ' | split", ["a", "b"]),
    ("'ÀÉ' | lower", "àé"),
    ("'straße' | upper", "STRASSE"),
    ("'  x ' | trim", "x"),
    ("'--x-' | trim('-')", "x"),
    ('"it\'s a dog" | title', "It's A Dog"),
    ("'a.b.c' | replace('.', '')", "abc"),
    ("'abc' | startswith('ab')", True),
    ("'abc' | endswith('ab')", False),
    ("'abc' | contains('b')", True),
    ("[1, 2] | contains(2.0)", True),
    ("o | contains('y')", True),
    ("'hello world' | truncate(6)", "hello…"),
    ("'hello' | truncate(5)", "hello"),
    ("'hello' | truncate(4, '...')", "h..."),
    ("'hello' | truncate(0)", ""),
    ("'hello' | slice(1, 3)", "el"),
    ("[1, 2, 3] | slice(-2)", [2, 3]),
    ("1.50 | string", "1.5"),
    ("o | string", '{"x": 1, "y": null}'),
    ("o | tojson", '{"x": 1, "y": null}'),
    ("'a\"é' | tojson", '"a\\"é"'),
    ("'{\"a\": [1, 2.5, null]}' | fromjson", {"a": [1, 2.5, None]}),
    ("2.5 | round", 3),
    ("-2.5 | round", -3),
    ("2.675 | round(2)", 2.68),
    ("1234 | round(-2)", 1200),
    ("7 | round(2)", 7),
    ("1e300 | round(2)", 1e300),
    ("-3 | abs", 3),
    ("' 42 ' | int", 42),
    ("-3.9 | int", -3),
    ("'4.20' | float", 4.2),
    ("'-1e3' | float", -1000.0),
    ("2 | float", 2.0),
    ("'TRUE' | bool", True),
    ("false | bool", False),
    ("[1, 2.5] | sum", 3.5),
    ("[] | sum", 0),
    ("rows | sum('n')", 5),
    ("[3, 1, 2] | min", 1),
    ("max(3, 5, 4)", 5),
    ("['b', 'a'] | max", "b"),
    ("rows | max('n')", {"k": "b", "n": 2, "ok": True}),
    ("(rows | min('k')).n", 1),
    ("[3, 1, 2] | sort", [1, 2, 3]),
    ("['b', 'a', 'B'] | sort", ["B", "a", "b"]),
    ("rows | sort('n') | map('k')", ["a", "b", "c"]),
    ("[2, 1, 2.0, true, '1', none, [1], [1.0], {'a': 1}, {'a': 1}] | unique", [2, 1, True, "1", None, [1], {"a": 1}]),
    ("rows | unique('n') | map('k')", ["b", "a"]),
    ("[1, 2] | reverse", [2, 1]),
    ("'abc' | reverse", "cba"),
    ("rows | map('ok', none)", [True, False, None]),
    ("rows | select('ok') | map('k')", ["b"]),
    ("rows | select('n', 2) | map('k')", ["b", "c"]),
    ("rows | reject('ok') | map('k')", ["a", "c"]),
    ("rows | reject('n', 2) | map('k')", ["a"]),
    ("o | keys", ["x", "y"]),
    ("o | values", [1, None]),
    ("o | items", [{"key": "x", "value": 1}, {"key": "y", "value": None}]),
    ("o | merge({'y': 2, 'z': 3})", {"x": 1, "y": 2, "z": 3}),
    ("[[1], 2, [[3]]] | flatten", [1, 2, [3]]),
    ("range(3)", [0, 1, 2]),
    ("range(1, 3)", [1, 2]),
    ("range(3, 0, -2)", [3, 1]),
    ("range(3, 0)", []),
    ("date(t)", "2026-02-28T15:30:00.000Z"),
    ("date('2026-03-01', 'Asia/Seoul')", "2026-02-28T15:00:00.000Z"),
    ("date('2026-03-01T12:00:00.123456Z')", "2026-03-01T12:00:00.123Z"),
    ("date(1700000000)", "2023-11-14T22:13:20.000Z"),
    ("date(-0.5)", "1969-12-31T23:59:59.500Z"),
    ("t | date_add('1h30m')", "2026-02-28T17:00:00.000Z"),
    ("t | date_add('-1d')", "2026-02-27T15:30:00.000Z"),
    ("t | date_add('P1DT1H')", "2026-03-01T16:30:00.000Z"),
    ("t | date_add('500ms')", "2026-02-28T15:30:00.500Z"),
    ("t | date_add(60)", "2026-02-28T15:31:00.000Z"),
    ("date_diff('2026-03-01T00:00:01Z', '2026-03-01T00:00:00Z')", 1),
    ("date_diff('2026-03-01T00:00:00Z', '2026-03-01T00:00:00.25Z')", -0.25),
    ("date_format(t, '%Y-%m-%d %H:%M:%S %Z')", "2026-02-28 15:30:00 UTC"),
    (
        "date_format(t, '%-d/%-m/%y %-I:%M %p, %A %B %j %u %L%%', 'Asia/Seoul')",
        "1/3/26 12:30 AM, Sunday March 060 7 000%",
    ),
    ("date_format(t, '%a %b %z %s %V', 'America/New_York')", "Sat Feb -05:00 1772292600 09"),
    ("now()", "2026-03-01T09:30:05.678Z"),
    ("uuid()", "id-1"),
    ("'abc' | sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("'é' | base64encode", "w6k="),
    ("'w6k=' | base64decode", "é"),
    ("'w6k' | base64decode", "é"),
    ("'a b/é?' | urlencode", "a%20b%2F%C3%A9%3F"),
    ("{'a b': 1, 'c': none} | urlencode", "a%20b=1&c="),
    ("'ABC-12' | regex_match('[A-Z]+-\\d+')", True),
    ("'xABC-12' | regex_match('[A-Z]+-\\d+')", False),
    ("'order 42 of 7' | regex_search('\\d+')", "42"),
    ("'order 42' | regex_search('order (\\d+)')", "42"),
    ("'none' | regex_search('\\d+')", None),
    ("'주문 42번' | regex_search('\\d+번')", "42번"),
    ("'a1b22' | regex_replace('(\\d+)', '<\\1>')", "a<1>b<22>"),
    ("'aXbX' | regex_replace('(?i)x', '')", "ab"),
    ("'ab' | regex_replace('', '-')", "-a-b-"),
    ("'a.b' | regex_replace('\\.', '\\\\\\\\')", "a\\b"),
    ("'ab' | regex_replace('(a)|(b)', '[\\1\\2\\0]')", "[aa][bb]"),
]


@pytest.mark.parametrize(("source", "expected"), RESULTS)
def test_a_helper_gives(evaluate: Evaluate, source: str, expected: Any) -> None:
    value = evaluate(source, SCOPE)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 | length", "`length` needs text, a list or an object, not the number 1"),
        ("none | length", "write `x | default([], true) | length`"),
        ("1 | upper", "`upper` needs text, not the number 1; write `x | string` first"),
        ("none | upper", "write `x | default('', true)`"),
        ("'abc' | join", "`join` needs a list, not the text 'abc'"),
        ("o | map('x')", "write `x | values` or `x | items`"),
        ("'a' | split('')", "a separator of at least one character"),
        ("'a' | replace('', 'b')", "an old text of at least one character"),
        ("'12a' | int", "the text '12a' is not a whole number"),
        ("'1.5' | int", "`float` reads fractions"),
        ("true | int", "`int` needs a number, not true"),
        ("'abc' | float", "is not a number"),
        ("'nan' | float", "is not a number"),
        ("'1_0' | int", "is not a whole number"),
        ("'yes' | bool", "`bool` reads 'true' and 'false'"),
        ("['a'] | sum", "`sum` needs a number, not the text 'a'"),
        ("[] | max", "`max` of an empty list"),
        ("[1, 'a'] | sort", "`sort` compares two numbers or two texts"),
        ("[true] | sort", "`sort` compares two numbers or two texts"),
        ("rows | map('ok')", "`map`: element 2 has no member 'ok'"),
        ("rows | map(1)", "`map` names a member by text"),
        ("[1] | merge({})", "`merge` needs an object, not a list of 1"),
        ("range(1, 5, 0)", "a step that is not 0"),
        ("range(1.5)", "`range` needs a whole number, not the number 1.5"),
        ("1 | round(99)", "a whole number from -15 to 15"),
        ("date('2026-03-01T00:00:00')", "has no zone; end it with Z or +09:00"),
        ("date('soon')", "`date` reads ISO-8601"),
        ("date(1e300)", "outside the years 1 to 9999"),
        ("date('0001-01-01T00:00:00+09:00')", "outside the years 1 to 9999"),
        ("date('2026-01-01', '../etc/passwd')", "is not a time zone"),
        ("date('2026-01-01', 'Mars/Base')", "'Mars/Base' is not a time zone"),
        ("t | date_add('soon')", "is not a duration"),
        ("t | date_add('1month')", "is not a duration"),
        ("t | date_add('999999999999w')", "outside the years 1 to 9999"),
        ("date_format(t, '%Q')", "`date_format` does not know %Q"),
        ("date_format(t, '%')", "`date_format` does not know %"),
        ("'{a}' | fromjson", "the text is not JSON"),
        ("'NaN' | fromjson", "NaN is not JSON"),
        ("'' | fromjson", "the text is not JSON"),
        ("'*' | base64decode", "the text is not Base64"),
        ("'/w==' | base64decode", "the bytes are not text"),
        ("'a' | regex_match('(')", "the pattern is refused"),
        ("'a' | regex_match('(?=a)')", "look-around and backreferences are not available"),
        ("'a' | regex_match('(a)\\1')", "look-around and backreferences are not available"),
        ("'a' | regex_replace('a', '\\1')", "names a group that the pattern does not have"),
        ("1 | sha256", "`sha256` needs text"),
    ],
)
def test_a_helper_refuses_what_it_cannot_use(evaluate: Evaluate, source: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, SCOPE)
    assert message in str(caught.value)


@pytest.mark.parametrize("helper", HELPERS.values(), ids=list(HELPERS))
def test_every_helper_is_documented_and_tested(helper: Any) -> None:
    assert helper.doc
    assert helper.doc.endswith(".")
    assert re.fullmatch(r"([a-z]+ \| )?[a-z0-9_]+(\([a-z, _]*\))?", helper.usage), helper.usage
    assert any(re.search(rf"\b{helper.name}\b", source) for source, _ in RESULTS)


def test_half_a_character_in_data_is_an_error_not_a_crash(evaluate: Evaluate) -> None:
    for source in ("x | sha256", "x | urlencode", "x | base64encode", "x | regex_match('a')"):
        with pytest.raises(ExpressionError, match="half a character"):
            evaluate(source, {"x": "\ud800"})


def test_date_helpers_write_one_width_so_that_text_order_is_time_order(evaluate: Evaluate) -> None:
    moments = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z", "2026-01-01T09:00:01+09:00", "0999-01-01T00:00:00Z"]
    written = [evaluate("date(x)", {"x": moment}) for moment in moments]
    assert {len(text) for text in written} == {24}
    assert sorted(written) == [written[3], written[0], written[1], written[2]]
