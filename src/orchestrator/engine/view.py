"""A run as its queries show it."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

from orchestrator.engine.journal import Journal, Record
from orchestrator.engine.run import Run
from orchestrator.spec.definition import Json

PAGE = 500
"""Records one ``state`` answer holds at most."""
JOURNAL_PAGE = 200
SHOWN_OUTPUT = 32_768
"""Bytes of an output that ``state`` shows; larger ones are named by their size."""


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
    """200 records after record ``after``; everything else on the first page."""
    after = int((options or {}).get("after", 0))
    records = journal["records"]
    answer = {"records": records[after : after + JOURNAL_PAGE]}
    if after == 0:
        answer = journal | answer
    if after + JOURNAL_PAGE < len(records):
        answer["next"] = after + JOURNAL_PAGE
    return answer


def _shown(record: Record) -> Record:
    output = record.get("output")
    if isinstance(output, str | dict | list):
        size = workflow.payload_converter().to_payload(output).ByteSize()
        if size > SHOWN_OUTPUT:
            return {key: value for key, value in record.items() if key != "output"} | {"output_bytes": size}
    return record
