"""The open waits of a run, to be looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from temporalio import workflow

from orchestrator.engine.together import CLEANED_UP_AFTER
from orchestrator.spec.definition import Json


@dataclass(frozen=True, slots=True)
class Wait:
    """An open wait, as the ``state`` query shows it."""

    path: str
    step: str
    kind: str
    until: str | None = None
    assignee: str | None = None

    def to_json(self) -> dict[str, Json]:
        """JSON without empty members."""
        shown = {
            "path": self.path,
            "step": self.step,
            "kind": self.kind,
            "until": self.until,
            "assignee": self.assignee,
        }
        if self.kind == "human-task":
            shown["task_id"] = f"{workflow.info().workflow_id}:{self.path}"
        return {key: value for key, value in shown.items() if value is not None}


class Waits:
    """The open waits of a run by path; ``changed`` is told after every change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._open: dict[str, Wait] = {}
        self._changed = changed

    @contextlib.contextmanager
    def open(self, wait: Wait) -> Iterator[None]:
        """The wait is open while the context is."""
        self._open[wait.path] = wait
        self._changed()
        try:
            yield
        except CLEANED_UP_AFTER:
            self._close(wait)
            raise
        self._close(wait)

    def _close(self, wait: Wait) -> None:
        del self._open[wait.path]
        self._changed()

    def all(self) -> list[Wait]:
        """Open waits in the order they opened."""
        return list(self._open.values())
