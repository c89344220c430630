"""A case put into a test file: the rest of the file stays as it is, and the case is read as it was meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import Refused
from orchestrator.flowtests.recording.appending import new_file, with_case
from orchestrator.spec.source import read_source

CASE = {"name": "as in run r1", "expect": {"output": {"total": 7}}}
FILE = """\
# What the shop promises.
flow: shop
cases:
  - name: first   # the plain one
    expect:
      ran: [a, b]

# Every case starts from this.
defaults: {inputs: {n: 1}}
"""


def cases(text: str) -> Any:
    return read_source(text, "shop.test.yaml").data["cases"]


def test_a_case_stands_behind_the_others_and_nothing_else_changes() -> None:
    changed = with_case(FILE, "shop.test.yaml", CASE, ["a text was cut"])
    assert cases(changed) == [*cases(FILE), CASE]
    added = [line for line in changed.splitlines() if line not in FILE.splitlines()]
    assert added[0] == "  # a text was cut"
    assert [line for line in changed.splitlines() if line and line not in added] == [
        line for line in FILE.splitlines() if line
    ]
    assert changed.index("as in run r1") < changed.index("# Every case starts from this.")


@pytest.mark.parametrize(
    "text",
    [
        "cases:\n- name: a\n",
        "cases:\n- name: a",
        "cases:\n    -   name: a\n        real: ['*']\n\n\n",
        "cases:\n  - name: a\n    expect: {output: 'x'}\n\nflow: shop\n",
        "cases:\n  - {name: a}\n  - {name: b}\n# the end\n",
    ],
)
def test_however_the_list_is_written_the_case_is_its_last(text: str) -> None:
    assert cases(with_case(text, "shop.test.yaml", CASE, []))[:-1] == cases(text)
    assert cases(with_case(text, "shop.test.yaml", CASE, []))[-1] == CASE


def test_a_name_that_is_taken_gets_a_number() -> None:
    twice = with_case(with_case(FILE, "f", CASE, []), "f", CASE, [])
    assert [case["name"] for case in cases(twice)] == ["first", "as in run r1", "as in run r1 (2)"]


@pytest.mark.parametrize("text", ["cases: [{name: a}]\n", "cases:\n  [\n  {name: a}\n  ]\n", "flow: x\n", "- a\n"])
def test_a_file_that_has_no_list_of_blocks_is_left_alone(text: str) -> None:
    with pytest.raises(Refused, match="another file"):
        with_case(text, "shop.test.yaml", CASE, [])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "1e3",
        "0x1F",
        "on",
        "no",
        "~",
        "null",
        "2024-01-01",
        "1:30",
        "012",
        "<<",
        "=",
        "- a",
        "{{ x }}",
        "a: b",
        "# c",
        "+.5",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_every_value_is_read_as_it_was_recorded(value: Any) -> None:
    case = {"name": "x", "inputs": {"value": value}}
    assert cases(new_file("shop", case, [])) == [case]
    assert cases(with_case(FILE, "shop.test.yaml", case, []))[-1] == case
