"""The child runs that carry out a loop over many items, as the page of the run shows them: a row for each slice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.client import Client
from orchestrator.client.listing import Narrower
from orchestrator.client.run import RunInfo

Json = Any

_MOST = 1_000
"""Runs of one loop that are asked for."""
_MOST_LOOPS = 10
_SHOWN = 100
_RANGE = re.compile(r"\[(\d+)-(\d+)\](?:#\d+)?")
_PLACE = re.compile(r"\[(\d+)\]")
_ORDER = ("failed", "timed_out", "terminated", "cancelled", "running", "completed")


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of a loop's items, counted from 0, and the run that they are passed in."""

    first: int
    last: int
    run: RunInfo


@dataclass(frozen=True, slots=True)
class Slices:
    """Those of one loop, in the order of their items."""

    all: Sequence[Slice]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many are in which state, what says most first."""
        found: dict[str, int] = {}
        for one in self.all:
            found[one.run.status] = found.get(one.run.status, 0) + 1
        return sorted(found.items(), key=lambda one: _rank(one[0]))

    @property
    def shown(self) -> list[Slice]:
        """Those that have a row: all, or so many of those that say most."""
        chosen = sorted(self.all, key=lambda one: (_rank(one.run.status), one.first))[:_SHOWN]
        return sorted(chosen, key=lambda one: one.first)

    @property
    def left_out(self) -> int:
        """How many have none."""
        return max(0, len(self.all) - _SHOWN)


async def slices_of(
    client: Client, root: str, started_at: datetime | None, records: Mapping[str, Json]
) -> dict[str, Slices]:
    """The slices of the run's loops by path. ``root`` is the first run of the chain; ``started_at`` tells when it
    began, as far as that is known. Temporal's list lags behind a little. Raises Unavailable."""
    found = {}
    for path in _loops(records):
        begins = f"{root}:{path}["
        page = await client.runs_page(size=_MOST, narrower=Narrower(begins, since=started_at))
        slices = _slices(page.runs, begins)
        if slices:
            found[path] = Slices(slices)
    return found


def home_of(path: str, slices: Mapping[str, Slices]) -> str | None:
    """The run in which the step of a path is, where it is in a slice."""
    for loop, found in slices.items():
        place = _PLACE.match(path, len(loop)) if path.startswith(loop) else None
        for one in found.all if place else ():
            if place and one.first <= int(place[1]) <= one.last:
                return one.run.id
    return None


def with_passes(paths: Iterable[str]) -> set[str]:
    """The loops of which a pass is among these paths."""
    return {path[: found.start()] for path in paths for found in _PLACE.finditer(path)}


def _loops(records: Mapping[str, Json]) -> list[str]:
    """Paths of the loops without a pass of their own: their items may have been too many."""
    known = with_passes(records)
    loops = [path for path, record in records.items() if record.get("type") == "for-each"]
    return [path for path in loops if path not in known][:_MOST_LOOPS]


def _slices(runs: Sequence[RunInfo], begins: str) -> list[Slice]:
    """In order. Of the runs of one slice, which may have been begun anew, the newest."""
    newest: dict[tuple[int, int], RunInfo] = {}
    for first, last, run in _ranges(runs, begins):
        newest.setdefault((first, last), run)
    return [Slice(first, last, run) for (first, last), run in sorted(newest.items())]


def _ranges(runs: Sequence[RunInfo], begins: str) -> Iterator[tuple[int, int, RunInfo]]:
    for run in runs:
        found = _RANGE.fullmatch(run.id, len(begins) - 1)
        if found is not None:
            yield int(found[1]), int(found[2]), run


def _rank(status: str) -> int:
    return _ORDER.index(status) if status in _ORDER else len(_ORDER)
