"""What came of a case: plain data, that can be compared, shown and sent between processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something that is not as the case says."""

    message: str
    where: str
    """``file:line:column``, of the expectation as a rule."""
    expected: Json = None
    got: Json = None
    compared: bool = False
    """Whether ``expected`` and ``got`` are values to be shown beside each other."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Ran:
    """A step of the run, in the state in which it was left."""

    path: str
    step: str
    type: str
    status: str
    flow: str
    output: Json = None
    error: dict[str, Json] | None = None
    branch: str | int | None = None
    """Of a condition or switch: ``then``, ``else``, ``none``, ``default``, the number of a case."""


@dataclass(frozen=True, slots=True)
class Called:
    """One attempt of a step that was mocked, or that ran for real."""

    path: str
    step: str
    config: Json
    attempt: int
    flow: str
    real: bool = False


@dataclass(slots=True)
class CaseResult:
    """One case. ``passed`` where nothing is left to say."""

    file: str
    name: str
    line: int
    flow: str
    problems: list[Mismatch] = field(default_factory=list)
    status: str = "not_started"
    output: Json = None
    error: dict[str, Json] | None = None
    vars: dict[str, Json] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    steps: list[Ran] = field(default_factory=list)
    """In the order they began; of a step in a loop one for every pass."""
    calls: list[Called] = field(default_factory=list)
    compensated: list[str] = field(default_factory=list)
    """Paths of the steps that were undone, in that order."""
    waiting: list[str] = field(default_factory=list)
    """What a run that did not end was waiting for."""
    seconds: float = 0.0
    """How long the run took by its own clock."""
    cost: float = 0.0
    took: float = 0.0
    """How long the case took by the clock on the wall."""

    @property
    def passed(self) -> bool:
        """Whether everything was as the case says."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Unreached:
    """A step that no case ran, or a branch that no case took."""

    what: str
    where: str
    """``file:line:column`` in the flow."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(slots=True)
class Coverage:
    """How much of one flow its cases reach."""

    flow: str
    file: str
    steps: int = 0
    steps_run: int = 0
    branches: int = 0
    branches_taken: int = 0
    unreached: list[Unreached] = field(default_factory=list)


@dataclass(slots=True)
class FileResult:
    """A test file. ``problems`` are those for which none of its cases could run."""

    file: str
    flow: str | None = None
    flow_file: str | None = None
    cases: list[CaseResult] = field(default_factory=list)
    problems: list[Mismatch] = field(default_factory=list)
    coverage: Coverage | None = None

    @property
    def passed(self) -> bool:
        """Whether the file could be read and every case passed."""
        return not self.problems and all(case.passed for case in self.cases)


@dataclass(slots=True)
class Report:
    """Every file of one go."""

    files: list[FileResult] = field(default_factory=list)
    took: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every file passed."""
        return all(file.passed for file in self.files)

    @property
    def unreadable(self) -> list[FileResult]:
        """Files none of whose cases could run."""
        return [file for file in self.files if file.problems]

    @property
    def cases(self) -> list[CaseResult]:
        """The cases of all files."""
        return [case for file in self.files for case in file.cases]
