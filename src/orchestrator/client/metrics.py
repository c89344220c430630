"""What the runs of a monitored flow took, over a window of time: its ledger summed up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from orchestrator.errors import NotFound
from orchestrator.spec.definition import Json
from orchestrator.spec.monitoring import METRICS, from_json, metrics_in
from orchestrator.store.database import Store
from orchestrator.store.ledger import COUNTED, Line

MOST_RUNS = 10_000
"""Runs that one summary looks at, the newest."""
DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Spread:
    """One metric over several runs. Times are seconds, costs US dollars; p95: 95 of 100 runs took no more."""

    mean: float
    p50: float
    p95: float
    max: float
    total: float


@dataclass(frozen=True, slots=True)
class Steps:
    """One step over several runs. ``seconds`` is its mean, ``longest`` its longest time."""

    runs: int
    failed: int
    attempts: int
    seconds: float
    longest: float
    tokens: int
    cost: float


@dataclass(frozen=True, slots=True)
class FlowMetrics:
    """The metrics that a flow's ``monitoring`` names, of the runs that ended in a window."""

    flow: str
    since: datetime
    until: datetime
    runs: Mapping[str, int]
    """How many ended how."""
    complete: bool
    """False where there were more runs than ``MOST_RUNS``, which is how many are told of then."""
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    """Metrics of single runs; none where no run ended."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Shares of the runs that completed or failed, from 0 to 1; none where there were no such runs."""
    steps: Mapping[str, Steps] = field(default_factory=dict)
    alerts: Mapping[str, int] = field(default_factory=dict)
    """How many alerts were raised in the window, by how they stand: ``waiting``, ``sent``, ``failed``."""


async def metrics_of(store: Store, flow: str, window: float = DAY, *, now: datetime | None = None) -> FlowMetrics:
    """The metrics of a flow over the last ``window`` seconds. Raises NotFound for a flow that nobody published, and for
    one without ``monitoring``, whose runs are not written down; Unavailable."""
    definition = (await store.flows.current(flow)).definition
    named = _named(definition.monitoring)
    if not named:
        raise NotFound(
            f"the runs of flow '{flow}' are not measured: its version {definition.version or '1'} has no `monitoring`; "
            "write for example `monitoring: {metrics: [execution_time, success_rate]}`"
        )
    until = now or datetime.now(UTC)
    since = until - timedelta(seconds=window)
    lines = await store.ledger.window(flow, since, until, MOST_RUNS + 1)
    return replace(_summed(flow, since, until, named, lines), alerts=await store.alerts.counts(flow, since))


def _named(monitoring: Mapping[str, Json] | None) -> list[str]:
    """What the flow names, as a metric or in an alert."""
    if monitoring is None:
        return []
    alerts = [name for alert in monitoring["alerts"] for name in metrics_in(from_json(alert["any"]))]
    return [name for name in METRICS if name in monitoring["metrics"] or name in alerts]


def _summed(flow: str, since: datetime, until: datetime, named: Sequence[str], lines: Sequence[Line]) -> FlowMetrics:
    told = lines[:MOST_RUNS]
    statuses = Counter(line.status for line in told)
    return FlowMetrics(
        flow,
        since,
        until,
        dict(sorted(statuses.items())),
        complete=len(lines) <= MOST_RUNS,
        spreads=_spreads(named, told),
        rates={name: rate for name, rate in _rates(statuses).items() if name in named},
        steps=_steps(told),
    )


def _spreads(named: Sequence[str], lines: Sequence[Line]) -> dict[str, Spread]:
    """Of a run that Temporal ended nothing is known but its time."""
    whole = [line for line in lines if not line.cut_off]
    found: dict[str, Spread] = {}
    for name in named:
        known = lines if name == "execution_time" else whole
        if known and not METRICS[name].of_flow:
            found[name] = _spread([getattr(line, name) for line in known])
    return found


def _rates(statuses: Mapping[str, int]) -> dict[str, float]:
    counted = sum(statuses.get(status, 0) for status in COUNTED)
    if not counted:
        return {}
    success = statuses.get("completed", 0) / counted
    return {"success_rate": success, "error_rate": 1.0 - success}


def _spread(values: Sequence[float]) -> Spread:
    ordered = sorted(float(value) for value in values)
    total = math.fsum(ordered)

    def share(part: float) -> float:
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    return Spread(total / len(ordered), share(0.5), share(0.95), ordered[-1], total)


def _steps(lines: Sequence[Line]) -> dict[str, Steps]:
    found: dict[str, list[Mapping[str, Json]]] = {}
    for line in lines:
        for name, step in line.steps.items():
            found.setdefault(name, []).append(step)
    return {name: _step(told) for name, told in sorted(found.items())}


def _step(told: Sequence[Mapping[str, Json]]) -> Steps:
    def total(key: str) -> float:
        return math.fsum(step.get(key, 0) for step in told)

    runs = int(total("runs"))
    return Steps(
        runs,
        int(total("failed")),
        int(total("attempts")),
        total("seconds") / max(1, runs),
        max(float(step["longest"]) for step in told),
        int(total("tokens")),
        round(total("cost"), 9),
    )
