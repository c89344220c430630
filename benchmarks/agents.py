"""An agent that calls one function in every turn, against a model that answers at once: what a turn costs in a flow,
in a hand-written workflow, and in the bare SDK loop that keeps nothing."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowHandle

from benchmarks import agent_host
from benchmarks.agent_model import GOAL
from benchmarks.load import middle
from benchmarks.report import BASE, Row
from benchmarks.servers import cpu_seconds, open_bench, open_module
from orchestrator import admission
from orchestrator.devserver.connect import connected

BARE = "bare SDK loop"
VARIANTS = (BARE, BASE, "flow")
TURNS = (10, 30)
RUNS = 5
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Side:
    """One variant being measured."""

    run: Callable[[str], Awaitable[tuple[str, WorkflowHandle[Any, Any] | None]]]
    """Gives the answer, and the run where there is one."""
    pids: tuple[int, ...]
    """Whose CPU is counted: the loop's own process, and Temporal's."""


async def measure(rounds: int) -> list[Row]:
    """``rounds`` rounds; each variant on fresh servers, the variants change places from round to round."""
    rows: list[Row] = []
    for number in range(rounds):
        turn = number % len(VARIANTS)
        for variant in VARIANTS[turn:] + VARIANTS[:turn]:
            async with _open(variant) as side:
                await _timed(side, WARM_UP)
                rows += [Row(variant, number, await _measure_one(side, turns), f"{turns} turns") for turns in TURNS]
    return rows


@asynccontextmanager
async def _open(variant: str) -> AsyncIterator[Side]:
    async with open_module("benchmarks.agent_model") as (_, line):
        url = line.strip()
        if variant == BARE:
            model = agent_host.Model(url)

            async def alone(goal: str) -> tuple[str, None]:
                return await agent_host.bare(model, goal), None

            yield Side(alone, (os.getpid(),))
            return
        async with open_bench() as bench, connected(bench.settings()) as parts:
            agent_host.write_flow(bench.folder)
            await admission.publish_folder(parts.store, parts.project(), bench.folder / "workflows", as_edit=True)
            given = ("--address", bench.address, "--folder", str(bench.folder), "--model", url)
            kind = "flow" if variant == "flow" else "hand-written"
            async with open_module("benchmarks.agent_host", kind, *given) as (pid, _):
                temporal = parts.client.temporal

                async def run(goal: str) -> tuple[str, WorkflowHandle[Any, Any]]:
                    if variant == "flow":
                        handle = (await parts.client.start(agent_host.FLOW, {"goal": goal})).handle
                    else:
                        name = f"agent-{uuid.uuid4()}"
                        handle = await temporal.start_workflow(
                            agent_host.AgentByHand.run, goal, id=name, task_queue=agent_host.QUEUE
                        )
                    return str(await handle.result()), handle

                yield Side(run, (pid, bench.temporal_pid))


async def _timed(side: Side, turns: int) -> tuple[float, WorkflowHandle[Any, Any] | None]:
    began = time.perf_counter()
    answer, handle = await side.run(f"{GOAL}{turns}")
    if answer != "done":
        raise RuntimeError(f"the agent answered {answer[:200]!r}, not 'done'")
    return time.perf_counter() - began, handle


async def _measure_one(side: Side, turns: int) -> dict[str, float]:
    before = [cpu_seconds(pid) for pid in side.pids]
    runs = [await _timed(side, turns) for _ in range(RUNS)]
    used = [cpu_seconds(pid) - first for pid, first in zip(side.pids, before, strict=True)] + [0.0]
    handle = runs[-1][1]
    events = (await handle.fetch_history()).events if handle is not None else []
    return {
        "ms per turn": 1000 * middle([seconds for seconds, _ in runs]) / turns,
        "worker CPU ms": 1000 * used[0] / (RUNS * turns),
        "server CPU ms": 1000 * used[1] / (RUNS * turns),
        "events per turn": len(events) / turns,
        "history bytes per turn": sum(event.ByteSize() for event in events) / turns,
    }
