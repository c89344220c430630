"""What the steps of a run took: kept as plain JSON, so that it travels with the journal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from orchestrator.engine import usage
from orchestrator.engine.journal import Journal, Record
from orchestrator.spec.definition import Json

_NO_WORK = frozenset(
    {
        "block", "parallel", "condition", "switch", "for-each", "while", "try", "saga", "set", "transform", "return",
        "fail", "wait", "wait-for-event", "human-task", "run-steps",
    }
)  # fmt: skip
"""Step types that do nothing themselves: they hold others, wait, or are over at once."""
_PASS = re.compile(r"\[\d+\]$")
MOST_STEPS = 200
"""Steps that are counted one by one; those of larger flows are counted together only."""


class Tally:
    """Counts each step of a run as it ends. What an agent's model and tools do counts as the agent's."""

    def __init__(self, journal: Journal, state: dict[str, Json]) -> None:
        self._journal = journal
        self._state = state
        """``{"attempts", "step_duration", "tokens", "cost", "steps": {id: …}}``, changed in place."""

    @staticmethod
    def fresh() -> dict[str, Json]:
        """The state of a run that has done nothing."""
        return {"attempts": 0, "step_duration": 0.0, "tokens": 0, "cost": 0.0, "steps": {}}

    def add(self, path: str, record: Record) -> None:
        """A step has ended; ``record`` is its record."""
        if record["type"] in _NO_WORK or self._is_of_an_agent(path):
            return
        state, attempts = self._state, int(record.get("attempts") or 1)
        seconds = _seconds(record)
        used = record.get("usage") or (record.get("error") or {}).get("usage") or {}
        tokens, cost = usage.tokens(used), usage.cost(used)
        state["attempts"] = max(state["attempts"], attempts)
        state["step_duration"] = max(state["step_duration"], seconds)
        state["tokens"] += tokens
        state["cost"] = round(state["cost"] + cost, 9)
        steps, name = state["steps"], path.rsplit("/", 1)[-1]
        if name not in steps and len(steps) >= MOST_STEPS:
            return
        step = steps.setdefault(name, {"runs": 0, "seconds": 0.0, "longest": 0.0, "attempts": 0})
        step["runs"] += 1
        step["seconds"] = round(step["seconds"] + seconds, 3)
        step["longest"] = max(step["longest"], seconds)
        step["attempts"] += attempts
        for key, more in (("failed", record["status"] == "failed"), ("tokens", tokens), ("cost", cost)):
            if more:
                step[key] = round(step.get(key, 0) + more, 9)

    def _is_of_an_agent(self, path: str) -> bool:
        """Whether it belongs to an agent, whose own record sums it up."""
        above = (self._journal.get(place) for place in _around(path))
        return any(record is not None and record["type"] == "agent" for record in above)


def _around(path: str) -> Iterator[str]:
    """The paths that may be those of steps around this one, nearest first."""
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        path = _PASS.sub("", path)
        yield path


def _seconds(record: Record) -> float:
    begun, ended = (datetime.fromisoformat(record[name]) for name in ("started_at", "finished_at"))
    return max(0.0, round((ended - begun).total_seconds(), 3))
