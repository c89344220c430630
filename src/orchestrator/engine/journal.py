"""The record of step results inside a run. Keys are paths (ENGINE §1); a record is plain JSON, exactly what
``steps.<id>`` shows to expressions (FLOW_FORMAT §4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from orchestrator.engine.failures import ErrorRecord
from orchestrator.spec.definition import Json, Node

Record = dict[str, Json]
State = dict[str, Json]

MOST_RECENT = 1_000
"""Records of finished passes that are kept to be looked at; they do not travel."""

_PASS = re.compile(r"\[\d+\]/")


class Journal:
    """Path → record, in the order steps were started; beside it what a step that is not over needs to go on.

    A finished pass of a loop is folded: its records are dropped, because its output stands in the loop's state. So
    going on costs what is open, not what was done.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._states: dict[str, State] = {}
        self._generations: dict[str, int] = {}
        self._prefixes: dict[str, int] = {}
        self._folded: dict[str, int] = {}
        self._inside: dict[str, list[str]] = {}
        """Paths by the prefix of the pass they belong to."""
        self._passes: dict[str, dict[str, None]] = {}
        """Prefixes of the passes that are recorded, by loop."""
        self._recent: dict[str, Record] = {}
        self._running: dict[str, None] = {}
        self.counts: dict[str, int] = {}
        """Steps by status."""
        self.ended: Callable[[str, Record], None] | None = None
        """Told of every record that is closed, where somebody keeps count."""

    # -- reading ----------------------------------------------------------------------------------------------

    def get(self, path: str) -> Record | None:
        """The record of a step that has begun, or None."""
        return self._records.get(path)

    def has_inside(self, prefix: str) -> bool:
        """Whether steps of the pass with this prefix are recorded."""
        return any(path in self._records for path in self._inside.get(prefix, ()))

    def running(self, most: int) -> list[str]:
        """Paths of the newest steps that have begun and not ended."""
        return list(self._running)[-most:]

    def items(self) -> list[tuple[str, Record]]:
        """Paths and records; those of folded passes, as far as they are kept, first."""
        return [*self._recent.items(), *self._records.items()]

    def records(self) -> Iterator[tuple[str, Record]]:
        """Paths and records in start order, folded passes left out."""
        return iter(self._records.items())

    def generation(self, path: str) -> int:
        """1, and one more for every time the step was deliberately run again (ENGINE §1)."""
        own = self._generations.get(path, 1)
        if self._prefixes:
            own += sum(times for loop, times in self._prefixes.items() if path.startswith(f"{loop}["))
        return own

    def repeats(self, loop: str) -> int:
        """By how much the generation of everything inside a loop has risen."""
        return self.generation(f"{loop}[0]/") - 1

    def repeat(self, loop: str, times: int) -> None:
        """Everything inside a loop was run so many times before."""
        if times:
            self._prefixes[loop] = times

    # -- steps ------------------------------------------------------------------------------------------------

    def start(self, node: Node, path: str, at: str, inside: str = "") -> Record:
        """Open a record: status ``running``. ``inside`` is the prefix of the pass it belongs to."""
        record: Record = {"type": node.type, "status": "running", "attempts": 1, "started_at": at}
        if node.name:
            record["name"] = node.name
        self._put(path, record, inside)
        self._running[path] = None
        return record

    def complete(self, path: str, record: Record, at: str, output: Json, extra: dict[str, Json]) -> None:
        """Close a record with its output."""
        record.update(extra)
        self._close(path, record, "completed")
        record.update(output=output, finished_at=at)
        self._states.pop(path, None)
        self._tell(path, record)

    def fail(self, path: str, record: Record, at: str, error: ErrorRecord) -> None:
        """Close a record with its error. Its state stays: a retry goes on from it."""
        self._close(path, record, "failed")
        record.update(error=error, finished_at=at, attempts=error.get("attempts", 1))
        self._tell(path, record)

    def cancel(self, path: str, record: Record, at: str) -> None:
        """Close a record whose step was stopped before its end."""
        self._close(path, record, "cancelled")
        record.update(finished_at=at)
        self._tell(path, record)

    def skip(self, node: Node, path: str, at: str, inside: str = "") -> Record:
        """Record a step that does not run."""
        record: Record = {"type": node.type, "status": "skipped", "attempts": 0, "started_at": at, "finished_at": at}
        self._put(path, record, inside)
        return record

    def state(self, path: str) -> State:
        """What the step at ``path`` keeps to go on from; made empty at first."""
        return self._states.setdefault(path, {})

    def known_state(self, path: str) -> State | None:
        """The step's state, where it has one."""
        return self._states.get(path)

    # -- loops and repeats ------------------------------------------------------------------------------------

    def fold(self, loop: str, prefix: str) -> None:
        """Drop what a finished pass recorded: the records whose ``inside`` is ``prefix``, and of a loop among them the
        passes that were kept, such as failed ones."""
        self._folded[loop] = self._folded.get(loop, 0) + 1
        self._drop_pass(prefix)
        while len(self._recent) > MOST_RECENT:
            del self._recent[next(iter(self._recent))]

    def reopen(self, prefixes: tuple[str, ...]) -> None:
        """Forget everything under ``prefixes``, to be run again: what had completed gets a new generation, what had
        failed keeps its idempotency key, because its effect may exist."""
        for loop in [path for path in self._folded if path.startswith(prefixes)]:
            del self._folded[loop]
            self._prefixes[loop] = self._prefixes.get(loop, 0) + 1
        for path in [path for path in self._records if path.startswith(prefixes)]:
            record = self._records.pop(path)
            self._states.pop(path, None)
            self._running.pop(path, None)
            self._count(str(record["status"]), -1)
            if record["status"] == "completed":
                self._generations[path] = self._generations.get(path, 1) + 1

    # -- travelling -------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new and a retry take along."""
        return {
            "records": [[path, record] for path, record in self._records.items()],
            "states": self._states,
            "generations": self._generations,
            "prefixes": self._prefixes,
            "folded": self._folded,
            "counts": self.counts,
        }

    def restore(self, data: dict[str, Json]) -> None:
        """Become what ``to_json`` wrote."""
        for path, record in data["records"]:
            self._records[path] = record
            for found in _PASS.finditer(path):
                self._put_inside(path[: found.end()], path)
            if record["status"] == "running":
                self._running[path] = None
        self._states = data.get("states", {})
        self._generations = data.get("generations", {})
        self._prefixes = data.get("prefixes", {})
        self._folded = data.get("folded", {})
        self.counts = data.get("counts", {})

    def _put(self, path: str, record: Record, inside: str) -> None:
        self._records[path] = record
        if inside:
            self._put_inside(inside, path)
        self._count(str(record["status"]), 1)

    def _put_inside(self, prefix: str, path: str) -> None:
        paths = self._inside.get(prefix)
        if paths is None:
            paths = self._inside[prefix] = []
            self._passes.setdefault(_loop_of(prefix), {})[prefix] = None
        paths.append(path)

    def _drop_pass(self, prefix: str) -> None:
        for path in self._inside.pop(prefix, ()):
            for inner in list(self._passes.get(path, ())):
                self._drop_pass(inner)
            record = self._records.pop(path, None)
            self._states.pop(path, None)
            self._folded.pop(path, None)
            if record is not None:
                self._recent[path] = record
        passes = self._passes.get(_loop_of(prefix), {})
        passes.pop(prefix, None)
        if not passes:
            self._passes.pop(_loop_of(prefix), None)

    def _close(self, path: str, record: Record, status: str) -> None:
        self._running.pop(path, None)
        self._count(str(record["status"]), -1)
        self._count(status, 1)
        record["status"] = status

    def _tell(self, path: str, record: Record) -> None:
        if self.ended is not None:
            self.ended(path, record)

    def _count(self, status: str, by: int) -> None:
        self.counts[status] = self.counts.get(status, 0) + by


def _loop_of(prefix: str) -> str:
    """The path of the loop whose pass has this prefix."""
    return prefix.rpartition("[")[0]
