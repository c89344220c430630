"""A lane of the flow tests' own, and flows and test files given as text."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.results import CaseResult
from orchestrator.settings import Settings
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.flowtests.loading import load_test_file
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.project import load_project

FUNCTIONS = """
from temporalio import activity

@activity.defn
async def double(params: dict[str, int]) -> int:
    return params["number"] * 2

@activity.defn
async def refuse(reason: str) -> None:
    raise ValueError(reason)
"""
PROJECT = """
contacts: {ada: {email: ada@example.com}}
events:
  order.paid: {}
"""


class Bench:
    """Runs test files given as text, each in a folder of its own; sub-flows lie beside them."""

    def __init__(self, lane: Lane, folder: Path) -> None:
        self._lane = lane
        self.folder = folder
        self._numbers = itertools.count(1)

    def write(self, flow: str, tests: str, **beside: str) -> Path:
        """The files of a flow and its tests; the test file's path."""
        folder = self.folder / f"flows-{next(self._numbers)}"
        folder.mkdir()
        (folder / "tested.yaml").write_text(textwrap.dedent(flow))
        for name, text in beside.items():
            (folder / f"{name}.yaml").write_text(textwrap.dedent(text))
        path = folder / "tested.test.yaml"
        path.write_text(textwrap.dedent(tests))
        return path

    async def cases(self, flow: str, tests: str, **beside: str) -> list[CaseResult]:
        """Run every case."""
        loaded = load_test_file(self.write(flow, tests, **beside), load_project(self.folder))
        return [await self._lane.run(case, loaded.flow) for case in loaded.cases]

    async def run(self, case: FlowCase, flow: LoadedFlow) -> CaseResult:
        """Run one loaded case."""
        return await self._lane.run(case, flow)

    async def passes(self, flow: str, tests: str, **beside: str) -> list[CaseResult]:
        """Run every case; none may have a problem."""
        results = await self.cases(flow, tests, **beside)
        assert not [str(problem) for result in results for problem in result.problems]
        return results

    async def problem(self, flow: str, tests: str, **beside: str) -> str:
        """Run one case that must not pass: all it has to say, files named without their folder."""
        [result] = await self.cases(flow, tests, **beside)
        assert not result.passed
        said = "\n".join(str(problem) for problem in result.problems)
        return said.replace(result.file.removesuffix("tested.test.yaml"), "")


@pytest.fixture(scope="module")
def project_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two functions and a contact."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "activities").mkdir()
    (folder / "activities" / "numbers.py").write_text(FUNCTIONS)
    (folder / "orchestrator.yaml").write_text(PROJECT)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(project_folder: Path) -> AsyncIterator[Bench]:
    """One lane for the tests of a module, which have to run in the module's event loop."""
    async with Lane(Settings(project_dir=project_folder)) as lane:
        yield Bench(lane, project_folder)
