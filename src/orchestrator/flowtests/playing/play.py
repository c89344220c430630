"""One run of a flow in a test, as its worker sees it: who answers for its steps, and everything it did.

A run that Temporal replays, or that continues as new, is played again from the start: what was consumed and noted
belongs to one execution (``Part``), so it comes out the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from orchestrator.engine.journal import Journal, Record
from orchestrator.flowtests.results import Called, Mismatch
from orchestrator.spec.call import StepCall
from orchestrator.spec.definition import Node
from orchestrator.spec.flowtests.cases import FlowCase, Mock
from orchestrator.spec.flowtests.model import Answer

Json = Any


class Part:
    """One execution of one run."""

    def __init__(self, play: Play, workflow_id: str, before: Part | None) -> None:
        self.play = play
        self.case = play.case
        self.workflow_id = workflow_id
        self.flow = ""
        self.begun: dict[str, str] = {} if before is None else dict(before.begun)
        """Paths of the steps that have begun, and their ids."""
        self.records: dict[str, Record] = {} if before is None else dict(before.records)
        """Every record there ever was, by path: also those the run itself has dropped."""
        self.calls: list[Called] = [] if before is None else list(before.calls)
        self.problems: list[Mismatch] = [] if before is None else list(before.problems)
        self.delivered: set[int] = set() if before is None else set(before.delivered)
        """Numbers of the events that have happened."""
        self.used: dict[str, int] = {} if before is None else dict(before.used)
        """How many answers of each mock were given."""
        self.state: dict[str, Json] | None = None
        """The run's state when it ended."""
        self.seconds = 0.0
        self.waiting: Callable[[], list[str]] = list

    def note(self, path: str, node_id: str, record: Record) -> None:
        """A step has begun, or was skipped."""
        self.begun.setdefault(path, node_id)
        # In the order of the last beginning: a step that is run again stands where that was.
        self.records.pop(path, None)
        self.records[path] = record

    def has_begun(self, step: str) -> bool:
        """Whether a step, by id or path, has begun."""
        return step in self.begun or any(
            found == step and self.records[path]["status"] != "skipped" for path, found in self.begun.items()
        )

    def mock(self, call: StepCall) -> Mock | None:
        """What answers for the step."""
        mocks = self.case.mocks
        return mocks.get(call.path) or mocks.get(call.step)

    def is_real(self, call: StepCall) -> bool:
        """Whether the step does what it does."""
        return bool({"*", call.step, call.type, call.path} & self.case.real)

    def answer(self, mock: Mock) -> Answer | None:
        """The next answer; None where a list has run out."""
        number = self.used.get(mock.step, 0)
        self.used[mock.step] = number + 1
        if not mock.in_order:
            return mock.answers[0]
        return mock.answers[number] if number < len(mock.answers) else None

    def called(self, call: StepCall, config: Json, attempt: int, *, real: bool = False) -> None:
        """An attempt begins."""
        self.calls.append(Called(call.path, call.step, config, attempt, self.flow, real))

    def blame(self, message: str, where: str) -> None:
        """The case cannot pass."""
        problem = Mismatch(message, where)
        if problem not in self.problems:
            self.problems.append(problem)


@dataclass(slots=True)
class Play:
    """One case at work: its run and the runs of its sub-flows."""

    case: FlowCase
    run_id: str
    """Of the case's own run."""
    steps: frozenset[str]
    """Ids of the flow's own steps."""
    ending: Callable[[], None] = lambda: None
    """Called by the case's own run at its very end, before Temporal hears of it."""
    parts: dict[str, list[tuple[str, Part]]] = field(default_factory=dict)
    """By workflow id, executions in their order: Temporal's run id and what it did."""

    def begin(self, workflow_id: str, run_id: str, continued_from: str | None) -> Part:
        """An execution begins, or begins again in a replay."""
        listed = self.parts.setdefault(workflow_id, [])
        before = next((part for known, part in listed if known == continued_from), None)
        part = Part(self, workflow_id, before)
        listed[:] = [(known, old) for known, old in listed if known != run_id]
        listed.append((run_id, part))
        return part

    def last(self, workflow_id: str) -> Part | None:
        """The newest execution of a run."""
        listed = self.parts.get(workflow_id)
        return listed[-1][1] if listed else None

    def all(self) -> Iterator[Part]:
        """The newest execution of every run, the case's own first."""
        for listed in self.parts.values():
            yield listed[-1][1]


class WatchedJournal(Journal):
    """A journal that tells of every record."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self._part = part

    def start(self, node: Node, path: str, at: str, inside: str = "") -> Record:
        """As the journal does."""
        record = super().start(node, path, at, inside)
        self._part.note(path, node.id, record)
        return record

    def skip(self, node: Node, path: str, at: str, inside: str = "") -> Record:
        """As the journal does."""
        record = super().skip(node, path, at, inside)
        self._part.note(path, node.id, record)
        return record


class Stage:
    """The plays that go on in one lane, by the id of their first run."""

    def __init__(self) -> None:
        self._plays: dict[str, Play] = {}

    def enter(self, run_id: str, play: Play) -> None:
        """A case begins: runs of this id, and those below it, are its."""
        self._plays[run_id] = play

    def leave(self, run_id: str) -> None:
        """A case is over."""
        self._plays.pop(run_id, None)

    def play(self, workflow_id: str) -> Play | None:
        """The case a run belongs to. The id of a sub-flow's run begins with its parent's, and a colon."""
        return self._plays.get(workflow_id.partition(":")[0])
