"""A run as it happens: which step changed, told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from orchestrator.client import Run

Json = Any
Record = dict[str, Json]

OVER = frozenset({"completed", "failed", "cancelled", "timed_out"})
CONTROL = frozenset({"block", "condition", "switch", "parallel", "set", "transform", "return", "fail"})
"""Types that take no time of their own: their beginning is no news."""
MARKS = {
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("–", "dim"),
    "cancelled": ("✗", "yellow"),
    "running": ("…", None),
}
"""How a status looks: sign and style."""
_POLL_SECONDS = 0.1


class Told:
    """Passes every change of a step's status on, each once."""

    def __init__(self, tell: Callable[[str, Record], None]) -> None:
        self._tell = tell
        self._statuses: dict[str, str] = {}

    def look(self, records: dict[str, Record]) -> None:
        """Tell what is new in ``records``."""
        for path, record in records.items():
            if self._statuses.get(path) != record["status"]:
                self._statuses[path] = record["status"]
                self._tell(path, record)


async def follow(run: Run, told: Told, waits: Callable[[Record], bool] = lambda wait: True) -> Record:
    """Poll the run's ``state`` until it is over or stands in a wait that ``waits`` accepts. Returns that state."""
    while True:
        state: Record = await run.state()
        told.look(state["steps"])
        if state["status"] in OVER or any(waits(wait) for wait in state["waits"]):
            return state
        await asyncio.sleep(_POLL_SECONDS)


def kind(path: str, record: Record) -> str:
    """The step's type; where an agent calls a tool, also which one."""
    called = path.rpartition("/")[2].startswith("call-") and record.get("name")
    return f"{record['type']} {called}" if called else str(record["type"])


def duration(record: Record) -> str:
    """How long a step took, such as ``0.12 s``; empty while it runs."""
    started, finished = record.get("started_at"), record.get("finished_at")
    if not started or not finished:
        return ""
    seconds = (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()
    return f"{seconds:.2f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
