"""Runs a flow on the engine and on the oracle in step: the function ``act`` waits at the stage until its turn comes, and
whose turn it is follows from the choices given. So the order of what happens side by side is decided, not raced for.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml
from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError
from tests.engine.flows.oracle import Oracle
from tests.engine.flows.walks import Step
from tests.engine.harness import Workbench, open_workbench

ACT = '''
from temporalio import activity
from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.attempt import current_step
from tests.engine.flows.stage import STAGES

@activity.defn
async def act(params):
    """Carried out when its turn comes; the first ``fails`` times it fails."""
    step = current_step()
    root = step.idempotency_key.partition("/")[0]
    call = await STAGES[root].enter(step.path, step.idempotency_key, params.get("seen"))
    if call <= params["fails"]:
        raise (TerminalError if params["terminal"] else StepError)(params["type"], "told to fail")
    return f"{step.path}:{call}"
'''
"""For the project folder."""

ASKED_TO_STOP = PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
STUCK = 60.0
"""Seconds without progress that count as never."""


class Stage:
    """The calls of one run, its retries included, that wait for their turn."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[int]] = {}
        self.calls: dict[str, int] = {}
        self.done: list[tuple[str, str, Any]] = []
        """Path, idempotency key and what it was shown, of every call carried out."""
        self.changed = asyncio.Event()
        self._contexts: dict[str, contextvars.Context] = {}

    async def enter(self, path: str, key: str, seen: Any) -> int:
        """Wait for one's turn; how many calls of this path there have been, this one included."""
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.waiting[path] = turn
        self._contexts[path] = contextvars.copy_context()
        self.changed.set()
        try:
            call = await turn
        finally:
            if self.waiting.get(path) is turn:
                del self.waiting[path]
        self.done.append((path, key, seen))
        return call

    def tell(self, path: str) -> None:
        """It is to be cancelled, which a call learns with its next heartbeat: now, not in a while."""
        context = self._contexts.pop(path, None)
        if context is not None and path in self.waiting:
            context.run(activity.heartbeat)

    def release(self, path: str) -> None:
        """It is its turn."""
        self.calls[path] = self.calls.get(path, 0) + 1
        self.waiting.pop(path).set_result(self.calls[path])


STAGES: defaultdict[str, Stage] = defaultdict(Stage)
"""By root run id: a call may come before its run's start has been answered."""


class Difference(AssertionError):
    """Engine and oracle disagree."""


@dataclass
class Played:
    """How a run ended, as the engine shows it."""

    status: str
    output: Any = None
    error: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


class Playing(Protocol):
    """Plays one flow after the other on the same worker; raises Difference."""

    def __call__(self, flow: Step, choices: Sequence[int], *, drains: bool = False, **envelope: Any) -> None: ...


@contextlib.contextmanager
def open_stage(address: str, folder: Path) -> Iterator[Playing]:
    """A worker with ``act`` in an event loop of its own, which stands still between two flows."""
    with asyncio.Runner() as runner:
        client = runner.run(Client.connect(address))
        opened = open_workbench(client, folder, functions=ACT)
        bench = runner.run(opened.__aenter__())

        def playing(flow: Step, choices: Sequence[int], *, drains: bool = False, **envelope: Any) -> None:
            runner.run(play(bench, flow, choices, drains=drains, **envelope))

        try:
            yield playing
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def play(bench: Workbench, flow: Step, choices: Sequence[int], *, drains: bool = False, **envelope: Any) -> None:
    """Run the flow on both; raises Difference. ``drains``: the run continues as new after every step, which begins
    nothing before everything under way is done."""
    text = yaml.safe_dump(flow, sort_keys=False, allow_unicode=True, width=120)
    oracle = Oracle(flow)
    handle = await bench.start(text, **envelope)
    stage = STAGES[handle.id]
    result = asyncio.ensure_future(_result(handle))
    try:
        await _in_step(handle, stage, oracle, choices, result, drains=drains)
        played = await asyncio.wait_for(asyncio.shield(result), STUCK)
        await _compare(handle, stage, oracle, played, drains=drains)
    except (Difference, TimeoutError) as difference:
        state = await handle.query("state")
        shown = {path: record["status"] for path, record in state["steps"].items()}
        raise Difference(
            f"{difference!r}\nflow:\n{text}\noracle: {oracle.ended} {oracle.done} {oracle.undone} {oracle.status}\n"
            f"engine: {state['status']} {stage.done} {state['compensations']} {shown} {state.get('error')}"
        ) from difference
    finally:
        if not result.done():
            with contextlib.suppress(RPCError):
                await handle.terminate()
        result.cancel()
        for turn in list(stage.waiting.values()):
            turn.cancel()
        del STAGES[handle.id]


async def _result(handle: WorkflowHandle[Any, Any]) -> Played:
    try:
        return Played("completed", await handle.result())
    except WorkflowFailureError as failed:
        if isinstance(failed.cause, CancelledError):
            return Played("cancelled")
        assert isinstance(failed.cause, ApplicationError), failed.cause
        return Played("failed", error=failed.cause.details[0])


