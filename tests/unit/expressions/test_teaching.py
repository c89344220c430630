"""What the compiler says to habits from other languages and to mistakes: always what to write instead."""

from __future__ import annotations

import pytest

from orchestrator.expressions import ExpressionSyntaxError, Names, compile_expression, compile_value


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("a && b", "write `and` instead of `&&`", 2),
        ("a || b", "write `or` instead of `||`", 2),
        ("!a", "write `not` instead of `!`", 0),
        ("a === b", "write `==` instead of `===`", 2),
        ("a !== b", "write `!=` instead of `!==`", 2),
        ("a <> b", "write `!=` instead of `<>`", 2),
        ("a = b", "write `==` to compare", 2),
        ("a == null", "write `none` instead of `null`", 5),
        ("a == None", "write `none` instead of `None`", 5),
        ("a == True", "write `true` instead of `True`", 5),
        ("a is null", "write `none` instead of `null`", 5),
        ("a ? b : c", "write `a if condition else b`", 2),
        ("a ?? b", "write `x | default(y)`", 2),
        ("a?.b", "it guards the whole chain", 1),
        ("9**9", "there is no `**`", 1),
        ("a & b", "write `and` to join conditions", 2),
        ("`a`", "put text in ' or \"", 0),
        ("“a”", "straight quotes", 0),
        ("$a", "names stand without `$`", 0),
        ("a;", "has no `;`", 1),
        ("a @ b", "`@` means nothing here", 2),
        ("x.upper()", "values have no methods such as `.upper()`: write `x | upper`", 2),
        ("x.toUpperCase()", "write `x | upper`", 2),
        ("x.foo()", "see the list of helpers", 2),
        ("x.y.includes(1)", "write `x | contains`", 4),
        ("a.0", "write `[0]` or `['0']` instead of `.0`", 2),
        ("a.'b'", "a name must follow `.`", 2),
        ("1a", "a name cannot start with a digit", 0),
        ("007", "a number has no leading zero", 0),
        ("12345678901234567890", "the limit of ±2**63", 0),
        ("1e999", "and of finite numbers", 0),
        ("'abc", "the text that starts with ' is never closed", 0),
        (r"'\ud800'", "half a character", 0),
        ("(a", "`(` is never closed: add `)`", 0),
        ("a)", "`)` closes nothing; nothing is open", 1),
        ("[a)", "`)` closes nothing; `[` is still open", 2),
        ("{{ a", "`{{` is never closed: add `}}`", 0),
        ("{{ a }", "a template closes with `}}`; here is only one `}`", 5),
        ("a }}", "`}` closes nothing", 2),
        ("{{ {{ a }} }}", "`{{ }}` does not nest", 3),
        ("{% if a %}", "`{% %}` is not available", 0),
        ("'{{ a }}' == 'b'", "write the name without quotes and braces", 0),
        ("", "the expression is empty", 0),
        ("  ", "the expression is empty", 2),
        ("{{ }}", "a value is missing before `)`", 3),
        ("a b", "unexpected name `b`; is an operator missing before it?", 2),
        ("a +", "the expression ends too early", 3),
        ("* a", "a value is missing before `*`", 0),
        ("a and", "the expression ends too early", 5),
        ("and a", "a value is missing before `and`", 0),
        ("a not b", "to join conditions write `and not`", 6),
        ("a if b", "expected `else`", 6),
        ("a < b > c", "join comparisons with `and`", 6),
        ("a == b == c", "join comparisons with `and`", 7),
        ("a == b is none", "put parentheses around the comparison", 7),
        ("a is even", "after `is` stands one of: defined, none", 5),
        ("{a: 1}", "a key of an object stands in quotes", 1),
        ("{'a': 1, 'a': 2}", "the key 'a' stands twice", 9),
        ("{'a' 1}", "expected `:` between key and value", 5),
        ("(1, 2)", "lists are written [a, b]", 2),
        ("[1 2]", "expected `,` or `]` after a value", 3),
        ("a || default(b)", "write `or` instead of `||`", 2),
        ("a | | b", "the name of a helper must follow `|`", 4),
        ("a | uper", "there is no helper 'uper' (did you mean 'upper'?)", 4),
        ("foo(1)", "there is no helper 'foo'", 0),
        ("a | now", "`now` takes no value from `|`: write `now()`", 4),
        ("a | replace('x')", "wrong number of arguments: write `text | replace(old, new)`", 4),
        ("now(1)", "wrong number of arguments: write `now()`", 0),
        ("a[0](1)", "only helpers can be called, by name", 4),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(source: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_expression(source, Names())
    assert message in caught.value.message
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("source", "message", "offset"),
    [
        ("Hello {{ name }", "only one `}`", 14),
        ("Hello {{ name", "`{{` is never closed", 6),
        ("{{ a && b }}", "write `and`", 5),
        ("{% for x in y %}", "`{% %}` is not available", 0),
        ("{{ a }} {% if %}", "for the signs themselves write {{ '{%' }}", 8),
        ("{{ }}", "the expression is empty", 3),
        ("{{ it's }}", "is never closed", 5),
        ("x {{ a {{ b }} }}", "does not nest", 7),
    ],
)
def test_a_broken_template_is_answered_with_what_to_write(source: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_value({"key": [source]}, Names())
    assert message in caught.value.message
    assert (caught.value.source, caught.value.offset) == (source, offset)
