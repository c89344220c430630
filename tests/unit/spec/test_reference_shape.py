"""The onboarding flow with its blanks left empty: it is told where something is missing, and nothing else is wrong."""

from __future__ import annotations

import re

import pytest
from tests.unit.spec.test_onboarding import TEXT

from orchestrator.errors import FlowInvalid
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project

BLANK = re.sub(r"\{\{.*?\}\}", "", TEXT)


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(BLANK.splitlines(), 1) if text in line)


def test_a_condition_without_what_it_compares_is_told_with_its_line() -> None:
    with pytest.raises(FlowInvalid) as refused:
        load_flow(BLANK, "onboarding.yaml", Project())
    [problem] = refused.value.problems
    assert problem.line == line_of('if: " > 0.7"')
    assert "expression" in problem.message or ">" in problem.message


def test_with_the_condition_filled_in_it_loads_as_it_stands() -> None:
    filled = BLANK.replace('if: " > 0.7"', 'if: "{{ steps.risk-assessment.output.score }} > 0.7"')
    loaded = load_flow(filled, "onboarding.yaml", Project())
    assert loaded.unsupported == ()
    assert len(list(loaded.definition.walk())) == 14
    assert loaded.definition.steps[0].lists["branches"][0].config["body"] == {"email": ""}
