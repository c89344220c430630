"""Functions of the `etl-pipeline` flow: what is new in each source, in partitions, kept in files."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from _etl_rows import STAGED, Row, keep_rows, kept_rows, plain_name, read_instant, told
from _files import Kept, project_file
from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.steps.function import cpu

Json = Any
SAMPLED = 20
"""Rows of each source whose values are shown."""
EXAMPLES = 5
"""Values of each column that are shown."""
SHOWN = 60
"""Characters of one value that are shown."""


@dataclass(frozen=True)
class Watermark:
    """How far a source has been loaded: the newest change, and the keys of the rows that changed just then."""

    changed: str = ""
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Source:
    """A source, the columns that hold a row's key and its last change, and how far it has been loaded."""

    name: str
    key: str
    changed: str
    since: Watermark | None = None


@dataclass(frozen=True)
class Export:
    """A CSV file and how many rows a partition has."""

    path: str
    delimiter: str
    rows: int


@dataclass(frozen=True)
class CsvPartition:
    """A partition as `split_csv` gives it."""

    file: Kept
    delimiter: str
    source: Source


@dataclass(frozen=True)
class Batch:
    """Rows that a step has fetched."""

    rows: list[Row]
    source: Source


@dataclass(frozen=True)
class Range:
    """The smallest and largest number of what is new, and how many numbers a partition spans."""

    first: int | None
    last: int | None
    size: int


@dataclass(frozen=True)
class Staged:
    """A partition as `stage_csv` and `stage_rows` give it."""

    source: str
    file: Kept
    read: int
    rows: int
    newest: Watermark
    refused: int
    reasons: list[dict[str, Any]]


@dataclass(frozen=True)
class Extraction:
    """What came of each source, null where it failed, and why; how far each had been loaded before, and the columns
    for which there is a spec."""

    results: dict[str, list[Staged] | None]
    errors: dict[str, str | None]
    before: dict[str, Watermark]
    known: dict[str, list[str]] = field(default_factory=dict)


@activity.defn
@cpu
def split_csv(export: Export) -> list[dict[str, str]]:
    """``[{path, sha256}]``: the file in partitions, each with the header. Copied, so that what happens to the file
    meanwhile changes nothing. A row is one line. Raises TerminalError ``not_found``, ``path_refused``, ``bad_data``."""
    partitions: list[dict[str, str]] = []
    with project_file(export.path).open("rb") as file:
        header = file.readline().removeprefix(b"\xef\xbb\xbf")
        if not header.strip():
            raise TerminalError("bad_data", f"'{export.path}' has no header")
        while lines := b"".join(islice(file, export.rows)):
            partitions.append(STAGED.keep("csv", ".csv", header + lines))
    return partitions


@activity.defn
@cpu
def stage_csv(partition: CsvPartition) -> dict[str, object]:
    """What is new in one partition of a CSV file, as `stage_rows`."""
    try:
        text = STAGED.kept(partition.file).decode()
    except UnicodeDecodeError as error:
        raise TerminalError("bad_data", f"the file is not UTF-8 text (byte {error.start})") from error
    header, *cells = csv.reader(io.StringIO(text, newline=""), delimiter=partition.delimiter)
    rows = [dict(zip(header, one, strict=False)) if len(one) == len(header) else {} for one in cells if one]
    return _staged(rows, partition.source)


@activity.defn
@cpu
def stage_rows(batch: Batch) -> dict[str, object]:
    """``{source, file, read, rows, newest, refused, reasons: [{reason, rows}]}``: what is new among the rows, kept in a
    file. A row without a readable key or time of change is refused."""
    return _staged(batch.rows, batch.source)


@activity.defn
def plan_ranges(span: Range) -> list[dict[str, int]]:
    """``[{first, last}]``: the numbers in partitions, both ends included; empty where nothing is new."""
    if span.first is None or span.last is None:
        return []
    starts = range(span.first, span.last + 1, span.size)
    return [{"first": start, "last": min(start + span.size - 1, span.last)} for start in starts]


@activity.defn
@cpu
def profile_sources(extraction: Extraction) -> dict[str, object]:
    """``{rows, files, columns, unknown, extracted, watermarks, missing}``. ``unknown`` are the sources whose columns no
    spec was written for, with a few values of each column. A source that failed keeps its watermark."""
    arrived = {name: staged for name, staged in extraction.results.items() if staged is not None}
    present = {name: [one for one in staged if one.rows] for name, staged in arrived.items()}
    profiles = {name: _profile(staged) for name, staged in present.items() if staged}
    columns = {name: sorted(column["name"] for column in profile["columns"]) for name, profile in profiles.items()}
    before = extraction.before
    return {
        "rows": sum(one.rows for staged in present.values() for one in staged),
        "files": [{"source": name, "file": asdict(one.file)} for name, staged in present.items() for one in staged],
        "columns": columns,
        "unknown": {name: profile for name, profile in profiles.items() if extraction.known.get(name) != columns[name]},
        "extracted": {name: _counts(staged) for name, staged in arrived.items()},
        "watermarks": {
            name: asdict(_newest([before.get(name), *(one.newest for one in arrived.get(name, []))]))
            for name in extraction.results
        },
        "missing": [
            {"source": name, "because": extraction.errors.get(name) or "it brought nothing"}
            for name, staged in extraction.results.items()
            if staged is None
        ],
    }


def _staged(rows: list[Row], source: Source) -> dict[str, object]:
    name, since = plain_name(source.name), source.since or Watermark()
    new: list[Row] = []
    reasons: list[str] = []
    newest = Watermark()
    for row in rows:
        key = str(row.get(source.key) or "").strip()
        try:
            changed = read_instant(row.get(source.changed))
        except ValueError:
            reasons.append(f"'{source.changed}' is no time" if row else "it has not as many cells as the header")
            continue
        if not key:
            reasons.append(f"'{source.key}' is empty")
        elif changed > since.changed or (changed == since.changed and key not in since.keys):
            new.append({"changed": changed, "row": row})
            newest = _newest([newest, Watermark(changed, [key])])
    return {
        "source": name,
        "file": keep_rows(f"{name}-staged", new),
        "read": len(rows),
        "rows": len(new),
        "newest": asdict(newest),
        "refused": len(reasons),
        "reasons": told(reasons),
    }


def _newest(marks: list[Watermark | None]) -> Watermark:
    """The newest change, with the keys of all that changed just then."""
    known = [mark for mark in marks if mark is not None]
    changed = max((mark.changed for mark in known), default="")
    return Watermark(changed, sorted({key for mark in known if mark.changed == changed for key in mark.keys}))


def _profile(staged: list[Staged]) -> dict[str, Any]:
    sample = [line["row"] for line in islice(kept_rows(staged[0].file), SAMPLED)]
    columns = list(dict.fromkeys(column for row in sample for column in row))
    return {
        "rows": sum(one.rows for one in staged),
        "columns": [
            {
                "name": column,
                "filled": sum(row.get(column) not in (None, "") for row in sample) / len(sample),
                "examples": list(dict.fromkeys(str(row.get(column))[:SHOWN] for row in sample))[:EXAMPLES],
            }
            for column in columns
        ],
    }


def _counts(staged: list[Staged]) -> dict[str, Any]:
    return {
        "partitions": len(staged),
        "read": sum(one.read for one in staged),
        "new": sum(one.rows for one in staged),
        "refused": sum(one.refused for one in staged),
        "reasons": [reason for one in staged for reason in one.reasons][:EXAMPLES],
    }
