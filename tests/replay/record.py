"""Records the histories that the replay tests keep. Run it when a construct is added, never to make a failing replay
pass: ``python -m tests.replay.record``. Existing files are left alone."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from tests.conftest import start_temporal
from tests.engine.harness import Workbench, open_workbench

FOLDER = Path(__file__).parent / "histories"

FLOWS: dict[str, str] = {
    "two-echoes-and-a-wait": """
id: two-echoes-and-a-wait
steps:
  - {id: a, type: function, config: {handler: echo, args: [one]}}
  - {id: b, type: function, config: {handler: echo, args: [two]}}
  - {id: w, type: wait, config: {duration: 1s}}
""",
    "graph-and-parallel": """
id: graph-and-parallel
vars: {n: 1}
steps:
  - {id: x, type: function, needs: [], config: {handler: echo, args: [x]}}
  - {id: y, type: function, needs: [], config: {handler: slow, params: {seconds: 0.2}}}
  - {id: z, type: function, needs: [x], config: {handler: echo, args: ["{{ steps.x.output }}"]}}
  - id: p
    type: parallel
    config:
      on_failure: finish_all
      branches:
        - {id: p1, type: function, config: {handler: slow, params: {seconds: 0.1}}}
        - {id: p2, type: function, config: {handler: echo, args: ["{{ uuid() }} {{ now() }}"]}}
        - {id: p3, type: block, timeout: 10s, config: {steps: [{id: p31, type: function, config: {handler: echo, args: [3]}}]}}
  - {id: s, type: set, config: {n: "{{ vars.n + 1 }}"}}
output: "{{ vars.n }}"
""",
    "branches-and-handlers": """
id: branches-and-handlers
timeout: 1h
steps:
  - id: c
    type: condition
    config: {if: "1 < 2", then: [{id: t, type: function, config: {handler: echo, args: [t]}}], else: [{id: e, type: fail, config: {type: x, message: never}}]}
  - id: sw
    type: switch
    config: {value: "'b'", cases: [{equals: a, steps: [{id: ca, type: fail, config: {type: x, message: never}}]}, {equals: b, steps: [{id: cb, type: function, config: {handler: echo, args: [b]}}]}]}
  - {id: bad, type: function, retry: {max_attempts: 2, initial_interval: 10ms}, on_error: [{id: fix, type: function, config: {handler: echo, args: ["{{ error.type }}"]}}], config: {handler: fail_times, params: {times: 9}}}
  - {id: out, type: return, config: {output: {done: "{{ steps.bad.output }}"}}}
error_handling: {finally: [{id: last, type: function, config: {handler: echo, args: [last]}}]}
""",
    "review-decided": """
id: review-decided
steps:
  - {id: review, type: human-task, config: {assignee: team, deadline: 24h}}
  - {id: after, type: function, config: {handler: echo, args: ["{{ steps.review.output.decision }}"]}}
""",
    "review-cancelled": """
id: review-cancelled
steps:
  - parallel:
      - {id: review, type: human-task, config: {assignee: team}}
      - {id: long, type: function, config: {handler: slow, params: {seconds: 60}}}
""",
}


async def record(bench: Workbench, name: str, flow: str) -> None:
    """Run one flow to its end and write its history."""
    handle: WorkflowHandle[Any, Any] = await bench.start(flow)
    if name.startswith("review"):
        await bench.waiting(handle, "review")
        if name.endswith("decided"):
            await handle.signal("review", {"decision": "approve"})
        else:
            await handle.cancel()
    with contextlib.suppress(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
    text = (await handle.fetch_history()).to_json()
    # Who ran it is of no use to a replay.
    text = re.sub(r'("identity": |"name": )"\d+@[^"]*"', r'\1"worker"', text)
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


async def main(address: str) -> None:
    """Record what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_workbench(await Client.connect(address), Path(folder)) as bench:
            for name, flow in FLOWS.items():
                if not (FOLDER / f"{name}.json").exists():
                    await record(bench, name, flow)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as logs:
        process, found = start_temporal(Path(logs) / "server.log")
        try:
            asyncio.run(main(found))
        finally:
            process.terminate()
            process.wait(10)
