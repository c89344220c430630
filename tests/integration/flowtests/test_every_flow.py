"""Every flow in workflows/ that has tests passes them, and they would miss each of its steps: ``orchestrator test
--mutate`` over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.mutation.trial import mutate
from orchestrator.flowtests.telling.telling import told
from orchestrator.settings import Settings
from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.project import load_project

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "workflows").rglob("*.test.yaml"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lane() -> AsyncIterator[Lane]:
    """Where all of them run, one after the other."""
    async with Lane(Settings(project_dir=ROOT)) as opened:
        yield opened


async def test_there_are_flows_with_tests() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".test.yaml"))
async def test_its_cases_pass_and_miss_every_step_that_is_left_out(path: Path, lane: Lane) -> None:
    project = load_project(ROOT)
    found = await mutate(lane, load_test_file(path, project), project)
    assert [line for case in found.failing for line in (case.name, *told(case))] == []
    assert [str(survivor) for survivor in found.survivors] == []
    assert found.removed > 0
