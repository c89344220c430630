"""Which names there are: hyphens, longest match, what is missing, what guards it, what is listed for the loader."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    Names,
    Reference,
    compile_expression,
    compile_value,
)

from .conftest import Evaluate

NAMES = Names(
    steps=frozenset({"risk", "risk-check", "risk-check-2", "심사", "심사-2차", "चरण-हिन्दी", "count"}),
    inputs=frozenset({"order-id", "order"}),
    vars=frozenset({"count", "in-stock"}),
    env=frozenset({"MAX_SCORE", "REGION-1"}),
)
SCOPE: dict[str, Any] = {
    "steps": {
        "risk": {"output": 10},
        "risk-check": {"status": "completed", "output": {"score": 0.9, "reason": "x"}},
        "risk-check-2": {"output": 2},
        "심사": {"output": 3},
        "심사-2차": {"output": 4},
        "चरण-हिन्दी": {"output": 5},
    },
    "inputs": {"order-id": 7, "order": 100},
    "vars": {"count": 5, "in-stock": True},
    "env": {"MAX_SCORE": 1, "REGION-1": "kr"},
    "item": 4,
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("steps.risk-check.output.score", 0.9),
        ("steps.risk-check-2.output", 2),
        ("steps.risk.output-1", 9),
        ("steps.심사.output", 3),
        ("steps.심사-2차.output", 4),
        ("steps.चरण-हिन्दी.output", 5),
        ("steps['risk-check'].output.score", 0.9),
        ("inputs.order-id", 7),
        ("inputs.order-1", 99),
        ("inputs.order -1", 99),
        ("vars.count-vars.count", 0),
        ("vars.count--1", 6),
        ("vars.in-stock", True),
        ("env.REGION-1", "kr"),
        ("env.MAX_SCORE-1", 0),
        ("item-item", 0),
        ("{'steps': {'a': 3}}.steps.a-1", 2),
    ],
)
def test_hyphens_belong_to_the_longest_declared_name(evaluate: Evaluate, source: str, expected: Any) -> None:
    assert evaluate(source, SCOPE, NAMES) == expected


def test_an_undeclared_name_is_taken_whole_so_that_the_loader_can_suggest_the_right_one() -> None:
    found = compile_expression("steps.risc-check.output > 1", NAMES).references
    assert found[0].path == ("risc-check", "output")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "steps.risk-check.output.scor",
            "'scor' is not in steps.risk-check.output (did you mean 'score'?); there: score, reason",
        ),
        (
            "steps.rask-check.output",
            "'rask-check' is not in steps (did you mean 'risk-check'?); there: risk, risk-check",
        ),
        ("itme", "there is no name 'itme' (did you mean 'item'?); there: env, inputs, item, steps, vars"),
        ("risk-check.output", "there is no name 'risk'; a step's record is `steps.risk`"),
        ("now", "there is no name 'now'; the helper is written `now()`"),
        ("item.x", "'x' is not in item, which is a number"),
        ("[1, 2][2]", "there is no element 2 there, a list of 2"),
        ("[1, 2].length", "write `x | length`"),
        ("[{'a': 1}].a", "write [0] for one element or `| map('a')` for all"),
        ("none.a", "which is none; guard it with `| default(…)`"),
        ("'x'.a", "`x | fromjson` reads JSON"),
        ("{}.a", "'a' is not there; there: nothing"),
        ("{'a': 1}[0]", "'0' is not there; there: a"),
    ],
)
def test_a_missing_name_is_an_error_naming_what_exists(evaluate: Evaluate, source: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, SCOPE, NAMES)
    assert message in str(caught.value)


def test_a_long_list_of_what_exists_is_cut(evaluate: Evaluate) -> None:
    many = {f"key-number-{n}": n for n in range(100_000)}
    with pytest.raises(ExpressionError) as caught:
        evaluate("item.nope", {"item": many})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("steps.nope.output.x | default(1)", 1),
        ("nothing.at.all | default(1)", 1),
        ("steps.risk-check.output.nope.x[0] | default(1)", 1),
        ("default(steps.nope.output, 1)", 1),
        ("(steps.nope.output + 1) | default(1)", 1),
        ("steps.nope.output | upper | default(1)", 1),
        ("steps.risk-check.output.score | default(1)", 0.9),
        ("none | default(1)", None),
        ("none | default(1, true)", 1),
        ("'' | default(1, true)", 1),
        ("[] | default(1, true)", 1),
        ("{} | default(1, true)", 1),
        ("false | default(1, true)", False),
        ("0 | default(1, true)", 0),
        ("'' | default(1, false)", ""),
        ("steps.a.b | default(steps.c.d | default(2))", 2),
    ],
)
def test_default_guards_the_whole_chain(evaluate: Evaluate, source: str, expected: Any) -> None:
    assert evaluate(source, SCOPE, NAMES) == expected


def test_default_hides_no_other_error(evaluate: Evaluate) -> None:
    with pytest.raises(ExpressionError, match="`\\+` needs two numbers"):
        evaluate("(1 + 'a') | default(0)", SCOPE)


def references(source: str) -> list[tuple[str, tuple[str | int, ...], bool]]:
    return [(found.root, found.path, found.guarded) for found in compile_expression(source, NAMES).references]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 2", []),
        ("steps.risk-check.output['a b'][0].c", [("steps", ("risk-check", "output", "a b", 0, "c"), False)]),
        ("inputs[item].x", [("inputs", (), False), ("item", (), False)]),
        ("a.b | default(c.d)", [("a", ("b",), True), ("c", ("d",), False)]),
        ("default(a.b, c.d)", [("a", ("b",), True), ("c", ("d",), False)]),
        ("z + (a.b ~ c) | default(1)", [("z", (), False), ("a", ("b",), True), ("c", (), True)]),
        ("a.b is defined", [("a", ("b",), True)]),
        ("a.b is defined and a.b.c > 1", [("a", ("b",), True), ("a", ("b", "c"), True)]),
        ("a.b.c if a.b is defined else a.x", [("a", ("b", "c"), True), ("a", ("b",), True), ("a", ("x",), False)]),
        ("(rows | first).n", [("rows", (), False)]),
        ("[a, {'k': b.c}]", [("a", (), False), ("b", ("c",), False)]),
        ("max(a, b) - c", [("a", (), False), ("b", (), False), ("c", (), False)]),
    ],
)
def test_references_list_every_name_and_what_guards_it(source: str, expected: list[Any]) -> None:
    assert references(source) == expected


def test_a_reference_knows_its_place_in_the_text() -> None:
    (found,) = compile_value("Score: {{ steps.risk-check.output }}", NAMES).references
    assert found == Reference(
        "steps", ("risk-check", "output"), False, len("Score: {{ "), "Score: {{ steps.risk-check.output }}"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("secrets.API", "write {{ secrets.NAME }} alone or inside text in the config of a step"),
        ("'Bearer ' ~ secrets.API", "without operators or filters"),
        ("secrets['API']", "without operators or filters"),
        ("step.attempt > 1", "`steps.<id>` is another step's record"),
        ("callback.paid.url", "write {{ callback.<id>.url }} alone"),
    ],
)
def test_a_late_name_in_an_expression_is_refused_with_the_reason(source: str, message: str) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_expression(source, NAMES)
    assert message in str(caught.value)
