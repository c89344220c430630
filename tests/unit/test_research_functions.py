"""What the research flows compute rather than ask: findings gathered, citations checked, figures described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TerminalError
from orchestrator.steps.function.handlers import discover, invoke_arguments

FUNCTIONS = discover(Path(__file__).parents[2] / "activities")
Json = Any


def call(name: str, given: Json) -> Json:
    """The function with JSON, as the worker calls it."""
    function = FUNCTIONS[name]
    return function.call(*invoke_arguments(function, [given]))


def finding(claim: str, source: str) -> Json:
    return {"claim": claim, "source": source, "figures": [{"label": claim, "value": 1, "unit": "m"}]}


def test_findings_are_told_once_each_with_who_found_them() -> None:
    both = {"findings": [finding("a", "web-1"), finding("a", "web-1")], "gaps": ["why"]}
    gathered = call("collect_findings", {"results": {"web": both, "academic": both}})
    assert [one["source"] for one in gathered["findings"]] == ["web-1"]
    assert gathered["gaps"] == ["why", "why"]
    assert [figure["source"] for figure in gathered["figures"]] == ["web-1"]


def test_who_failed_is_missing_with_the_reason() -> None:
    given = {"results": {"web": None, "academic": None}, "errors": {"web": "the server is gone"}}
    gathered = call("collect_findings", given)
    assert gathered["findings"] == []
    assert gathered["missing"] == [
        {"researcher": "web", "because": "the server is gone"},
        {"researcher": "academic", "because": "it brought no result"},
    ]


def test_a_claim_without_a_real_source_is_a_gap_and_no_finding() -> None:
    given = {"results": {"web": {"findings": [finding("a", "web-9"), finding("b", "web-1")]}}, "unknown": ["web-9"]}
    gathered = call("collect_findings", given)
    assert gathered["sources"] == ["web-1"]
    assert gathered["gaps"] == ["left out, for its source 'web-9' does not exist: a"]


@pytest.mark.parametrize(
    ("citations", "limitations", "problem"),
    [
        (["web-1"], "the academic researcher failed", None),
        (["web-1", "web-9"], "academic", "cites 'web-9', which the research did not find"),
        ([], "academic", "cites nothing"),
        (["web-1"], "none", "do not say that the academic researcher failed"),
    ],
)
def test_a_report_is_right_when_it_cites_findings_and_names_who_failed(
    citations: list[str], limitations: str, problem: str | None
) -> None:
    report = {
        "title": "t",
        "summary": "s",
        "sections": [{"heading": "h", "text": "t", "citations": citations}],
        "limitations": limitations,
    }
    checked = call("check_report", {"report": report, "sources": ["web-1"], "missing": ["academic"]})
    assert checked["ok"] is (problem is None)
    assert (problem or "") in "".join(checked["problems"])


def test_figures_of_different_units_are_not_compared() -> None:
    figures = [{"label": "a", "value": 1, "unit": "m"}, {"label": "b", "value": 3, "unit": "m"}]
    assert call("describe_figures", {"figures": figures})["mean"] == 2
    with pytest.raises(TerminalError, match="these have kg, m"):
        call("describe_figures", {"figures": [*figures, {"label": "c", "value": 1, "unit": "kg"}]})
