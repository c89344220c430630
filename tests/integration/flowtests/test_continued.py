"""The cases of the example flows end the same in runs that continue as new whenever they can, after every step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio import workflow

from orchestrator.flowtests.lanes import lane as lanes
from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.playing.starting import Refusal, envelope_of
from orchestrator.settings import Settings
from orchestrator.spec.definition import Envelope
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.project import Project, load_project

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = (
    *("content-moderation", "content-publishing", "hello", "incident-response", "ml-training", "multi-agent-research"),
    *("order-check", "order-saga", "research-coordinator", "service-check", "patterns/pattern-batching"),
    *("patterns/pattern-caching", "patterns/pattern-lazy-loading", "patterns/pattern-timeouts"),
)
"""Flows in which no race is decided by who comes first: while a run drains to continue as new, no branch starts."""
KEPT = {"decide"}
"""What a case makes happen from outside, and carries over to the next execution."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lane() -> AsyncIterator[Lane]:
    """One lane for all files."""
    async with Lane(Settings(project_dir=ROOT)) as opened:
        yield opened


def comparable(case: FlowCase) -> FlowCase:
    """The case without what it sees of one execution alone: its time, its cost, how its steps went before."""
    unseen: dict[str, Any] = {"failed": [], "duration": None, "cost": None}
    return replace(case, expect=case.expect.model_copy(update=unseen))


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_cases_of_an_example_end_the_same(lane: Lane, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, continued = workflow.continue_as_new, []

    def often(case: FlowCase, flow: LoadedFlow, project: Project) -> Envelope | Refusal:
        found = envelope_of(case, flow, project)
        return replace(found, continue_after=1) if isinstance(found, Envelope) else found

    def counted(*args: Any, **options: Any) -> Any:
        continued.append(workflow.info().workflow_id)
        return go_on(*args, **options)

    monkeypatch.setattr(lanes, "envelope_of", often)
    monkeypatch.setattr(workflow, "continue_as_new", counted)
    tests = load_test_file(ROOT / "workflows" / f"{name}.test.yaml", load_project(ROOT))
    told = []
    for case in tests.cases:
        if {happening.what.action for happening in case.events} <= KEPT:
            result = await lane.run(comparable(case), tests.flow)
            told += [f"{case.name}: {problem}" for problem in result.problems]
    assert told == []
    assert continued or name == "patterns/pattern-caching", "a run of one step has nothing to go on with"
