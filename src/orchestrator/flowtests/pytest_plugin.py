"""pytest collects ``*.test.yaml`` beside flows, a test for each case, and lends the fixture ``flow_case``.

Loaded by every pytest in an environment that has Orchestrator: nothing of it is imported before the first such file is
met, or the fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orchestrator.errors import FlowInvalid
    from orchestrator.flowtests.lanes.side_lane import SideLanes
    from orchestrator.flowtests.results import CaseResult
    from orchestrator.spec.flowtests.cases import CaseFile, FlowCase

_ENDINGS = (".test.yaml", ".test.yml")
_PROJECT_FILE = "orchestrator.yaml"
_LANES: pytest.StashKey[SideLanes] = pytest.StashKey()

Json = Any


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A file of tests, where it is one of ours: a flow stands beside it, or it names one."""
    if not file_path.name.endswith(_ENDINGS):
        return None
    collected: TestFile = TestFile.from_parent(parent, path=file_path)
    return collected


class TestFile(pytest.File):
    """``<flow>.test.yaml``."""

    __test__ = False

    def collect(self) -> Iterable[pytest.Item]:
        """A test for each case. Raises CollectError with every problem of the file."""
        from orchestrator.errors import FlowInvalid
        from orchestrator.spec.flowtests.loading import load_test_file
        from orchestrator.spec.project import load_project

        project = project_of(self.path, self.config.rootpath)
        try:
            tests = load_test_file(self.path, load_project(project))
        except FlowInvalid as error:
            raise self.CollectError(_problems(error)) from error
        for case in tests.cases:
            yield TestCase.from_parent(self, name=case.name, case=case, tests=tests, project=project)


class TestCase(pytest.Item):
    """One case."""

    __test__ = False

    def __init__(self, *, case: FlowCase, tests: CaseFile, project: Path, **given: Any) -> None:
        super().__init__(**given)
        self._case = case
        self._tests = tests
        self._project = project

    def runtest(self) -> None:
        """Run the case. Raises CaseFailed where it is not as it says."""
        _must_pass(_lanes(self.config).run(self._project, self._case, self._tests.flow))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What differs and what the run did; no trace of code that the author of a flow does not know."""
        from orchestrator.errors import OrchestratorError

        if isinstance(excinfo.value, CaseFailed | OrchestratorError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case stands."""
        return self.path, self._case.line - 1, self.name


class CaseFailed(AssertionError):
    """A case is not as it says: each difference with its place, then what the run did."""


@pytest.fixture
def flow_case(request: pytest.FixtureRequest) -> Iterator[Callable[..., CaseResult]]:
    """Run a case that is written in Python.

    ``flow_case("workflows/order.yaml", inputs={…}, mocks={…}, events=[…], expect={…})`` takes what a case of a test
    file has, and returns its CaseResult. The flow is a path from pytest's root. Raises CaseFailed where an expectation
    is not met, FlowInvalid where flow or case cannot be used.
    """
    from orchestrator.flowtests.written import run_written

    config = request.config

    def run(flow: str | Path, **case: Json) -> CaseResult:
        path = config.rootpath / flow
        project = project_of(path, config.rootpath)
        result = run_written(_lanes(config), project, path, {"name": request.node.name} | case)
        _must_pass(result)
        return result

    yield run


def project_of(path: Path, root: Path) -> Path:
    """The folder of the project a flow belongs to: the nearest one above with an orchestrator.yaml, else the one that
    holds workflows/, else ``root``."""
    for folder in path.absolute().parents:
        if (folder / _PROJECT_FILE).is_file():
            return folder
    for folder in path.absolute().parents:
        if folder.name == "workflows":
            return folder.parent
    return root


def _lanes(config: pytest.Config) -> SideLanes:
    from orchestrator.flowtests.lanes.side_lane import SideLanes

    if _LANES not in config.stash:
        config.stash[_LANES] = lanes = SideLanes()
        config.add_cleanup(lanes.close)
    return config.stash[_LANES]


def _must_pass(result: CaseResult) -> None:
    from orchestrator.flowtests.telling.telling import told

    if not result.passed:
        raise CaseFailed("\n".join(told(result)))


def _problems(error: FlowInvalid) -> str:
    return "\n".join(str(problem) for problem in error.problems)
