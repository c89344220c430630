"""The steps of a run as its page shows them: rows in the order they began, each below the step it is in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml

from orchestrator.client.run import Attempt
from orchestrator.spec.base import ACTS
from orchestrator.spec.definition import Node
from orchestrator.spec.graph.model import place_of

Json = Any
Record = dict[str, Json]

_ORDER = ("failed", "waiting", "running", "cancelled", "compensated", "completed", "skipped")
"""States, that which says most about where a run stands first."""
LONGEST = 4_000
"""Characters of one value that a row shows."""
_NUMBERED = re.compile(r"([^\[]*)\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Value:
    """A value as text. ``cut`` is how many characters are left out, ``size`` about how many bytes a value has that is
    not here at all."""

    text: str
    cut: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A step of the run. ``within`` is which list or pass of the step around it is in, told where it changes."""

    path: str
    depth: int
    within: tuple[str, int | None] | None
    id: str
    type: str
    status: str
    record: Record
    node: Node | None
    started: datetime | None
    finished: datetime | None
    wait: Mapping[str, Json] | None = None
    error: Record | None = None
    run: str | None = None
    """The run it started."""
    trying: Attempt | None = None
    """What Temporal says of a step that is tried now, or will be again."""

    @property
    def title(self) -> str:
        """Its name, where it has one."""
        return str((self.node.name if self.node else None) or self.record.get("name") or self.id)

    @property
    def attempts(self) -> int:
        """How often it was tried so far."""
        return max(int(self.record.get("attempts") or 0), self.trying.number if self.trying else 0)

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it has no end."""
        if self.started is None or self.finished is None or self.status == "skipped":
            return None
        return (self.finished - self.started).total_seconds()

    @property
    def source(self) -> str:
        """Where in the YAML it stands: ``file:line:column``."""
        return str((self.error or {}).get("source") or (self.node.source if self.node else ""))

    @property
    def config(self) -> str:
        """Its config as YAML, as its author wrote it. Made when it is looked at, as the values below: a run can have
        many more rows than a page shows."""
        return written(self.node)

    @property
    def acts(self) -> bool:
        """Whether it was sent its config: an activity carries it out. What others do, the run does itself."""
        return self.type in ACTS and self.status != "skipped"

    @property
    def output(self) -> Value | None:
        """What it gave."""
        if "output_bytes" in self.record:
            return Value("", size=int(self.record["output_bytes"]))
        if "output" not in self.record or self.status == "skipped":
            return None
        return value_of(self.record["output"])

    @property
    def decided(self) -> Mapping[str, Json] | None:
        """Of a task that is over: the decision, who took it, when, and what they said."""
        given = self.record.get("output") if self.type == "human-task" else None
        return given if isinstance(given, dict) and given.get("decision") else None

    @property
    def error_data(self) -> Value | None:
        """What its error holds besides its sentence."""
        error = self.error or {}
        more = {key: error[key] for key in ("status", "data", "cause", "errors") if error.get(key) is not None}
        return value_of(more) if more else None

    @property
    def usage(self) -> dict[str, Json]:
        """What it used of a model; empty where it used none."""
        told = self.record.get("usage")
        return told if isinstance(told, dict) else {}

    @property
    def cause(self) -> str | None:
        """The path of the step inside it whose error is its own."""
        step = (self.error or {}).get("step")
        path = step.get("path") if isinstance(step, dict) else None
        return path if isinstance(path, str) and path != self.path else None

    @property
    def anchor(self) -> str:
        """Its ``id`` in the page."""
        return anchor_of(self.path)


@dataclass(frozen=True, slots=True)
class Run:
    """What rows are made of: the run's state, its flow's steps by place, and what is tried now, by path."""

    root: str
    records: Mapping[str, Record]
    waits: Sequence[Mapping[str, Json]]
    places: Mapping[str, Node]
    attempts: Mapping[str, Attempt]

    def rows(self) -> list[Row]:
        """Every step that has begun or was skipped."""
        waits = {str(wait["path"]): wait for wait in self.waits}
        rows: list[Row] = []
        before: dict[str, tuple[str, int | None]] = {}
        for path, depth, around in _in_tree(self.records):
            within = _within(path[len(around) :])
            told = within if within != before.get(around, ("", None)) else None
            before[around] = within
            rows.append(self._row(path, depth, told if told and told[0] else None, waits.get(path)))
        return rows

    def _row(
        self, path: str, depth: int, within: tuple[str, int | None] | None, wait: Mapping[str, Json] | None
    ) -> Row:
        record = self.records[path]
        node = self.places.get(place_of(path))
        error = record.get("error")
        return Row(
            path=path,
            depth=depth,
            within=within,
            id=path.rpartition("/")[2],
            type=str(record.get("type", "")),
            status=status_of(record, waiting=wait is not None),
            record=record,
            node=node,
            started=moment_of(record.get("started_at")),
            finished=moment_of(record.get("finished_at")),
            wait=wait,
            error=error if isinstance(error, dict) else None,
            run=self._started(path, record),
            trying=self.attempts.get(path) if record.get("status") == "running" else None,
        )

    def _started(self, path: str, record: Record) -> str | None:
        """The run that a ``flow`` step started, as far as it is known."""
        if record.get("type") != "flow":
            return None
        output = record.get("output")
        told = record.get("run_id") or (output.get("run_id") if isinstance(output, dict) else None)
        if isinstance(told, str):
            return told
        return f"{self.root}:{path}" if record["status"] == "running" else None


@dataclass(slots=True)
class Tally:
    """All records of one step of the flow: a step in a loop has one for each pass."""

    rows: list[Row] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The one that says most about where the run stands."""
        found = {row.status for row in self.rows}
        return next((status for status in _ORDER if status in found), "skipped")

    def counts(self) -> list[tuple[str, int]]:
        """How many records have which status, what says most first."""
        counted: dict[str, int] = {}
        for row in self.rows:
            counted[row.status] = counted.get(row.status, 0) + 1
        return sorted(counted.items(), key=lambda one: _ORDER.index(one[0]) if one[0] in _ORDER else len(_ORDER))


