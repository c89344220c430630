"""JSON that everybody can take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.gateway.sendable import DEEPEST, answer_of, check_sendable, showable


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [None, 1.5, "한글 😀", {"a": [1, {"b": ""}]}, [[]] * 1000, nested(DEEPEST)])
def test_plain_json_is_taken_and_shown_as_it_is(value: Any) -> None:
    assert check_sendable(value) is value
    assert showable(value) is value
    assert json.loads(bytes(answer_of(value, 200).body)) == value


@pytest.mark.parametrize(
    ("value", "why", "shown"),
    [
        ({"a": "x\ud800y 😀"}, "half of a character", {"a": "x\ufffdy 😀"}),
        ({"\udfff": 1}, "half of a character", {"\ufffd": 1}),
        ([float("nan"), float("-inf"), 1.5], "not JSON compliant", [None, None, 1.5]),
        (nested(DEEPEST + 1), "nested too deeply", nested(DEEPEST)),
        (nested(100_000), "nested too deeply", nested(DEEPEST)),
    ],
)
def test_what_readers_could_not_take_is_refused_from_outside_and_shown_from_within(
    value: Any, why: str, shown: Any
) -> None:
    with pytest.raises(ValueError, match=why):
        check_sendable(value)
    told = json.dumps(showable(value))
    assert told.replace("\\u2026", "end") == json.dumps(shown)
    assert json.loads(bytes(answer_of(value, 200).body)) in (json.loads(told), value)
