"""Functions of the `etl-pipeline` flow: how good transformed rows are, and what is done about those that are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from _etl_rows import Row, keep_rows, kept_rows, plain_name
from _files import Kept
from temporalio import activity

from orchestrator.steps.function import cpu

Json = Any
SAMPLED = 10
"""Rows of a sample that are taken at equal distances."""
EXAMPLES = 3


@dataclass(frozen=True)
class Rule:
    """What every row has to hold. ``remedy`` is what is done with a row that does not: it is refused, or its value is
    cleared, or brought to the nearest bound; of rows with the same value of a ``unique`` column the newest stays."""

    column: str
    rule: Literal["filled", "unique", "range", "one_of"]
    min: float | str | None = None
    max: float | str | None = None
    values: list[Json] = field(default_factory=list)
    remedy: Literal["refuse", "clear", "clamp", "newest"] = "refuse"


@dataclass(frozen=True)
class Suspicion:
    """A value that should not be there, and why."""

    column: str
    value: str
    why: str


@dataclass(frozen=True)
class TransformedFile:
    """A file of transformed rows."""

    source: str
    file: Kept


@dataclass(frozen=True)
class Inspection:
    """Rows and what they have to hold."""

    files: list[TransformedFile]
    rules: list[Rule]


@dataclass(frozen=True)
class Remedy:
    """Rows, the rules, and values that no row may have."""

    files: list[TransformedFile]
    rules: list[Rule]
    suspicions: list[Suspicion] = field(default_factory=list)


@activity.defn
@cpu
def check_quality(inspection: Inspection) -> dict[str, object]:
    """``{score, rows, issues: [{column, rule, rows, examples}], sample}``: the share of rows that hold every rule, and
    a sample for whoever looks at it."""
    lines = list(_lines(inspection.files))
    twice = _twice(lines, inspection.rules)
    found: dict[int, list[str]] = {number: [] for number in range(len(inspection.rules))}
    good = 0
    for line in lines:
        broken = [
            number for number, rule in enumerate(inspection.rules) if _breaks(line["row"], rule, twice.get(rule.column))
        ]
        for number in broken:
            found[number].append(str(line["row"].get(inspection.rules[number].column)))
        good += not broken
    issues = [
        {"column": rule.column, "rule": rule.rule, "rows": len(found[number]), "examples": found[number][:EXAMPLES]}
        for number, rule in enumerate(inspection.rules)
        if found[number]
    ]
    return {
        "score": round(good / len(lines), 4) if lines else 1.0,
        "rows": len(lines),
        "issues": issues,
        "sample": [line["row"] | {"source": line["source"]} for line in _sample(lines)],
    }


@activity.defn
@cpu
def remedy_rows(remedy: Remedy) -> dict[str, object]:
    """``{files, refused, changed}``: the rows as their rules' remedies leave them. Nothing but these remedies is done;
    a value under suspicion refuses the rows that have exactly it."""
    newest = _newest(remedy)
    files: list[dict[str, object]] = []
    rejects: list[Row] = []
    changed = 0
    for given in remedy.files:
        kept: list[Row] = []
        for line in kept_rows(given.file):
            reason, row = _remedied(line, remedy, newest)
            if reason is None:
                changed += row != line["row"]
                kept.append(line | {"row": row})
            else:
                rejects.append({"reason": reason, **line})
        if kept:
            name = plain_name(given.source)
            files.append({"source": name, "file": keep_rows(f"{name}-remedied", kept)})
    return {
        "files": files,
        "refused": len(rejects),
        "reasons": [{"reason": reason, "rows": rows} for reason, rows in _reasons(rejects)],
        "changed": changed,
        "rejects": keep_rows("quality-rejects", rejects) if rejects else None,
    }


def _lines(files: list[TransformedFile]) -> Iterator[Row]:
    for given in files:
        yield from kept_rows(given.file)


def _sample(lines: list[Row]) -> list[Row]:
    """Rows from everywhere, and those with the shortest and longest texts and the smallest and largest numbers, for
    that is where faults are."""
    chosen = list(range(0, len(lines), max(1, len(lines) // SAMPLED)))[:SAMPLED]
    for column in lines[0]["row"] if lines else ():
        values = [line["row"][column] for line in lines]
        places = [number for number, value in enumerate(values) if value is not None]
        sizes = {
            number: len(values[number]) if isinstance(values[number], str) else values[number] for number in places
        }
        if sizes:
            chosen += [min(places, key=lambda number: sizes[number]), max(places, key=lambda number: sizes[number])]
    return [lines[number] for number in sorted(set(chosen))]


def _twice(lines: list[Row], rules: list[Rule]) -> dict[str, set[str]]:
    """For each column that has to be unique: the values that are there more than once."""
    columns = [rule.column for rule in rules if rule.rule == "unique"]
    counts = {column: Counter(_identity(line, column) for line in lines) for column in columns}
    return {column: {value for value, count in counted.items() if count > 1} for column, counted in counts.items()}


def _identity(line: Row, column: str) -> str:
    return str(line["row"].get(column))


def _breaks(row: Row, rule: Rule, twice: set[str] | None) -> bool:
    value = row.get(rule.column)
    if rule.rule == "filled":
        return value is None or value == ""
    if value is None:
        return False
    if rule.rule == "unique":
        return str(value) in (twice or set())
    if rule.rule == "one_of":
        return value not in rule.values
    return _beyond(value, rule) is not None


def _beyond(value: Any, rule: Rule) -> Any:
    """The bound that the value is beyond; None where it is within."""
    for bound, sign in ((rule.min, 1), (rule.max, -1)):
        if bound is None:
            continue
        text = isinstance(bound, str)
        one, other = (str(value), bound) if text else (value, bound)
        if isinstance(one, str) != isinstance(other, str) or ((one < other) if sign > 0 else (one > other)):
            return bound
    return None


def _newest(remedy: Remedy) -> dict[tuple[str, str], str]:
    """For each value of a unique column whose remedy is ``newest``: the change of the row that stays."""
    newest: dict[tuple[str, str], str] = {}
    columns = [rule.column for rule in remedy.rules if rule.remedy == "newest"]
    for line in _lines(remedy.files):
        for column in columns:
            key = (column, _identity(line, column))
            newest[key] = max(newest.get(key, ""), line["changed"])
    return newest


def _remedied(line: Row, remedy: Remedy, newest: dict[tuple[str, str], str]) -> tuple[str | None, Row]:
    """Why the row is refused, if it is; and the row."""
    row = dict(line["row"])
    for suspicion in remedy.suspicions:
        if suspicion.column in row and str(row[suspicion.column]) == suspicion.value:
            return f"{suspicion.column}: {suspicion.why}", row
    for rule in remedy.rules:
        if rule.remedy == "newest":
            key = (rule.column, _identity(line, rule.column))
            if newest.get(key) != line["changed"]:
                return f"{rule.column}: there is a newer row", row
            # Of two that changed at the same instant the first stays.
            newest[key] = "taken"
        elif _breaks(row, rule, None):
            if rule.remedy == "refuse":
                return f"{rule.column}: {rule.rule}", row
            row[rule.column] = None if rule.remedy == "clear" else _beyond(row[rule.column], rule)
    return None, row


def _reasons(rejects: list[Row]) -> list[tuple[str, int]]:
    return Counter(line["reason"] for line in rejects).most_common(5)
