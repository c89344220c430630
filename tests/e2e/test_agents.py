"""A worker killed with SIGKILL in the tenth turn of its agents, each at another instant: nothing that was answered is
asked again, and nothing that a tool gave is asked for again."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import start_temporal, stop
from tests.e2e.product import Product
from tests.engine.agents.gate import Gate
from tests.engine.agents.model import Exchange, Model, calls, follows

from orchestrator import admission
from orchestrator.client import Client, Run
from orchestrator.spec.project import Project
from orchestrator.testing import ClaudeStandIn, Reply, When

Json = Any
TENTH = 9
FLOW = {
    "id": "crashing",
    "inputs": {"who": "string"},
    "agents": {"helper": {"system": "helper", "tools": [{"function": "work"}]}},
    "steps": [
        {
            "id": "think",
            "type": "agent",
            "retry": {"max_attempts": 5, "initial_interval": "100ms"},
            "config": {
                "system": "{{ inputs.who }}",
                "goal": "Go on until it is done.",
                "tools": [{"function": "work"}, {"function": "wipe"}, {"agent": "helper"}],
                "approve": ["wipe"],
                "approval": {"assignee": "ops"},
            },
        }
    ],
    "output": ["{{ steps.think.output.text }}", "{{ steps.think.usage.calls }}"],
}
FUNCTIONS = '''
import asyncio, pathlib
from temporalio import activity
from orchestrator.steps.attempt import current_step

FOLDER = pathlib.Path(__file__).parent.parent

def note(word):
    with (FOLDER / "calls.txt").open("a") as log:
        log.write(f"{word} {current_step().idempotency_key}\\n")

@activity.defn
async def work(name: str) -> str:
    """Works; as long as there is a file of its name, it does not end."""
    note(f"begin {name}")
    while (FOLDER / f"hold-{name}").exists():
        await asyncio.sleep(0.02)
    note(f"end {name}")
    return name

@activity.defn
async def wipe(name: str) -> str:
    """Dangerous."""
    note(f"begin {name}")
    note(f"end {name}")
    return name
'''


@dataclass
class Stage:
    """Everything a crash needs: the folder, the servers, the model and its gate."""

    folder: Path
    temporal: subprocess.Popen[bytes]
    address: str
    model: Model
    gate: Gate
    claude_url: str

    def worker(self) -> Product:
        """A worker process."""
        key = {"ANTHROPIC_API_KEY": "stand-in", "ANTHROPIC_BASE_URL": self.claude_url}
        return Product(self.folder, "worker", TEMPORAL_ADDRESS=self.address, **key)

    def calls(self) -> list[str]:
        """What the tools wrote down."""
        log = self.folder / "calls.txt"
        return log.read_text().splitlines() if log.exists() else []

    def answers(self, run: Run) -> int:
        """Answers of the model that a run's main conversation holds, read past everything that caches."""
        with sqlite3.connect(f"file:{self.folder}/.orchestrator/store.db?mode=ro", uri=True) as store:
            query = "select count(*) from transcript where root = ? and path = 'think' and role = 'assistant'"
            count: int = store.execute(query, [run.id]).fetchone()[0]
            return count


