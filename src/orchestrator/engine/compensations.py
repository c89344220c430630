"""The stack of compensations a run still owes, and what it has undone (ENGINE §1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.engine.failures import ErrorRecord
from orchestrator.engine.frame import Frame
from orchestrator.engine.journal import Journal, Record
from orchestrator.spec.definition import Json, Node


@dataclass(slots=True)
class Owed:
    """A step whose effect has to be undone if its scope fails."""

    path: str
    number: int
    """Newest first is the highest number: the order in which steps completed."""
    scope: str
    """Path of the innermost saga around; empty: the run."""
    status: str
    """``attempted`` or ``completed``."""
    names: dict[str, Json] = field(default_factory=dict)
    """``loop`` and items of the passes around the step."""
    record: Record | None = None
    """The step's record, where it was run again since and the journal holds a newer one."""
    failed: bool = False
    """Its compensation was tried and failed: the effect stands."""
    begun: bool = False
    """Its compensation is under way: what is recorded of one is its own."""
    node: Node | None = None
    frame: Frame | None = None

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new carries on."""
        told: dict[str, Json] = {
            "path": self.path,
            "number": self.number,
            "scope": self.scope,
            "status": self.status,
            "names": self.names,
            "record": self.record,
            "failed": self.failed,
            "begun": self.begun,
        }
        return {key: value for key, value in told.items() if value or key in ("scope", "number")}


class Compensations:
    """What is owed by a run."""

    def __init__(self) -> None:
        self._owed: list[Owed] = []
        self._counter = 0
        self.undone: list[dict[str, Json]] = []
        """``{path, status, error?}`` of every compensation that ran, in that order."""

    def attempt(self, node: Node, path: str, frame: Frame) -> None:
        """A step with ``compensate_on: attempted`` begins."""
        if self._of(path) is None:
            self._add(node, path, frame, "attempted")

    def complete(self, node: Node, path: str, frame: Frame) -> None:
        """A step with a compensation has completed."""
        owed = self._of(path)
        if owed is None:
            self._add(node, path, frame, "completed")
        else:
            self._counter += 1
            owed.number, owed.status = self._counter, "completed"

    def withdraw(self, path: str) -> None:
        """A step that was attempted turned out to have no effect."""
        self._owed = [owed for owed in self._owed if owed.path != path or owed.record is not None]

    def commit(self, scope: str) -> None:
        """A saga that commits has completed: nothing of it is owed any more."""
        self._owed = [owed for owed in self._owed if owed.scope != scope]

    def hand_over(self, scope: str, to: str) -> None:
        """A saga is over: what it owes, the scope around it owes from now on."""
        for owed in self._owed:
            if owed.scope == scope:
                owed.scope = to

    def newest(self, scope: str | None) -> Owed | None:
        """What to undo next; None as scope means every scope."""
        owing = [owed for owed in self._owed if not owed.failed and scope in (None, owed.scope)]
        return max(owing, key=lambda owed: owed.number) if owing else None

    def settled(self, owed: Owed, record: Record | None, error: ErrorRecord | None) -> None:
        """A compensation has ended, well or with an error. ``record`` is the step's, to be marked."""
        told: dict[str, Json] = {"path": owed.path, "status": "completed" if error is None else "failed"}
        if error is None:
            self._owed.remove(owed)
            if record is not None:
                record["undone"] = True
        else:
            owed.failed = True
            told["error"] = error
        self.undone.append(told)

    def keep_records(self, prefix: str, journal: Journal) -> None:
        """The steps under ``prefix`` will be run again: what is owed for their former run keeps what they gave. What
        was only attempted keeps its idempotency key: its effect is the next run's too, and is undone once."""
        for owed in self._owed:
            if owed.record is None and owed.status == "completed" and owed.path.startswith(prefix):
                owed.record = journal.get(owed.path)

    def owes(self, prefix: str) -> bool:
        """Whether anything is owed for a step under ``prefix``."""
        return any(owed.path.startswith(prefix) for owed in reversed(self._owed))

    def shown(self) -> list[dict[str, Json]]:
        """For the ``state`` query and the error of a failed run: what ran, then what is owed."""
        ran = [told["path"] for told in self.undone]
        owed = [{"path": one.path, "status": "owed"} for one in self._owed if one.path not in ran]
        return [*self.undone, *owed]

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new and a retry take along."""
        return {
            "compensations": [owed.to_json() for owed in self._owed],
            "compensated": self.undone,
            "counter": self._counter,
        }

    def restore(self, data: dict[str, Json]) -> None:
        """Become what ``to_json`` wrote. Nodes and frames are found again when they are needed."""
        self._owed = [Owed(**{"status": "attempted"} | owed) for owed in data["compensations"]]
        self._counter = data.get("counter") or max((owed.number for owed in self._owed), default=0)
        self.undone = data.get("compensated", [])

    def _of(self, path: str) -> Owed | None:
        """What is owed for the step's present run."""
        return next((owed for owed in self._owed if owed.path == path and owed.record is None), None)

    def _add(self, node: Node, path: str, frame: Frame, status: str) -> None:
        self._counter += 1
        self._owed.append(Owed(path, self._counter, frame.saga, status, frame.names, node=node, frame=frame))
