"""What a run tells beside its result: failures that were handled or tolerated, messages that were refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.spec.definition import Json

MOST = 500
"""Warnings that are kept: they travel with the journal, and a loop may go on for ever."""
LONGEST = 1_000
"""Characters of one."""


class Warnings:
    """The first warnings of a run, and how many more there were."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._more = 0

    def __iter__(self) -> Iterator[str]:
        yield from self._told
        if self._more:
            yield f"{self._more} more warnings are not shown"

    def append(self, warning: str) -> None:
        """Add one."""
        if len(self._told) < MOST:
            self._told.append(warning if len(warning) <= LONGEST else f"{warning[: LONGEST - 1]}…")
        else:
            self._more += 1

    def extend(self, warnings: Iterable[str]) -> None:
        """Add several."""
        for warning in warnings:
            self.append(warning)

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new carries on."""
        return {"warnings": self._told} | ({"more_warnings": self._more} if self._more else {})

    def restore(self, data: dict[str, Json]) -> None:
        """Become what ``to_json`` wrote; what was told since comes after it."""
        since, more = self._told, self._more
        self._told, self._more = [], 0
        self.extend([*data.get("warnings", ()), *since])
        self._more += data.get("more_warnings", 0) + more
