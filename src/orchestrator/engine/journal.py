"""The record of step results inside a run. Keys are paths (ENGINE §1); a record is plain JSON, exactly what
``steps.<id>`` shows to expressions (FLOW_FORMAT §4)."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.engine.failures import ErrorRecord
from orchestrator.spec.definition import Json, Node

Record = dict[str, Json]

_SETTLED = ("completed", "failed", "skipped", "cancelled")


class Journal:
    """Path → record, in the order steps were started."""

    def __init__(self, records: dict[str, Record] | None = None) -> None:
        self._records: dict[str, Record] = dict(records or {})
        self._running: dict[str, None] = {}
        self.counts: dict[str, int] = {}
        """Steps by status."""

    def settled(self, path: str) -> Record | None:
        """The record of a step that is over, else None."""
        record = self._records.get(path)
        return record if record is not None and record["status"] in _SETTLED else None

    def start(self, node: Node, path: str, at: str) -> Record:
        """Open a record: status ``running``."""
        record: Record = {"type": node.type, "status": "running", "attempts": 1, "started_at": at}
        if node.name:
            record["name"] = node.name
        self._records[path] = record
        self._running[path] = None
        self._count("running", 1)
        return record

    def complete(self, path: str, record: Record, at: str, output: Json, extra: dict[str, Json]) -> None:
        """Close a record with its output."""
        record.update(extra)
        self._close(path, record, "completed")
        record.update(status="completed", output=output, finished_at=at)

    def fail(self, path: str, record: Record, at: str, error: ErrorRecord) -> None:
        """Close a record with its error."""
        self._close(path, record, "failed")
        record.update(status="failed", error=error, finished_at=at, attempts=error.get("attempts", 1))

    def cancel(self, path: str, record: Record, at: str) -> None:
        """Close a record whose step was stopped before its end."""
        self._close(path, record, "cancelled")
        record.update(status="cancelled", finished_at=at)

    def skip(self, node: Node, path: str, at: str) -> Record:
        """Record a step that does not run."""
        record: Record = {
            "type": node.type,
            "status": "skipped",
            "attempts": 0,
            "started_at": at,
            "finished_at": at,
        }
        self._records[path] = record
        self._count("skipped", 1)
        return record

    def running(self, most: int) -> list[str]:
        """Paths of the newest steps that have begun and not ended."""
        return list(self._running)[-most:]

    def _close(self, path: str, record: Record, status: str) -> None:
        self._running.pop(path, None)
        self._count(str(record["status"]), -1)
        self._count(status, 1)

    def _count(self, status: str, by: int) -> None:
        self.counts[status] = self.counts.get(status, 0) + by

    def items(self) -> Iterator[tuple[str, Record]]:
        """Paths and records in start order."""
        return iter(self._records.items())
