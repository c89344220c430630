"""The verb about stored values: payloads purge."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.console import InputUnusable, run, show, show_json
from orchestrator.client.connection import temporal_errors
from orchestrator.devserver.connect import connected
from orchestrator.payloads.retention import Purged, folder_of, purge
from orchestrator.settings import Settings
from orchestrator.spec.base import parse_duration

payloads_app = typer.Typer(no_args_is_help=True, help="Look after large values that are stored outside Temporal.")


@payloads_app.callback()
def payloads() -> None:
    """A group of verbs, also while it has one."""


@payloads_app.command("purge")
def purge_values(
    context: typer.Context,
    older_than: Annotated[
        str, typer.Option("--older-than", help="How long ago a value was last stored, such as 30d.")
    ] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Delete old stored values that no run Temporal still knows refers to."""
    try:
        age = parse_duration(older_than)
    except ValueError as error:
        raise InputUnusable(f"--older-than {older_than}: {error}") from error
    done = run(_purge(context.obj, age, dry_run))
    if as_json:
        show_json(done)
        return
    verb = "would be deleted" if dry_run else "deleted"
    show(f"{done.removed} values ({done.bytes:,} bytes) {verb}; {done.kept} old ones are still needed")


async def _purge(settings: Settings, age: float, pretend: bool) -> Purged:
    async with connected(settings) as parts:
        temporal = parts.client.temporal
        with temporal_errors(temporal):
            return await purge(temporal, folder_of(temporal), age, pretend=pretend)


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.add_typer(payloads_app, name="payloads")
