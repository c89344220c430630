"""``expose``: how a flow says that it is a tool of the MCP server."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import FlowInvalid
from orchestrator.spec.flow import ExposedTool

STEPS = "steps: [{id: w, type: wait, config: {duration: 1}}]\n"


@pytest.mark.parametrize(
    ("written", "tool"),
    [
        ("true", ExposedTool()),
        ("false", None),
        ("{}", ExposedTool(wait=25.0)),
        ("{wait: 0}", ExposedTool(wait=0.0)),
        (
            "{wait: 1m, name: ask-it, description: Asks it}",
            ExposedTool(wait=60.0, name="ask-it", description="Asks it"),
        ),
    ],
)
def test_a_flow_says_whether_and_how_it_is_a_tool(load: Any, written: str, tool: ExposedTool | None) -> None:
    loaded = load(f"id: f\nexpose: {{mcp: {written}}}\n{STEPS}")
    assert loaded.flow.expose.tool == tool
    assert (loaded.unsupported, loaded.warnings) == ((), ())


def test_a_flow_that_says_nothing_is_no_tool(load: Any) -> None:
    assert load(f"id: f\n{STEPS}").flow.expose.tool is None


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{wait: 1h}", "2:22: `wait`: a tool call waits at most 600s"),
        ("{wait: '{{ inputs.x }}'}", "`wait` takes no templates"),
        ("{name: ask it}", "`name`: does not match the pattern"),
        ("{name: ''}", "`name`: does not match the pattern"),
        ("{waits: 3}", "unknown key `waits`"),
        ("sometimes", "`mcp` must be true or false or a mapping"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(load: Any, written: str, problem: str) -> None:
    with pytest.raises(FlowInvalid) as refused:
        load(f"id: f\nexpose: {{mcp: {written}}}\n{STEPS}")
    assert problem in str(refused.value)
