"""Functions of the `ml-training` flow: the data it learns from, and whether they are fit for it."""

from __future__ import annotations

import csv
import io
import json
import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any

from _files import Kept, project_file
from _ml_files import MODELS, learning
from _ml_rows import BadValue, Kind, read_value, schema_of
from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.steps.function import cpu

EXAMPLE = "breast-cancer"
FAR_OUT = 3.0
"""Widths of the middle half beyond which a value is an outlier."""
SHOWN = 10
"""Problems that are listed; the rest is counted."""


@dataclass(frozen=True)
class Source:
    """``breast-cancer``, the data set that comes with scikit-learn, or a CSV file in the folders of the file step."""

    source: str


@dataclass(frozen=True)
class Limits:
    """What data have to hold to be learned from; all are shares."""

    completeness: float
    duplicates: float
    outliers: float


@dataclass(frozen=True)
class Check:
    """What the flow passes to `check_training_data`."""

    data: Kept
    columns: dict[Kind, list[str]]
    target: str
    limits: Limits


@activity.defn
@cpu
def load_training_data(source: Source) -> dict[str, object]:
    """``{file: {path, sha256}, rows, columns}``: a copy of the data that later steps read, whatever happens to the
    source. Raises TerminalError ``not_found``, ``path_refused`` or ``bad_data``."""
    text = _example() if source.source == EXAMPLE else _file(source.source)
    rows = read_rows(text)
    return {"file": MODELS.keep("data", ".csv", text.encode()), "rows": len(rows), "columns": list(rows[0])}


@activity.defn
@cpu
def check_training_data(check: Check) -> dict[str, object]:
    """``{ok, problems, rows, completeness, duplicates, outliers, classes}``: schema, filled cells, rows that are there
    twice, values far outside. Decides nothing: the flow does."""
    rows, schema = read_rows(MODELS.kept(check.data).decode()), schema_of(check.columns)
    missing = [column for column in (*schema, check.target) if column not in rows[0]]
    if missing:
        # Without its columns nothing else can be said of the data.
        return _verdict([f"there is no column '{column}'" for column in missing], len(rows), 0.0, 0.0, 0.0, {})
    values, problems = _values(rows, schema)
    classes = Counter(row[check.target] for row in rows)
    problems += _class_problems(classes, check.target)
    cells = len(rows) * len(schema)
    completeness = sum(value is not None for column in values.values() for value in column) / cells
    duplicates = 1 - len({tuple(row.items()) for row in rows}) / len(rows)
    outliers = sum(_far_out(values[name]) for name, kind in schema.items() if kind == "number") / cells
    limits = check.limits
    if completeness < limits.completeness:
        problems.append(f"{completeness:.1%} of the cells are filled, {limits.completeness:.1%} have to be")
    if duplicates > limits.duplicates:
        problems.append(f"{duplicates:.1%} of the rows are there twice, {limits.duplicates:.1%} may be")
    if outliers > limits.outliers:
        problems.append(f"{outliers:.1%} of the values are far outside, {limits.outliers:.1%} may be")
    return _verdict(problems, len(rows), completeness, duplicates, outliers, classes)


def read_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text. Raises TerminalError ``bad_data`` where it has none or they do not fit its header."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise TerminalError("bad_data", "the file has no rows below its header")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise TerminalError("bad_data", f"line {number} of the file has not as many cells as its header")
    return rows


def _file(path: str) -> str:
    try:
        return project_file(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TerminalError("bad_data", f"'{path}' is not UTF-8 text (byte {error.start})") from error


def _example() -> str:
    """Measurements of tumours, with two made-up columns, a clinic and a time, because the real ones are all numbers."""
    with learning():
        from sklearn.datasets import load_breast_cancer

        found: Any = load_breast_cancer()
    chance = random.Random(7)
    first = datetime(2024, 1, 1, 8)
    columns = [str(name).replace(" ", "_") for name in found.feature_names]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*columns, "clinic", "examined_at", "malignant"])
    for values, benign in zip(found.data.tolist(), found.target.tolist(), strict=True):
        # More of the malignant ones are sent to the north: a category that tells something.
        clinic = chance.choices(["north", "south", "east"], [1, 1, 1] if benign else [3, 1, 1])[0]
        time = first + timedelta(days=chance.randrange(366), minutes=chance.randrange(600))
        table.writerow([*values, clinic, time.isoformat(), 1 - benign])
    return text.getvalue()


def _values(rows: list[dict[str, str]], schema: dict[str, Kind]) -> tuple[dict[str, list[Any]], list[str]]:
    values: dict[str, list[Any]] = {column: [] for column in schema}
    problems = []
    for number, row in enumerate(rows, 2):
        for column, kind in schema.items():
            try:
                values[column].append(read_value(kind, column, row[column]))
            except BadValue as error:
                problems.append(f"line {number}, {error}")
                values[column].append(None)
    return values, problems


def _class_problems(classes: Counter[str], target: str) -> list[str]:
    others = sorted(set(classes) - {"0", "1"})
    if others:
        return [f"column '{target}' has to be 0 or 1, and there is {json.dumps(others[0])}"]
    return [] if len(classes) > 1 else [f"column '{target}' is the same in every row: there is nothing to learn"]


def _far_out(values: list[Any]) -> int:
    present = [value for value in values if value is not None]
    if len(present) < 2:
        return 0
    low, _, high = quantiles(present, n=4)
    reach = FAR_OUT * (high - low)
    return sum(not low - reach <= value <= high + reach for value in present)


def _verdict(
    problems: list[str], rows: int, completeness: float, duplicates: float, outliers: float, classes: dict[str, int]
) -> dict[str, object]:
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return {
        "ok": not problems,
        "problems": problems[:SHOWN] + more,
        "rows": rows,
        "completeness": round(completeness, 4),
        "duplicates": round(duplicates, 4),
        "outliers": round(outliers, 4),
        "classes": dict(sorted(classes.items())),
    }