@pytest.fixture
def temporal_server_of_its_own(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Temporal server that a test may stop for a moment."""
    process, address = start_temporal(tmp_path / "temporal.log")
    yield process, address
    process.send_signal(signal.SIGCONT)
    stop(process)


async def until(what: Any, seconds: float = 60.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.02)


def script(model: Model, who: str, tenth: Reply | list[Reply | str]) -> None:
    """Nine turns of work, then the one in which the worker dies, then the end."""
    turns = [calls(("work", {"name": f"{who}-{n}"})) for n in range(TENTH)]
    model.plays(who, *turns, tenth, f"{who} is done")


async def started(client: Client, stage: Stage) -> dict[str, Run]:
    """A run for each instant, its script written."""
    model = stage.model
    for who in ("asked", "streaming", "answered"):
        script(model, who, calls(("work", {"name": f"{who}-9"}), text="This is a text that comes in several pieces."))
    script(model, "refused", [Reply.rate_limited(2), calls(("work", {"name": "refused-9"}))])
    script(model, "tool", calls(("work", {"name": "tool-quick"}), ("work", {"name": "tool-slow"})))
    script(model, "approval", calls(("wipe", {"name": "approval-9"})))
    script(model, "sub", calls(("helper", {"goal": "help"})))
    model.plays("helper", calls(("work", {"name": "sub-quick"})), calls(("work", {"name": "sub-slow"})), "helped")
    for name in ("tool-slow", "sub-slow"):
        (stage.folder / f"hold-{name}").touch()
    names = ("asked", "streaming", "answered", "refused", "tool", "approval", "sub")
    return {who: await client.start("crashing", {"who": who}) for who in names}


async def waits(run: Run) -> list[dict[str, Json]]:
    """What a run waits for."""
    return list((await run.state())["waits"])


@pytest.mark.timeout(180)
async def test_a_worker_killed_in_the_tenth_turn_asks_nothing_again_that_was_answered(
    tmp_path: Path, temporal_server_of_its_own: tuple[subprocess.Popen[bytes], str]
) -> None:
    process, address = temporal_server_of_its_own
    model = Model()
    (tmp_path / "activities").mkdir()
    (tmp_path / "activities" / "tools.py").write_text(FUNCTIONS)
    claude = ClaudeStandIn([When(lambda request: True, model.answer)])
    gate = Gate(claude.app)
    claude.app = gate  # type: ignore[assignment]
    async with claude:
        stage = Stage(tmp_path, process, address, model, gate, claude.base_url)
        first = stage.worker()
        workers = [first]
        try:
            await asyncio.to_thread(first.wait_for, "worker on task queue")
            client = await Client.connect(first.settings)
            async with client:
                await _crash(stage, client, workers)
        finally:
            gate.open()
            process.send_signal(signal.SIGCONT)
            for worker in workers:
                await asyncio.to_thread(worker.stop)


async def _crash(stage: Stage, client: Client, workers: list[Product]) -> None:
    await admission.publish_text(client.store, Project(), json.dumps(FLOW))
    asked, streaming = stage.gate.hold("asked", TENTH, "start"), stage.gate.hold("streaming", TENTH, "middle")
    answered = stage.gate.hold("answered", TENTH, "middle")
    runs = await started(client, stage)
    # Each run comes to its instant and stays there.
    for held in (asked, streaming, answered):
        await asyncio.wait_for(held.arrived.wait(), 60)
    await until(lambda: {"tool-slow", "sub-slow"} <= {line.split()[1] for line in stage.calls()})
    await until(lambda: TENTH in stage.model.turns("refused"))
    async with asyncio.timeout(30):
        while not await waits(runs["approval"]):
            await asyncio.sleep(0.05)
    # What the quick tool beside the slow one gave is recorded by now; "refused" waits for its next attempt.
    await asyncio.sleep(0.3)

    # One answer arrives and is kept, and Temporal never hears that it did.
    stage.temporal.send_signal(signal.SIGSTOP)
    answered.go_on.set()
    await until(lambda: stage.answers(runs["answered"]) == TENTH + 1, 10)
    workers[0].stop(signal.SIGKILL)
    stage.temporal.send_signal(signal.SIGCONT)
    stage.gate.open()
    for name in ("tool-slow", "sub-slow"):
        (stage.folder / f"hold-{name}").unlink()

    workers.append(stage.worker())
    await asyncio.to_thread(workers[1].wait_for, "worker on task queue")
    [wait] = await waits(runs["approval"])
    await client.decide(wait["task_id"], "approve")
    for who, run in runs.items():
        said, paid = await run.result(60)
        assert said == f"{who} is done"
        assert paid == (11 if who != "sub" else 14)
    _judge(stage)


def _judge(stage: Stage) -> None:
    """What the stand-in and the tools wrote down, beside what may have been asked twice."""
    twice = {"asked", "streaming", "refused"}
    for who in ("asked", "streaming", "answered", "refused", "tool", "approval", "sub"):
        turns = stage.model.turns(who)
        assert Counter(turns) == Counter([*range(TENTH + 2), *([TENTH] if who in twice else [])]), who
        _conversation(stage.model.of(who))
    assert stage.model.turns("helper") == [0, 1, 2]
    _conversation(stage.model.of("helper"))
    begun = Counter(stage.calls())
    repeated = {line.split()[1] for line, count in begun.items() if count > 1}
    assert repeated <= {"tool-slow", "sub-slow"}, "only what had not ended when the worker died"
    names = Counter(line.split()[1] for line in begun)
    assert set(names.values()) == {2}, "one idempotency key each: a begin and an end"


def _conversation(exchanges: list[Exchange]) -> None:
    """A conversation holds together; an answer that did not arrive is asked for once more as it was."""
    for before, after in itertools.pairwise(exchanges):
        if after.turn == before.turn:
            assert (after.messages, after.rest) == (before.messages, before.rest)
        else:
            follows(before, after)
