"""``test --record``: a finished run becomes a case."""

from __future__ import annotations

from pathlib import Path

import typer

from orchestrator.cli.console import FAILED, run, say, show
from orchestrator.devserver.connect import connected
from orchestrator.flowtests.recording.filing import Filed, file_run
from orchestrator.flowtests.recording.recorded import read_run
from orchestrator.flowtests.telling.telling import told
from orchestrator.settings import Settings


def record_run(settings: Settings, run_id: str, target: Path | None) -> None:
    """Write the run into its flow's test file, or into ``target``, and run the case. Exit code 1 where it does not
    pass. Raises OrchestratorError where nothing could be written."""
    filed = run(_record(settings, run_id, target))
    show(f"{filed.file}:{filed.result.line}  {filed.name}")
    for remark in filed.remarks:
        say(f"note: {remark}", "yellow")
    if filed.is_other_version:
        say("note: the flow's file is not what the run ran; the case was tried on the file", "yellow")
    if not filed.result.passed:
        say("the case does not pass as it was recorded; change what it says where the run depended on more:", "red")
        for line in told(filed.result):
            show(f"  {line}")
        raise typer.Exit(FAILED)
    show("it passes")


async def _record(settings: Settings, run_id: str, target: Path | None) -> Filed:
    async with connected(settings) as parts:
        recorded = await read_run(parts.client, run_id)
    return await file_run(settings, recorded, target)
