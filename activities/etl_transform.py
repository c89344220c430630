"""Functions of the `etl-pipeline` flow: a transformation spec is checked, and rows are transformed as it says.

The spec is data in a closed language (`_etl_spec.py`). Whoever wrote it, a model or a person, it is checked here before
anything is done, and it can do nothing but what its operations say."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import Any

from _etl_apply import RowRefused, transform
from _etl_check import problems_of
from _etl_rows import Row, keep_rows, kept_rows, plain_name, told
from _etl_spec import Aggregate, Spec, Type, read_spec
from _files import Kept
from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.steps.attempt import current_step
from orchestrator.steps.function import cpu

Json = Any
TRIED = 20
"""Rows of each source on which a spec is tried before it is used."""
MOST_REFUSED = 0.5
"""Share of these that it may refuse."""
EVERY = 1000
"""Rows between two reports of progress."""


@dataclass(frozen=True)
class StagedFile:
    """A file of one source."""

    source: str
    file: Kept


@dataclass(frozen=True)
class Both:
    """The spec there is, or null, and what was written in its place for some sources. Either may be any JSON."""

    kept: Json
    written: Json


@dataclass(frozen=True)
class Proposal:
    """A spec that somebody wrote, and what it is for. Any JSON may come as ``spec``."""

    spec: Json
    columns: dict[str, list[str]]
    target: dict[str, Type]
    files: list[StagedFile]


@dataclass(frozen=True)
class Transformation:
    """One file and the spec, which was checked."""

    source: str
    file: Kept
    spec: Json
    target: dict[str, Type]


@dataclass(frozen=True)
class Summary:
    """Files of the target and the summaries that are wanted of their rows."""

    files: list[StagedFile]
    spec: Json


@activity.defn
def merge_specs(both: Both) -> Json:
    """One spec of both: what was written goes before what was kept. Where it is no spec it is taken as it is:
    `check_spec` says so."""
    kept, written = _named(both.kept), _named(both.written)
    if kept is None or written is None:
        return both.written
    return both.written | {"sources": list((kept | written).values())}


@activity.defn
@cpu
def check_spec(proposal: Proposal) -> dict[str, object]:
    """``{ok, problems, hash}``: whether the spec is in the language, fits the columns, makes every column of the
    target, and does not refuse most of the first rows."""
    spec, problems = read_spec(proposal.spec)
    if spec is not None:
        problems = problems_of(spec, proposal.columns, proposal.target)
        problems = problems or _tried(spec, proposal)
    written = json.dumps(proposal.spec, sort_keys=True).encode()
    return {"ok": not problems, "problems": problems, "hash": hashlib.sha256(written).hexdigest()[:16]}


@activity.defn
@cpu
def transform_rows(given: Transformation) -> dict[str, object]:
    """``{source, file, read, rows, filtered, refused, reasons: [{reason, rows}], rejects}``: the rows of one file as
    the target has them, each with its source and the time of its change; ``rejects`` is the file of those refused.
    Raises TerminalError ``invalid_spec``: an unchecked spec is never executed."""
    spec, problems = read_spec(given.spec)
    own = [] if spec is None else [one for one in spec.sources if one.source == given.source]
    if len(own) != 1:
        raise TerminalError("invalid_spec", "; ".join(problems) or f"the spec says nothing of '{given.source}'")
    name, step = plain_name(given.source), current_step()
    done: list[Row] = []
    rejects: list[Row] = []
    number = 0
    for number, line in enumerate(kept_rows(given.file), 1):
        try:
            row = transform(line["row"], own[0], given.target)
        except RowRefused as refused:
            rejects.append({"reason": str(refused), **line})
            continue
        if row is not None:
            done.append({"source": name, "changed": line["changed"], "row": row})
        if number % EVERY == 0:
            step.report({"rows": number, "refused": len(rejects)})
    return {
        "source": name,
        "file": keep_rows(f"{name}-transformed", done),
        "read": number,
        "rows": len(done),
        "filtered": number - len(done) - len(rejects),
        "refused": len(rejects),
        "reasons": told(line["reason"].partition(":")[0] for line in rejects),
        "rejects": keep_rows(f"{name}-rejects", rejects) if rejects else None,
    }


@activity.defn
@cpu
def summarise_rows(summary: Summary) -> dict[str, object]:
    """``{name: [{by…, value}]}`` for each aggregate of the spec, over the rows of all files."""
    spec, problems = read_spec(summary.spec)
    if spec is None:
        raise TerminalError("invalid_spec", "; ".join(problems))
    groups: list[dict[tuple[Any, ...], list[Any]]] = [defaultdict(list) for _ in spec.aggregates]
    for staged in summary.files:
        for line in kept_rows(staged.file):
            row = line["row"] | {"source": line["source"]}
            for aggregate, group in zip(spec.aggregates, groups, strict=True):
                value = row[aggregate.column]
                if value is not None:
                    group[tuple(row[column] for column in aggregate.by)].append(value)
    return {
        aggregate.name: [
            dict(zip(aggregate.by, key, strict=True)) | {"value": _aggregated(aggregate, values)}
            for key, values in sorted(group.items(), key=lambda entry: tuple(map(str, entry[0])))
        ]
        for aggregate, group in zip(spec.aggregates, groups, strict=True)
    }


def _named(spec: Json) -> dict[str, Json] | None:
    """What a spec says of each source; None where it is no spec at all."""
    sources = spec.get("sources") if isinstance(spec, dict) else None
    if not isinstance(sources, list) or not all(isinstance(one, dict) for one in sources):
        return None
    return {str(one.get("source")): one for one in sources}


def _tried(spec: Spec, proposal: Proposal) -> list[str]:
    """What happens to the first rows of each source."""
    problems = []
    own = {one.source: one for one in spec.sources}
    for source, staged in {staged.source: staged for staged in reversed(proposal.files)}.items():
        reasons = []
        rows = list(islice(kept_rows(staged.file), TRIED))
        for line in rows:
            try:
                transform(line["row"], own[source], proposal.target)
            except RowRefused as refused:
                reasons.append(str(refused))
        if len(reasons) > len(rows) * MOST_REFUSED:
            problems.append(f"source '{source}': it refuses {len(reasons)} of {len(rows)} rows, such as: {reasons[0]}")
    return problems


def _aggregated(aggregate: Aggregate, values: list[Any]) -> Any:
    if aggregate.function == "count":
        return len(values)
    if aggregate.function in ("min", "max"):
        return min(values) if aggregate.function == "min" else max(values)
    total = sum(values)
    return round(total if aggregate.function == "sum" else total / len(values), 6)
