"""A case that did not pass, in lines for a person: what differs, and what the run did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from orchestrator.flowtests.results import CaseResult, Mismatch, Ran

Json = Any
_WIDTH = 160
_MOST = 60
"""Steps shown of one run."""


def told(case: CaseResult) -> Iterator[str]:
    """The problems, each with its place, then the steps."""
    for problem in case.problems:
        yield from _problem(problem)
    if case.steps:
        yield "what the run did:"
        listed = case.steps[:_MOST]
        for ran in listed:
            yield f"  {_step(ran)}"
        if len(case.steps) > len(listed):
            yield f"  … and {len(case.steps) - len(listed)} more steps"
    if case.compensated:
        yield f"  undone, in this order: {', '.join(case.compensated)}"
    for warning in case.warnings[:10]:
        yield f"  warning: {warning}"


def _problem(problem: Mismatch) -> Iterator[str]:
    yield str(problem)


def _step(ran: Ran) -> str:
    line = f"{ran.status:<10} {ran.path} ({ran.type})"
    if ran.error is not None:
        return _cut(f"{line}: {ran.error.get('type')}: {ran.error.get('message')}")
    if ran.status == "completed" and ran.output is not None:
        return _cut(f"{line} → {json.dumps(ran.output, ensure_ascii=False)}")
    return line


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"