def tallies(rows: Sequence[Row]) -> dict[str, Tally]:
    """What a run says of each step of its flow, by id."""
    found: dict[str, Tally] = {}
    for row in rows:
        if row.node is not None:
            found.setdefault(row.node.id, Tally()).rows.append(row)
    return found


def status_of(record: Record, *, waiting: bool) -> str:
    """The step's state in one word: its status, or ``waiting``, or ``compensated``."""
    status = str(record.get("status"))
    if status == "running":
        return "waiting" if waiting else "running"
    return "compensated" if record.get("undone") else status


def anchor_of(path: str) -> str:
    """What the row of a path is called in the page's address."""
    return f"step-{path}"


def moment_of(text: Json) -> datetime | None:
    """A moment of a record; None where there is none."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo is not None else None


def value_of(value: Json, most: int = LONGEST) -> Value:
    """A JSON value for people."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return Value(text[:most], max(0, len(text) - most))


def written(node: Node | None) -> str:
    """The step's config as YAML, as its author wrote it."""
    if node is None or not node.config:
        return ""
    return as_yaml(node.config)


def as_yaml(value: Json) -> str:
    """A value as YAML, cut where it is long."""
    text = yaml.dump(value, Dumper=_Plain, allow_unicode=True, sort_keys=False, width=100)
    text = text.removesuffix("...\n")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Json) -> bool:
        return True


def _in_tree(records: Mapping[str, Record]) -> Iterator[tuple[str, int, str]]:
    """Paths in the order they began, each behind the step it is in: the path, how deep, and the path around."""
    inside: dict[str, list[str]] = {}
    for path in records:
        inside.setdefault(_around(path, records), []).append(path)
    trail = [(iter(inside.get("", ())), "")]
    while trail:
        following, around = trail[-1]
        path = next(following, "")
        if not path:
            trail.pop()
            continue
        yield path, len(trail) - 1, around
        trail.append((iter(inside.get(path, ())), path))


def _around(path: str, records: Mapping[str, Record]) -> str:
    """The innermost step around; empty where there is none."""
    end = len(path)
    while end > 0:
        end = max(path.rfind(sign, 0, end) for sign in "/[#")
        if end > 0 and path[:end] in records:
            return path[:end]
    return ""


def _within(rest: str) -> tuple[str, int | None]:
    """Which list or pass the end of a path goes through: ``[3]/charge`` is pass 3, ``/then/ask`` is ``then``."""
    between = rest.rpartition("/")[0].strip("/#")
    found = _NUMBERED.fullmatch(between)
    if found is None:
        return between, None
    return found[1].rstrip("/") or "pass", int(found[2])
