"""What a run did, put together from its parts once it is over."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.flowtests.playing.play import Play
from orchestrator.flowtests.results import CaseResult, Mismatch, Ran
from orchestrator.spec.flowtests.cases import FlowCase

Json = Any


def gather(case: FlowCase, play: Play, run_id: str, result: CaseResult) -> None:
    """Fill in what the plays of a case noted."""
    for part in play.all():
        result.steps += [
            Ran(
                path=path,
                step=part.begun[path],
                type=str(record["type"]),
                status=str(record["status"]),
                flow=part.flow,
                output=_copy(record.get("output")),
                error=record.get("error"),
                branch=record.get("branch"),
            )
            for path, record in part.records.items()
        ]
        result.calls += part.calls
        result.problems += part.problems
        result.cost += sum(_cost(record) for record in part.records.values())
    own = play.last(run_id)
    if own is None:
        return
    result.seconds = own.seconds
    state = own.state or {}
    result.vars = state.get("vars", {})
    result.warnings += state.get("warnings", [])
    undone = state.get("compensations", [])
    result.compensated = [str(one["path"]) for one in undone if one["status"] == "completed"]
    _check_delivered(case, play, result)


def _check_delivered(case: FlowCase, play: Play, result: CaseResult) -> None:
    """An event that never came to pass makes a case say what is not so."""
    delivered: set[int] = set().union(*(part.delivered for part in play.all()))
    for number, happening in enumerate(case.events):
        if number not in delivered:
            what = happening.what
            target = what.decide or what.callback or what.event or what.signal or ""
            message = f"this event never happened ({what.action} {target}".rstrip() + "): "
            message += "the run was over before its time, or nothing waited for it"
            result.problems.append(Mismatch(message, happening.where))


def _cost(record: dict[str, Json]) -> float:
    usage = record.get("usage") or (record.get("error") or {}).get("usage") or {}
    cost = usage.get("cost") if isinstance(usage, dict) else None
    return float(cost) if isinstance(cost, int | float) else 0.0


def _copy(value: Json) -> Json:
    return json.loads(json.dumps(value))
