"""What the command line tells of a step."""

from __future__ import annotations

from orchestrator.cli.progress import kind


def test_a_call_of_an_agent_is_told_with_its_tool() -> None:
    assert kind("research/web/turn[0]/call-1", {"type": "mcp", "name": "web__search"}) == "mcp web__search"


def test_any_other_step_is_told_by_its_type_alone() -> None:
    assert kind("research/web", {"type": "agent", "name": "The web researcher"}) == "agent"
    assert kind("call-me", {"type": "http"}) == "http"
