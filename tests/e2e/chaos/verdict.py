"""Compares what the world outside was asked with what Temporal's histories say was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from tests.e2e.chaos.recorder import Call
from tests.e2e.chaos.runs import Case, patiently

from orchestrator.spec.call import HEADER, decode_call

TOLERANCE = 0.02
"""Seconds by which two readings of this machine's clock may differ."""


@dataclass(slots=True)
class Recorded:
    """What the histories of all runs hold."""

    finished: dict[str, tuple[float, int]] = field(default_factory=dict)
    """By idempotency key: when the first result of that step was recorded, and which attempt had it."""
    results: Counter[str] = field(default_factory=Counter)
    """How many results were recorded under a key."""
    executions: int = 0
    continued: int = 0
    open: list[str] = field(default_factory=list)
    """Runs that never ended."""


@dataclass(slots=True)
class Verdict:
    """The figures, and every promise that was broken."""

    repeated: int = 0
    """Attempts of steps beyond the first one, all before a result was recorded."""
    express_repeated: int = 0
    overlapping: int = 0
    """Attempts given up as lost that called after a later attempt's result was recorded: the step was not run again."""
    violations: list[str] = field(default_factory=list)


async def read_histories(temporal: Client) -> Recorded:
    """Every execution of every run, sub-flows included."""
    recorded = Recorded()

    async def listed() -> list[tuple[str, str, bool]]:
        return [
            (found.id, found.run_id, found.close_time is None)
            async for found in temporal.list_workflows("WorkflowType IN ('chaos', 'chaos-child')")
        ]

    for run_id, execution, is_open in await patiently(listed):
        recorded.executions += 1
        if is_open:
            recorded.open.append(run_id)
        history = await patiently(temporal.get_workflow_handle(run_id, run_id=execution).fetch_history)
        _read(history.events, recorded)
    return recorded


def _read(events: Iterable[HistoryEvent], recorded: Recorded) -> None:
    keys: dict[int, str] = {}
    attempts: dict[int, int] = {}
    for event in events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            header = event.activity_task_scheduled_event_attributes.header.fields.get(HEADER)
            if header is not None:
                keys[event.event_id] = decode_call(header.data).key
        elif event.HasField("activity_task_started_event_attributes"):
            started = event.activity_task_started_event_attributes
            attempts[started.scheduled_event_id] = started.attempt
        elif event.HasField("activity_task_completed_event_attributes"):
            scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
            if scheduled in keys:
                at = event.event_time.seconds + event.event_time.nanos / 1e9
                key = keys[scheduled]
                recorded.results[key] += 1
                recorded.finished.setdefault(key, (at, attempts[scheduled]))
        elif event.HasField("workflow_execution_continued_as_new_event_attributes"):
            recorded.continued += 1


def judge(cases: list[Case], calls: list[Call], recorded: Recorded) -> Verdict:
    """What was promised against what happened."""
    verdict = Verdict()
    seen: Counter[str] = Counter()
    for call in calls:
        seen[call.key] += 1
        finished = recorded.finished.get(call.key)
        if finished is not None and call.at > finished[0] + TOLERANCE:
            late = call.at - finished[0]
            if call.attempt < finished[1]:
                verdict.overlapping += 1
            else:
                verdict.violations.append(f"{call.key} ran again {late:.2f} s after its result was recorded")
    for key, times in seen.items():
        if "/fast/" in key:
            verdict.express_repeated += times - 1
        else:
            verdict.repeated += times - 1
    verdict.violations += [f"{key} has {times} results" for key, times in recorded.results.items() if times > 1]
    verdict.violations += [f"{run_id} never ended" for run_id in recorded.open]
    for case in cases:
        verdict.violations += [f"{case.id}: {problem}" for problem in [*case.problems, *_unlike(case, calls)]]
    return verdict


LOOP = [f"together/each[{n}]/book#compensate/unbook" for n in range(5)]
BOOKING = ["booking/pay#compensate/refund", "booking/hold#compensate/release"]
UNDONE = {
    "complete": {"together/guarded/doubtful/grab#compensate/let-go"},
    "fail": {"together/guarded/doubtful/grab#compensate/let-go", *LOOP, *BOOKING},
    "cancel": {"together/guarded/doubtful/grab#compensate/let-go", *LOOP, *BOOKING},
}
"""Compensations that must have run, and no others."""
HANDLED = {"complete": {"cleaned"}, "fail": {"fell-back", "cleaned"}, "cancel": {"cleaned"}}
"""Steps of the flow's ``fallback`` and ``finally`` that must have run, and no others."""


def _unlike(case: Case, calls: list[Call]) -> list[str]:
    """What a run did outside that it should not have, or left out."""
    own = [
        call.key.removeprefix(f"{case.id}/").rpartition("#")[0] for call in calls if call.key.startswith(f"{case.id}/")
    ]
    paths = list(dict.fromkeys(own))
    undone = [path for path in paths if "#compensate/" in path]
    handled = {path.rpartition("/")[2] for path in paths if path.startswith("#")}
    problems = []
    if set(undone) != UNDONE[case.fate]:
        problems.append(f"compensated {sorted(undone)}, not {sorted(UNDONE[case.fate])}")
    if [path for path in undone if path in BOOKING] not in ([], BOOKING):
        problems.append("compensated in the wrong order: the newest completion comes first")
    if handled != HANDLED[case.fate]:
        problems.append(f"handlers {sorted(handled)} ran, not {sorted(HANDLED[case.fate])}")
    if any(path == "found" for path in paths):
        problems.append("'found' was called although its output was kept")
    return problems
