"""The verbs about alerts: alerts list, resend."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.console import moment, run, show, show_json, show_table
from orchestrator.settings import Settings
from orchestrator.store.alerts import Alert
from orchestrator.store.database import Store

alerts_app = typer.Typer(no_args_is_help=True, help="See which alerts were raised, send those again that failed.")


class _Status(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


@alerts_app.command("list")
def listed(
    context: typer.Context,
    flow: Annotated[str | None, typer.Option(help="Of this flow only.")] = None,
    status: Annotated[_Status | None, typer.Option(help="Those that stand so only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Alerts, newest first: whom they are for, and why those that were not sent were not."""
    found = run(_list(context.obj, flow, status, limit))
    if as_json:
        show_json([asdict(one) for one in found])
    elif not found:
        show("no such alert was raised")
    else:
        columns = ("ALERT", "RAISED", "RUN", "CONDITION", "FOR", "STATUS", "TRIES", "PROBLEM")
        show_table(columns, (_row(one) for one in found))


@alerts_app.command()
def resend(
    context: typer.Context,
    alert: Annotated[str | None, typer.Argument(metavar="[ALERT]", help="One of them; without it all.")] = None,
) -> None:
    """Give alerts that failed another chance, such as after orchestrator.yaml was mended."""
    count = run(_resend(context.obj, alert))
    show(f"{count} {'alert gets' if count == 1 else 'alerts get'} another chance")


def _row(one: Alert) -> Sequence[object]:
    condition = one.told["condition"]
    return one.id, moment(one.raised_at), one.run_id, condition, one.channel, one.status, one.attempts, one.problem


async def _list(settings: Settings, flow: str | None, status: _Status | None, most: int) -> list[Alert]:
    async with _store(settings) as store:
        return await store.alerts.list(flow=flow, status=None if status is None else status.value, most=most)


async def _resend(settings: Settings, alert: str | None) -> int:
    async with _store(settings) as store:
        return await store.alerts.resend(alert)


@contextlib.asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[Store]:
    store = await Store.open(settings.store)
    try:
        yield store
    finally:
        await store.aclose()


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(alerts_app, name="alerts")
