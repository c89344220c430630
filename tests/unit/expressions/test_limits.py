"""Attacks, each refused by a counted limit that its message names, and what the meter counts."""

from __future__ import annotations

import time
from typing import Any

import pytest

from orchestrator.expressions import ExpressionError, Meter, Names, compile_expression, compile_value

from .conftest import fixed_meter

MEGABYTE = "a" * 1_000_000
DEEP: Any = 1
for _ in range(5_000):
    DEEP = [DEEP]
SCOPE: dict[str, Any] = {
    "big": MEGABYTE,
    "words": "a " * 500_000,
    "list": list(range(40_000)),
    "texts": [MEGABYTE] * 40,
    "same": [MEGABYTE[:1000] + str(n) for n in range(9_000)],
    "lists": [list(range(2_000))] * 40,
    "nested": [[n] for n in range(5_000)],
    "deep": DEEP,
    "huge": 10**4_000,
    "hugest": 10**100_000,
    "objects": [{f"k{n}": n for n in range(1_000)} for _ in range(60)],
}

ATTACKS: list[tuple[str, str]] = [
    ("(" * 5_000 + "1" + ")" * 5_000, "64 levels"),
    ("[" * 5_000 + "]" * 5_000, "64 levels"),
    ("{'a':" * 2_000 + "1" + "}" * 2_000, "64 levels"),
    ("not " * 3_000 + "true", "64 levels"),
    ("-" * 10_000 + "big", "64 levels"),
    ("1 if true else " * 1_000 + "1", "64 levels"),
    ("big" + " | upper" * 1_500, "64 levels"),
    ("big" + "[list]" * 1_500, "64 levels"),
    ("max(" * 2_000 + "1" + ")" * 2_000, "64 levels"),
    ("1" + " + 1" * 10_000, "16,384 characters"),
    ("'" + MEGABYTE + "'", "16,384 characters"),
    ("9**9**9", "there is no `**`"),
    ("9223372036854775807 * 9223372036854775807", "±2**63"),
    ("9223372036854775807 + 9223372036854775807", "±2**63"),
    (" * ".join(["9999999999"] * 1_000), "±2**63"),
    ("1e308 * 1e308", "finite numbers"),
    ("huge * huge", "±2**63"),
    ("huge + 1.5", "±2**63"),
    ("huge // 3", "±2**63"),
    ("-huge", "±2**63"),
    ("hugest | string", "number that JSON cannot write"),
    ("'a' * 10000000000", "`*` needs two numbers"),
    ("[0] * 10000000000", "`*` needs two numbers"),
    ("'%1000000000d' % 1", "`%` needs two numbers"),
    ("big ~ big", "1,048,576 characters"),
    ("big + big", "1,048,576 characters"),
    (" ~ ".join(["big"] * 2_000), "50,000 operations"),
    ("texts | join", "50,000 operations"),
    ("texts | slice(0, 3) | join", "1,048,576 characters"),
    ("list | join(big)", "1,048,576 characters"),
    ("big | replace('a', big)", "1,048,576 characters"),
    ("big | replace('a', 'bb')", "1,048,576 characters"),
    ("big | split('a')", "50,000 operations"),
    ("words | split", "50,000 operations"),
    ("words | title", "50,000 operations"),
    ("big | urlencode", "for `urlencode`"),
    ("big | truncate(3) | replace('a', big) | upper", "1,048,576 characters"),
    ("range(10000000000)", "50,000 operations"),
    ("range(0, -9000000000000000000, -1)", "50,000 operations"),
    ("range(49000) | map('x', 1)", "50,000 operations"),
    ("list | sort", "50,000 operations"),
    ("same | sort", "50,000 operations"),
    ("nested | unique", "50,000 operations"),
    ("lists | flatten", "50,000 operations"),
    ("objects | map('k1', 1) == objects | map('k1', 1) and objects == objects and objects == objects", "50,000"),
    ("texts", "2,097,152 bytes"),
    ("[" + ",".join(["big"] * 3_000) + "]", "2,097,152 bytes"),
    ("[" + ",".join(["list"] * 1_000) + "]", "2,097,152 bytes"),
    ("texts | tojson", "2,097,152 bytes"),
    ("deep", "100 levels"),
    ("deep == [deep]", "100 levels"),
    ("deep | tojson", "100 levels"),
    ("deep ~ ''", "100 levels"),
    ("big | slice(0, 99999) | replace('a', '[') | fromjson", "the limit of nesting in data"),
    ("big | slice(0, 9999) | replace('a', '9') | fromjson", "too long"),
    ("big | regex_search('(a+)+$')", "50,000 operations"),
    ("big | regex_match('(a|aa)+b')", "50,000 operations"),
    ("big[0:100000] | regex_match('(?:a?){300}a{300}')", "50,000 operations"),
    ("big | regex_replace('', 'x')", "50,000 operations"),
    ("big[0:60000] | regex_replace('a.*z|a', '')", "50,000 operations"),
    ("big[0:100000] | regex_replace('a', big)", "1,048,576 characters"),
    ("'a' | regex_match('((a{30}){30}){30}')", "the pattern is refused"),
    ("'a' | regex_match('[\\pL]{900}')", "the pattern is refused"),
    ("'a' | regex_match(big)", "1,000 characters for a pattern"),
    ("now() | date_format(big)", "256 characters"),
    ("big | date", "`date` reads ISO-8601"),
    ("now() | date_add(big)", "is not a duration"),
    ("big | trim(big)", "64 characters"),
    ("big | int", "is not a whole number"),
    ("big | float", "is not a number"),
    ("list | contains('x') or list | contains('y')", "50,000 operations"),
]


