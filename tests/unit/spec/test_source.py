"""YAML to JSON with positions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import FlowInvalid
from orchestrator.spec.source import MAX_DEPTH, read_source


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"),
        ("12", 12), ("-3", -3), ("+3", 3), ("0", 0), ("012", "012"), ("0x1F", "0x1F"), ("0o17", "0o17"),
        ("1_000", "1_000"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("-1.5e-3", -0.0015), ("1.2.3", "1.2.3"),
        ("'12'", "12"), ('"true"', "true"), ("=", "="), ("007", "007"),
    ],
)  # fmt: skip
def test_scalars_are_read_the_yaml_1_2_way(text: str, value: Any) -> None:
    data = read_source(f"key: {text}\n", "f").data
    assert data == {"key": value}
    assert type(data["key"]) is type(value)


def test_the_key_on_stays_text() -> None:
    assert read_source("on: [push]\nno: 1\n", "f").data == {"on": ["push"], "no": 1}


def test_positions_are_known_for_keys_values_and_items() -> None:
    source = read_source("a:\n  b: [1, {c: x}]\n'd e': |\n  text\n", "f")
    assert source.key_at(("a", "b")) == (2, 3)
    assert source.value_at(("a", "b")) == (2, 6)
    assert source.value_at(("a", "b", 1, "c")) == (2, 14)
    assert source.key_at(("a", "b", 1, "c")) == (2, 11)
    assert source.value_at(("d e",)) == (3, 8)
    assert source.value_at(("a", "b", 7, "missing")) == (2, 6), "the nearest value that exists"


def test_columns_count_characters_of_any_script() -> None:
    source = read_source('이름: {심사: x, 결과: "고객 온보딩", b: 1}\n', "f")
    assert source.key_at(("이름", "b")) == (1, 27)


def test_the_text_of_a_scalar_as_written_is_kept() -> None:
    source = read_source("version: 2.0\nother: '1'\n", "f")
    assert source.raw_at(("version",)) == "2.0"
    assert source.raw_at(("nothing",)) is None


def test_aliases_repeat_the_value_of_their_anchor() -> None:
    source = read_source("a: &x {n: 1}\nb: *x\nc: [*x, *x]\n", "f")
    assert source.data == {"a": {"n": 1}, "b": {"n": 1}, "c": [{"n": 1}, {"n": 1}]}


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    assert read_source("\ufeffa: 1\r\nb: 2\r\n", "f").data == {"a": 1, "b": 2}


def test_json_is_read_too() -> None:
    assert read_source('{"a": [1, 2.5, null, true, "x\\u00e9"]}', "f").data == {"a": [1, 2.5, None, True, "xé"]}


REFUSED = [
    ("", "1:1: the file is empty (a flow has at least `id` and `steps`)"),
    ("a: 1\na: 2\n", "2:1: `a` is given twice (first at line 1; the second would silently win)"),
    ("a: {b: 1, b: 2}", "1:11: `b` is given twice (first at line 1; the second would silently win)"),
    ("a: &x {n: 1}\nb:\n  <<: *x\n", "3:3: merge keys (`<<`) are not supported (write the members out, or use `defaults`)"),
    ("a: !!python/object:os.system x", "1:4: the YAML tag `tag:yaml.org,2002:python/object:os.system` is refused (values are plain JSON; remove the tag)"),
    ("a: !mine [1]", "1:4: the YAML tag `!mine` is refused (values are plain JSON; remove the tag)"),
    ("a: .nan", "1:4: .nan is not a JSON number (quote it to keep it as text)"),
    ("a: -.inf", "1:4: -.inf is not a JSON number (quote it to keep it as text)"),
    ("a: 1e999", "1:4: the number 1e999 is too large (quote it to keep it as text)"),
    ("a: 123456789012345678901234567890", "1:4: the number 123456789012345678901234… is too large (quote it to keep it as text)"),
    ("1: x", '1:1: the key 1 is a number; keys are text (quote it: "1")'),
    ("~: 1", '1:1: a key is missing before `:` (quote it if you mean it: "null")'),
    ("a: {: 1}", "1:5: a value or key is missing here"),
    ("? [a]\n: 1", "1:3: a list or mapping stands where a key is expected"),
    ("a: {{ inputs.x }}", '1:5: a list or mapping stands where a key is expected (a value that starts with `{{` needs quotes: "{{ … }}")'),
    ("a: *nobody", "1:4: the anchor `*nobody` is not defined above"),
    ("a: &x [*x]", "1:8: the anchor `*x` contains itself"),
    ("a: 1\n---\nb: 2\n", "2:1: a second document starts here (one flow per file)"),
    ("a:\n\tb: 1\n", "2:1: a tab cannot indent YAML (use spaces)"),
    ("a: b: c", "1:5: `:` is not allowed here (check the indentation, or quote text that contains `: `)"),
    ("a: 'open", "1:4: a quote is not closed (close it with the same quote)"),
    ("a: [1, 2", "`[` is not closed properly"),
    ("a: {x: 1", "`{` is not closed properly"),
    ("a: @x", "this character cannot start a value"),
    ('a: "\\q"', "unknown escape in a double-quoted text"),
    ("a: 1\n b: 2\n", "`:` is not allowed here"),
    ("a: x\nb\n", "a `:` is missing here"),
    ("a: \x01", "control character"),
    ("a: \ud800", "1:1: the file holds text that is not valid Unicode"),
    ("[" * (MAX_DEPTH + 5), f"more than {MAX_DEPTH} levels of nesting"),
    ("{a: " * 3000, "levels of nesting"),
    ("a: 1\n" + "#" * 2_000_001, "at most 2,000,000 are read"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=[text[:24] for text, _ in REFUSED])
def test_what_is_not_plain_json_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(FlowInvalid) as caught:
        read_source(text, "f")
    assert said in str(caught.value)
    assert all(problem.line >= 1 and problem.column >= 1 for problem in caught.value.problems)


def test_a_billion_laughs_is_refused_before_it_grows() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(FlowInvalid, match="once aliases are expanded"):
        read_source("\n".join(lines), "f")


def test_a_chain_of_aliases_is_refused_where_it_gets_too_deep() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    with pytest.raises(FlowInvalid, match="levels of nesting once aliases are expanded"):
        read_source("\n".join(lines), "f")


def test_every_refused_construct_is_reported_at_once() -> None:
    with pytest.raises(FlowInvalid) as caught:
        read_source("a: .nan\nb: !x 1\nc: 1\nc: 2\n", "f")
    assert [problem.line for problem in caught.value.problems] == [1, 2, 4]


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`#,? \n\t~<0123.eE\x00\u00e9"), max_size=60))
def test_no_text_makes_the_reader_fail_with_anything_but_flow_invalid(text: str) -> None:
    try:
        read_source(text, "f")
    except FlowInvalid as error:
        assert error.problems
