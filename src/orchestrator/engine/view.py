"""A run as its queries show it."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.journal import Journal, Record
from orchestrator.engine.run import Run
from orchestrator.spec.definition import Json

PAGE = 500
"""Records one ``state`` answer holds at most."""
JOURNAL_PAGE = 200
SHOWN_OUTPUT = 32_768
"""Bytes of an output that ``state`` shows; a larger one is left out, and ``output_bytes`` is what was counted of it."""
JOURNAL_BYTES = 1_000_000


def of_run(run: Run, refusals: list[str]) -> dict[str, Json]:
    """What is known once the definition is."""
    definition = run.envelope.definition
    return {
        "flow": definition.flow,
        "version": definition.version,
        "hash": definition.hash,
        "vars": dict(run.frame.scope["vars"]),
        "warnings": [*run.warnings, *refusals],
        "compensations": run.compensations.shown(),
    }


def page(journal: Journal, options: dict[str, Any] | None) -> dict[str, Json]:
    """Records of ``state``: 500 after record ``after``, large outputs left out."""
    after = int((options or {}).get("after", 0))
    records = journal.items()
    shown = records[after : after + PAGE]
    answer: dict[str, Json] = {
        "steps": {path: _shown(record) for path, record in shown},
        # JSON objects lose their order on the way.
        "order": [path for path, _ in shown],
    }
    if after + PAGE < len(records):
        answer["next"] = after + PAGE
    return answer


def journal_page(journal: dict[str, Json], options: dict[str, Any] | None) -> dict[str, Json]:
    """The records after record ``after``, 200 or about 1 MB of them; everything else on the first page."""
    after = int((options or {}).get("after", 0))
    records = journal["records"]
    end, size = after, 0
    while end < len(records) and end - after < JOURNAL_PAGE and (end == after or size < JOURNAL_BYTES):
        size += _size(records[end], JOURNAL_BYTES)
        end += 1
    answer = {"records": records[after:end]}
    if after == 0:
        answer = journal | answer
    if end < len(records):
        answer["next"] = end
    return answer


def _shown(record: Record) -> Record:
    size = _size(record.get("output"), SHOWN_OUTPUT)
    if size < SHOWN_OUTPUT:
        return record
    return {key: value for key, value in record.items() if key != "output"} | {"output_bytes": size}


def _size(value: Json, most: int) -> int:
    """About how many bytes a value has as JSON; counting stops above ``most``, so that large ones cost no time."""
    size = 0
    pending = [value]
    while pending and size < most:
        one = pending.pop()
        match one:
            case str():
                size += len(one) + 2
            case dict():
                size += sum(len(key) + 4 for key in one)
                pending.extend(one.values())
            case list():
                size += 2
                pending.extend(one)
            case _:
                size += 5
    return size