def refused(source: str) -> tuple[str, float]:
    started = time.thread_time()
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source, Names()).evaluate(SCOPE, fixed_meter())
    return str(caught.value), time.thread_time() - started


@pytest.mark.parametrize(("source", "limit"), ATTACKS, ids=lambda text: text[:40])
def test_an_attack_is_refused_at_once_naming_the_limit(source: str, limit: str) -> None:
    message, _ = refused(source)
    assert limit in message
    assert len(message) < 500


def test_no_attack_costs_more_than_a_moment_of_cpu() -> None:
    # Processor time of this thread, the best of three: a busy machine does not fail it.
    slow = {source[:60]: cost for source, _ in ATTACKS if (cost := min(refused(source)[1] for _ in range(3))) > 0.05}
    assert slow == {}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("big | length", 1_000_000),
        ("(big | upper | lower | length) + (big ~ 'x') | length", 2_000_001),
        ("list | length", 40_000),
        ("list | sum", 799_980_000),
        ("list | slice(0, 10000) | sort | last", 9_999),
        ("big | regex_search('b')", None),
        ("'b' in big", False),
        (" ~ ".join(["'x'"] * 2_000), "x" * 2_000),
        ("1" + " + 1" * 4_000, 4_001),
        (" or ".join(["false"] * 1_500), False),
        ("(" * 60 + "1" + ")" * 60, 1),
    ],
    ids=lambda text: str(text)[:40],
)
def test_honest_work_on_a_megabyte_is_allowed(source: str, expected: Any) -> None:
    assert compile_expression(source, Names()).evaluate(SCOPE, fixed_meter()) == expected


def test_each_evaluation_has_the_whole_limit_and_spent_adds_up(meter: Meter) -> None:
    expression = compile_expression("list | sum", Names())
    for times in range(1, 4):
        expression.evaluate(SCOPE, meter)
        assert meter.spent >= 40_000 * times


def test_a_refused_evaluation_counts_what_it_may_and_no_more() -> None:
    meter = fixed_meter(limit=100)
    for times in range(1, 4):
        with pytest.raises(ExpressionError, match="100 operations"):
            compile_expression("range(1000)", Names()).evaluate({}, meter)
        assert meter.spent == 100 * times


def test_one_rendered_value_is_one_evaluation_however_many_templates_it_holds(meter: Meter) -> None:
    compiled = compile_value([f"{{{{ list | sum }}}} {n}" for n in range(10)], Names())
    with pytest.raises(ExpressionError, match="50,000 operations"):
        compiled.render(SCOPE, meter)


def test_the_sum_of_rendered_templates_is_bounded(meter: Meter) -> None:
    compiled = compile_value({str(n): "{{ big }}" for n in range(1_000)}, Names())
    with pytest.raises(ExpressionError, match="2,097,152 bytes"):
        compiled.render(SCOPE, meter)


def test_the_cost_of_an_expression_does_not_depend_on_its_way_through() -> None:
    costs = []
    for flag in (True, False):
        meter = fixed_meter()
        compile_expression("a and 1 + 2 + 3 + 4 == 10 or a", Names()).evaluate({"a": flag}, meter)
        costs.append(meter.spent)
    assert costs[0] == costs[1] > 5


def test_a_deep_config_and_an_endless_text_are_refused_when_compiled() -> None:
    with pytest.raises(ExpressionError, match="64 levels of nesting in a value"):
        compile_value(DEEP, Names())
    with pytest.raises(ExpressionError, match="1,048,576 characters for one text"):
        compile_value("{{ a }}" + MEGABYTE * 2, Names())
    with pytest.raises(ExpressionError, match="16,384 characters for one expression"):
        compile_value("{{ '" + MEGABYTE[:20_000] + "' ~ a }}", Names())