async def _in_step(
    handle: WorkflowHandle[Any, Any],
    stage: Stage,
    oracle: Oracle,
    choices: Sequence[int],
    result: asyncio.Future[Played],
    *,
    drains: bool,
) -> None:
    walk = oracle.run()
    turns = itertools.cycle(choices)
    pending = _step(walk, None)
    while pending:
        await _arrived(pending, stage, result, at_least=1 if drains else len(pending))
        able = [path for path in pending if path in stage.waiting]
        chosen = able[next(turns) % len(able)]
        stage.release(chosen)
        before, pending = pending, _step(walk, chosen)
        # What goes on beside it must not overtake what is being stopped or has just ended.
        await _stopped(handle, stage, oracle.stopped)
        if chosen not in pending and any(path in pending for path in before):
            await _recorded(handle, chosen)


def _step(walk: Any, done: str | None) -> list[str]:
    try:
        pending: list[str] = next(walk) if done is None else walk.send(done)
    except StopIteration:
        return []
    return pending


async def _arrived(pending: list[str], stage: Stage, result: asyncio.Future[Played], *, at_least: int) -> None:
    """Until the engine has begun what the oracle says is under way."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STUCK
    while len(missing := [path for path in pending if path not in stage.waiting]) > len(pending) - at_least:
        strangers = sorted(stage.waiting.keys() - set(pending))
        if strangers:
            raise Difference(f"the engine began {strangers}; under way should be {pending}")
        if result.done():
            raise Difference(f"the engine ended; under way should be {pending}: {result.result()}")
        if loop.time() > deadline:
            raise Difference(f"the engine never began {missing}")
        stage.changed.clear()
        changed: asyncio.Future[Any] = asyncio.ensure_future(stage.changed.wait())
        both: list[asyncio.Future[Any]] = [changed, result]
        await asyncio.wait(both, timeout=1, return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()


async def _stopped(handle: WorkflowHandle[Any, Any], stage: Stage, paths: list[str]) -> None:
    """Until the calls that the oracle stopped are stopped and the server knows; takes them off the list."""
    calls = {path: stage.waiting[path] for path in paths if path in stage.waiting}
    paths.clear()
    deadline = asyncio.get_running_loop().time() + STUCK
    while calls:
        pending = await _pending(handle)
        for path in [path for path in calls if pending.get(path) == ASKED_TO_STOP]:
            stage.tell(path)
        asked = [path for path, call in calls.items() if not call.done() or pending.get(path) == ASKED_TO_STOP]
        if not asked:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise Difference(f"the engine never stopped {asked}")
        await asyncio.sleep(0.005)


async def _recorded(handle: WorkflowHandle[Any, Any], path: str) -> None:
    """Until the run has seen the end of a call: what ends later is then also seen later."""
    for _ in range(int(STUCK / 0.005)):
        described = (await handle.describe()).raw_description
        under_way = any(one.activity_id == path for one in described.pending_activities)
        if not under_way and not described.HasField("pending_workflow_task"):
            return
        await asyncio.sleep(0.005)
    raise Difference(f"the end of {path} was never recorded")


async def _pending(handle: WorkflowHandle[Any, Any]) -> dict[str, PendingActivityState.ValueType]:
    described = await handle.describe()
    return {one.activity_id: one.state for one in described.raw_description.pending_activities}


async def _compare(
    handle: WorkflowHandle[Any, Any], stage: Stage, oracle: Oracle, played: Played, *, drains: bool
) -> None:
    """What ended: result, error, compensations, what every step came to, and the idempotency keys."""
    _same("status", played.status, oracle.ended)
    if played.status == "completed":
        _same("output", played.output, oracle.output)
    if oracle.error is not None:
        _same("error", (played.error["type"], played.error["step"]["path"]), (oracle.error.kind, oracle.error.path))
    state = await handle.query("state")
    undone = [(told["path"], told["status"]) for told in state["compensations"] if told["status"] != "owed"]
    _same("compensations", undone, oracle.undone)
    if stage.waiting:
        raise Difference(f"the engine began {sorted(stage.waiting)} and nobody asked for it")
    _same("calls", [(path, seen) for path, _, seen in stage.done], [(path, seen) for path, _, seen in oracle.done])
    keys = [(path, key) for path, key, _ in stage.done if "[" not in path]
    told = [(path, f"{handle.id}/{path}#{number}") for path, number, _ in oracle.done if "[" not in path]
    _same("idempotency keys", keys, told)
    shown = {path: record["status"] for path, record in state["steps"].items()}
    _same("records", _certain(shown, oracle, drains), _certain(oracle.status, oracle, drains))


def _certain(statuses: dict[str, str], oracle: Oracle, drains: bool) -> dict[str, str]:
    """Records of finished passes do not travel when a run continues as new."""
    return {
        path: status
        for path, status in sorted(statuses.items())
        if not path.startswith(tuple(oracle.open_question)) and not (drains and "[" in path)
    }


def _same(what: str, engine: Any, oracle: Any) -> None:
    if engine != oracle:
        raise Difference(f"{what}: the engine has {engine!r}, the oracle {oracle!r}")
