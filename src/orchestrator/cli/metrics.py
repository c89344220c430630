"""The verb about what a flow's runs took: metrics."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.console import InputUnusable, moment, run, show, show_json, show_table
from orchestrator.client.metrics import FlowMetrics, metrics_of
from orchestrator.settings import Settings
from orchestrator.spec.base import parse_duration
from orchestrator.spec.monitoring import shown
from orchestrator.store.database import Store


def metrics(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="The flow's id.")],
    window: Annotated[str, typer.Option("--window", help="How far back: 24h, 7d …")] = "24h",
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Show what the runs of a flow took: the metrics that its `monitoring` names."""
    try:
        seconds = parse_duration(window)
    except ValueError as error:
        raise InputUnusable(f"--window: {error}") from error
    found = run(_metrics(context.obj, flow, seconds))
    if as_json:
        show_json(found)
    else:
        _show(found)


async def _metrics(settings: Settings, flow: str, window: float) -> FlowMetrics:
    store = await Store.open(settings.store)
    try:
        return await metrics_of(store, flow, window)
    finally:
        await store.aclose()


def _show(found: FlowMetrics) -> None:
    ended = ", ".join(f"{count} {status}" for status, count in found.runs.items()) or "none"
    show(
        f"{found.flow}: runs that ended since {moment(found.since)}: {ended}" + ("" if found.complete else " (newest)")
    )
    if found.alerts:
        show(f"alerts raised since: {', '.join(f'{count} {status}' for status, count in found.alerts.items())}")
    for name, rate in found.rates.items():
        show(f"{name}: {shown(name, rate)}")
    if found.spreads:
        show_table(
            ("METRIC", "MEAN", "P50", "P95", "MAX"),
            (
                (name, *(shown(name, value) for value in (one.mean, one.p50, one.p95, one.max)))
                for name, one in found.spreads.items()
            ),
        )
    if found.steps:
        show_table(
            ("STEP", "RUNS", "FAILED", "ATTEMPTS", "MEAN", "LONGEST", "TOKENS", "COST"),
            (
                (
                    name,
                    one.runs,
                    one.failed,
                    one.attempts,
                    shown("step_duration", one.seconds),
                    shown("step_duration", one.longest),
                    one.tokens or None,
                    shown("cost", one.cost) if one.cost else None,
                )
                for name, one in found.steps.items()
            ),
        )


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(metrics)
