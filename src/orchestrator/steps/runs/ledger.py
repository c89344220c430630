"""The local activity by which a run's end is written into the ledger, and its alerts are judged and kept with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.errors import Unavailable
from orchestrator.spec.call import RECORD_RUN
from orchestrator.spec.monitoring import METRICS, RECENT, described, from_json, holds, only_of_flow
from orchestrator.store.alerts import Alert, alert_id
from orchestrator.store.database import Store
from orchestrator.store.ledger import Line

Json = Any


def record_activity(store: Store) -> Callable[..., Any]:
    """The activity, bound to the store. It takes the run's line and those of its alerts that were not raised yet, as
    ``judge`` does. Attempts write one line and raise each alert once."""

    @activity.defn(name=RECORD_RUN)
    async def record_run(told: dict[str, Json], alerts: Sequence[dict[str, Json]]) -> None:
        line = _line(told, activity.info().workflow_id or "")
        try:
            await store.ledger.write(line)
            await judge(store, line, {name: told.get(name) for name in METRICS}, alerts)
        except Unavailable as error:
            raise ApplicationError(str(error), type=error.code) from error

    return record_run


async def judge(
    store: Store, line: Line, values: Mapping[str, float | None], alerts: Sequence[Mapping[str, Json]]
) -> None:
    """Keep those alerts that hold at the end of a run whose line is written, for whoever sends them. They are given as
    ``{"alert", "condition", "any", "channel", "message"}``, the first their place in the flow; ``values`` is what is
    known of the run itself. An alert about recent runs together is raised when it begins to hold, not at the end of
    each run for which it still does. Raises Unavailable."""
    if not alerts:
        return
    rate = (await store.ledger.recent(line.flow, RECENT)).success_rate
    found = {name: value for name, value in values.items() if not METRICS[name].of_flow}
    found |= {"success_rate": rate, "error_rate": None if rate is None else 1.0 - rate}
    conditions = {alert["alert"]: from_json(alert["any"]) for alert in alerts}
    held = [alert for alert in alerts if holds(conditions[alert["alert"]], found)]
    lasting = [alert["condition"] for alert in held if only_of_flow(conditions[alert["alert"]])]
    begun = await store.ledger.begun(line, lasting)
    await store.alerts.put(
        [
            _raised(line, alert, described(conditions[alert["alert"]], found), found)
            for alert in held
            if alert["condition"] not in lasting or alert["condition"] in begun
        ]
    )
    # The last thing, so that whoever is lost before it judges once more, and finds the same.
    await store.ledger.hold(line, lasting)


def _raised(line: Line, alert: Mapping[str, Json], words: str, values: Mapping[str, float | None]) -> Alert:
    told = {"condition": alert["condition"], "message": alert.get("message"), "status": line.status}
    return Alert(
        id=alert_id(line.run_id, line.execution, alert["alert"]),
        flow=line.flow,
        version=line.version,
        run_id=line.run_id,
        channel=alert["channel"],
        told=told | {"found": words, "values": dict(values)},
    )


def _line(told: dict[str, Json], run_id: str) -> Line:
    moments = {name: datetime.fromisoformat(told[name]) for name in ("started_at", "finished_at")}
    return Line(run_id=run_id, **(told | moments))
