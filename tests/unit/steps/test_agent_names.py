"""Names as the Claude API takes them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.steps.agent.names import fit_members, misfits, original_members, tool_name


@pytest.mark.parametrize(
    ("name", "fits"), [("look_up", "look_up"), ("a.flow-1", "a_flow-1"), ("s__write file", "s__write_file")]
)
def test_a_name_that_nearly_fits_stays_readable(name: str, fits: str) -> None:
    assert tool_name(name) == fits


def test_names_of_other_scripts_and_long_ones_fit_and_stay_apart() -> None:
    names = ["읽기", "쓰기", "é", "a" * 65, "a" * 66, "", "\ud800"]
    fitted = [tool_name(name) for name in names]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in fitted)
    assert len(set(fitted)) == len(names)
    assert fitted == [tool_name(name) for name in names]


def test_a_schema_that_fits_is_left_as_it_is() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a.b-c_1": {"type": "string"}}, "required": ["a.b-c_1"]}
    assert fit_members(schema) == (schema, {})
    assert fit_members({"type": "object"}) == ({"type": "object"}, {})


def test_members_are_renamed_everywhere_and_back() -> None:
    schema = {
        "type": "object",
        "properties": {"$top": {"type": "integer"}, "a/b": {"items": {"$ref": "#/properties/a~1b/x"}}, "ok": True},
        "required": ["$top", "ok"],
    }
    fitted, names = fit_members(schema)
    assert names == {"_top": "$top", "a_b": "a/b"}
    assert fitted["required"] == ["_top", "ok"]
    assert fitted["properties"]["a_b"]["items"] == {"$ref": "#/properties/a_b/x"}
    assert fitted["properties"]["_top"]["title"] == "$top"
    assert original_members({"_top": 1, "ok": 2, "more": 3}, names) == {"$top": 1, "ok": 2, "more": 3}
    assert original_members([1], names) == [1]


def test_two_members_that_would_be_one_are_misfits() -> None:
    assert misfits({"properties": {"a b": {}, "a/b": {}}}) == ["a b", "a/b"]
    assert misfits({"properties": {"a b": {}, "c": {}}}) == []
