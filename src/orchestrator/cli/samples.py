"""``samples``: what was sent to the test addresses of a flow's webhooks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from orchestrator.cli.console import run, say, show, show_json
from orchestrator.settings import Settings
from orchestrator.store.database import Store
from orchestrator.store.samples import KEPT, Sample


def samples(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(help="A published flow.")],
    trigger: Annotated[str | None, typer.Option("--trigger", help="The id of one of its triggers.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = KEPT,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Show what was sent to the test addresses (<path>/test) of a flow's webhooks, newest first."""
    found = run(_samples(context.obj, flow, trigger, limit))
    if as_json:
        show_json([asdict(sample) | {"created_at": sample.created_at.isoformat()} for sample in found])
        return
    if not found:
        say(f"nothing was sent to a test address of flow {flow} yet", "yellow")
    for sample in found:
        told = "would start" if sample.outcome.get("would_start") else f"would not start: {sample.outcome['reason']}"
        show(f"{sample.created_at:%Y-%m-%d %H:%M:%S}  {sample.trigger}  {sample.id}  {told}")


async def _samples(settings: Settings, flow: str, trigger: str | None, limit: int) -> list[Sample]:
    store = await Store.open(settings.store)
    try:
        await store.flows.current(flow)
        return await store.samples.list(flow, trigger, limit)
    finally:
        await store.aclose()


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(samples)
