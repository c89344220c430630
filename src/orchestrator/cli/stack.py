"""Verbs that run something for long: up, demo, worker, gateway; and doctor, which looks at all of it.

What they need is imported when they are called: `validate` and `version` stay quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.console import FAILED, run, show, show_json


def up(
    context: typer.Context,
    watch: Annotated[bool, typer.Option(help="Publish flows again when their files change.")] = True,
    stand_in: Annotated[
        bool, typer.Option(help="Without ANTHROPIC_API_KEY let a local stand-in answer for Claude.")
    ] = True,
) -> None:
    """Start Temporal, worker and gateway in this process, and publish workflows/. Ctrl-C stops everything."""
    from orchestrator.cli.serving import serve_all

    run(serve_all(context.obj, watch=watch, stand_in=stand_in))


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
) -> None:
    """Run the content moderation flow once, from its webhook to the answered review, and show every step."""
    from orchestrator.cli.serving import show_demo

    run(show_demo(context.obj, keep=keep))


def worker(context: typer.Context) -> None:
    """Run steps of flows, and nothing else. Start as many as you need."""
    from orchestrator.cli.serving import serve_worker

    run(serve_worker(context.obj))


def gateway(context: typer.Context) -> None:
    """Serve webhooks and the HTTP API, and nothing else."""
    from orchestrator.cli.serving import serve_gateway

    run(serve_gateway(context.obj))


def doctor(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Write the findings as JSON.")] = False
) -> None:
    """Look at versions, ports, Temporal, the store and the key, and say what to do. Exit code 1 if something fails."""
    from orchestrator.cli.doctor import MARKS, examine

    findings = run(examine(context.obj))
    if as_json:
        show_json([finding.to_json() for finding in findings])
    else:
        for finding in findings:
            show(f"{MARKS[finding.verdict]} {finding.what:<18} {finding.found}")
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(FAILED)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    for verb in (up, demo, worker, gateway, doctor):
        app.command()(verb)
