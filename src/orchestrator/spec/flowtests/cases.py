"""A case as it runs: its file's defaults filled in, and where in the file everything stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.spec.flowtests.model import WALL_CLOCK, Answer, Case, Defaults, Expect, Occurrence, Start
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.source import Path, Source

Json = Any


@dataclass(frozen=True, slots=True)
class Mock:
    """What answers for a step. A list is consumed attempt by attempt; a single answer is given every time."""

    step: str
    """An id or a path, as written."""
    answers: tuple[Answer, ...]
    in_order: bool
    where: str
    """``file:line:column``."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An entry of ``events``."""

    what: Occurrence
    where: str


@dataclass(frozen=True, slots=True)
class FlowCase:
    """One case, ready to run."""

    name: str
    file: str
    index: int
    source: Source
    inputs: dict[str, Json]
    env: dict[str, Json]
    mocks: dict[str, Mock]
    real: frozenset[str]
    events: tuple[Happening, ...]
    expect: Expect
    trigger: Start | None = None
    given: dict[str, Json] = field(default_factory=dict)
    """The trigger as written, a sample filled in."""
    timeout: float = WALL_CLOCK

    @property
    def line(self) -> int:
        """Where the case begins."""
        return self.source.value_at(("cases", self.index))[0]

    def where(self, *path: str | int) -> str:
        """``file:line:column`` of a part of the case."""
        return place(self.source, ("cases", self.index, *path))


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A test file, read and checked, with the flow that it tests."""

    file: str
    flow: LoadedFlow
    flow_file: str
    """As a path that can be opened."""
    cases: tuple[FlowCase, ...]


def place(source: Source, path: Path) -> str:
    """``file:line:column`` of a value; of a member, of its key."""
    line, column = source.key_at(path)
    return f"{source.file}:{line}:{column}"


def ready(case: Case, index: int, defaults: Defaults, source: Source, given: dict[str, Json]) -> FlowCase:
    """A case with the defaults of its file: its own entries win, step by step and name by name. ``given`` is its
    trigger as written, a sample filled in."""
    own: Path = ("cases", index)
    mocks: dict[str, Mock] = {}
    for base, one in ((("defaults",), defaults), (own, case)):
        for step, answers in one.mocks.items():
            listed = isinstance(answers, list)
            mocks[step] = Mock(
                step,
                tuple(answers) if isinstance(answers, list) else (answers,),
                listed,
                place(source, (*base, "mocks", step)),
            )
    return FlowCase(
        name=case.name,
        file=source.file,
        index=index,
        source=source,
        inputs=defaults.inputs | (case.inputs or {}),
        env=defaults.env | case.env,
        mocks=mocks,
        real=frozenset([*defaults.real, *case.real]),
        events=tuple(
            Happening(what, place(source, (*own, "events", number))) for number, what in enumerate(case.events)
        ),
        expect=case.expect,
        trigger=None if not given else Start.model_validate(given),
        given=given,
        timeout=case.timeout or defaults.timeout or WALL_CLOCK,
    )
