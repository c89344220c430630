"""Records the histories that the replay tests keep. Run it when a construct is added, never to make a failing replay
pass: ``python -m tests.replay.record``. Existing files are left alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tempfile
from pathlib import Path

from temporalio.client import Client, WorkflowFailureError, WorkflowHistory
from tests.conftest import start_temporal, stop
from tests.engine.harness import Workbench, open_workbench
from tests.replay.commands import replay
from tests.replay.flows import KEPT, SCRIPT, Handle, Kept

from orchestrator import admission
from orchestrator.client import Client as FlowClient
from orchestrator.client.schedules import Schedules
from orchestrator.testing import ClaudeStandIn

FOLDER = Path(__file__).parent / "histories"
_WHO = r'("identity": |"name": )"\d+@[^"]*"'
_TRACE = r'("stackTrace": )"(?:[^"\\]|\\.)*"'
"""Who ran it, and in which folders, is of no use to a replay."""


async def record(bench: Workbench, name: str, kept: Kept) -> None:
    """Run one flow to its end and write its histories: every execution of the run, its sub-flows and its retry."""
    for child in kept.children:
        await admission.publish_text(bench.store, bench.project, child)
    handle = await (_by_schedule(bench, kept) if kept.scheduled else bench.start(kept.flow, **kept.envelope))
    await kept.act(bench, handle)
    await _end(handle)
    await _keep(bench, name, handle)
    if kept.retried:
        client = FlowClient(bench.settings, bench.store, bench.temporal, lambda: bench.project)
        again = await client.retry(handle.id)
        await _end(again.handle)
        await _keep(bench, f"{name}-again", again.handle)


async def _by_schedule(bench: Workbench, kept: Kept) -> Handle:
    """Publish the flow and let its schedule start a run."""
    published, _ = await admission.publish_text(bench.store, bench.project, kept.flow)
    client = FlowClient(bench.settings, bench.store, bench.temporal, lambda: bench.project)
    schedules = Schedules(client)
    [one] = await schedules.list(published.flow)
    await schedules.trigger(one.flow, one.trigger)
    while not (recent := (await schedules.get(one.flow, one.trigger)).recent):
        await asyncio.sleep(0.1)
    return bench.temporal.get_workflow_handle(recent[0].run_id)


async def _end(handle: Handle) -> None:
    with contextlib.suppress(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 120)


async def _keep(bench: Workbench, name: str, handle: Handle) -> None:
    """Every execution of a run as a file of its own, then those of its sub-flows."""
    for number, history in enumerate(await _chain(bench, handle), start=1):
        _, local = await replay(history)
        data = json.loads(re.sub(_TRACE, r'\1""', re.sub(_WHO, r'\1"worker"', history.to_json())))
        suffix = f"-{number}" if number > 1 else ""
        text = json.dumps({"id": handle.id, "local": local, **data}, ensure_ascii=False, indent=1)
        (FOLDER / f"{name}{suffix}.json").write_text(f"{text}\n", encoding="utf-8")
        for count, child in enumerate(_children(history), start=1):
            found = bench.temporal.get_workflow_handle(child)
            await _end(found)
            await _keep(bench, f"{name}{suffix}-child-{count}", found)


async def _chain(bench: Workbench, handle: Handle) -> list[WorkflowHistory]:
    """The run's executions, the first one first."""
    run_id = handle.first_execution_run_id or (await handle.describe()).run_id
    chain: list[WorkflowHistory] = []
    while run_id:
        one = await bench.temporal.get_workflow_handle(handle.id, run_id=run_id).fetch_history()
        chain.append(one)
        # Empty where the run ended here.
        run_id = one.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return chain


def _children(history: WorkflowHistory) -> list[str]:
    return [
        event.start_child_workflow_execution_initiated_event_attributes.workflow_id
        for event in history.events
        if event.HasField("start_child_workflow_execution_initiated_event_attributes")
    ]


async def main(address: str) -> None:
    """Record what is missing."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        async with ClaudeStandIn(SCRIPT) as claude:
            temporal = await Client.connect(address)
            async with open_workbench(
                temporal, Path(folder), anthropic_api_key="any", anthropic_base_url=claude.base_url
            ) as bench:
                for name, kept in KEPT.items():
                    if not (FOLDER / f"{name}.json").exists():
                        await record(bench, name, kept)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as logs:
        process, found = start_temporal(Path(logs) / "server.log")
        try:
            asyncio.run(main(found))
        finally:
            stop(process)
