"""The local activity by which a run's end is written into the ledger, and its alerts are judged with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.errors import Unavailable
from orchestrator.spec.call import RECORD_RUN
from orchestrator.spec.monitoring import METRICS, RECENT, from_json, holds, only_of_flow
from orchestrator.store.database import Store
from orchestrator.store.ledger import Line

Json = Any


def record_activity(store: Store) -> Callable[..., Any]:
    """The activity, bound to the store. It takes the run's line and its alerts as ``{"alert", "condition", "any"}``,
    and returns those to raise with the values they were judged by. An alert about recent runs together is raised when
    it begins to hold, not at the end of each run for which it still does. Attempts write one line."""

    @activity.defn(name=RECORD_RUN)
    async def record_run(told: dict[str, Json], alerts: Sequence[dict[str, Json]]) -> list[dict[str, Json]]:
        line = _line(told, activity.info().workflow_id or "")
        try:
            await store.ledger.write(line)
            return await _judged(store, line, told, alerts) if alerts else []
        except Unavailable as error:
            raise ApplicationError(str(error), type=error.code) from error

    return record_run


async def _judged(
    store: Store, line: Line, told: dict[str, Json], alerts: Sequence[dict[str, Json]]
) -> list[dict[str, Json]]:
    rate = (await store.ledger.recent(line.flow, RECENT)).success_rate
    values = {name: told.get(name) for name, metric in METRICS.items() if not metric.of_flow}
    values |= {"success_rate": rate, "error_rate": None if rate is None else 1.0 - rate}
    conditions = {alert["alert"]: from_json(alert["any"]) for alert in alerts}
    held = [alert for alert in alerts if holds(conditions[alert["alert"]], values)]
    lasting = [alert["condition"] for alert in held if only_of_flow(conditions[alert["alert"]])]
    begun = await store.ledger.hold(line, lasting)
    return [
        {"alert": alert["alert"], "values": values}
        for alert in held
        if alert["condition"] not in lasting or alert["condition"] in begun
    ]


def _line(told: dict[str, Json], run_id: str) -> Line:
    moments = {name: datetime.fromisoformat(told[name]) for name in ("started_at", "finished_at")}
    return Line(run_id=run_id, **(told | moments))
