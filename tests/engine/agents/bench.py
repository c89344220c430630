"""A worker whose agents talk to a scripted model and to tools that write down what they did."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from tests.engine.agents.gate import Gate
from tests.engine.agents.model import Model
from tests.engine.agents.tool_server import over_http
from tests.engine.harness import Workbench, events, failure_of, open_workbench, untroubled, whole_history

from orchestrator.testing import ClaudeStandIn, When

Json = Any
SERVER = Path(__file__).with_name("tool_server.py")

FUNCTIONS = '''
"""Tools of the agents under test. Each call is written to calls.txt."""
import asyncio, pathlib
from temporalio import activity
from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.attempt import current_step
from tests.engine.agents.bench import HOLDS

LOG = pathlib.Path(__file__).parent.parent / "calls.txt"

def note(word):
    with LOG.open("a") as log:
        log.write(f"{word}\\n")

@activity.defn
async def lookup(city: str) -> dict:
    """The weather of a city."""
    note(f"lookup {city}")
    return {"city": city, "degrees": len(city)}

@activity.defn
async def add(a: int, b: int = 1) -> int:
    """Adds."""
    note(f"add {a} {b}")
    return a + b

@activity.defn
def in_thread(text: str) -> str:
    """A synchronous one."""
    note(f"in_thread {text}")
    return text[::-1]

@activity.defn
async def hold(name: str) -> str:
    """Stays until it is let go."""
    note(f"start {name} {current_step().idempotency_key}")
    try:
        await HOLDS[name].wait()
    except asyncio.CancelledError:
        note(f"cancelled {name}")
        raise
    note(f"end {name}")
    return name

@activity.defn
async def explode(why: str) -> str:
    """Fails."""
    note(f"explode {why}")
    raise TerminalError("vendor_said_no", f"no {why} today")

@activity.defn
async def flaky(times: int) -> dict:
    """Fails a few times."""
    step = current_step()
    note(f"flaky {step.attempt} {step.idempotency_key}")
    if step.attempt <= times:
        raise StepError("network_error", "the line is bad")
    return {"attempt": step.attempt}

@activity.defn
async def big(size: int) -> str:
    """A long text."""
    note(f"big {size}")
    return "x" * size

@activity.defn
async def echo(value: dict) -> dict:
    """The same."""
    note(f"echo {value}")
    return value

@activity.defn
async def undo(value) -> None:
    note(f"undo {value}")

@activity.defn
async def told(params):
    note(f"told {params}")
    return params
'''


COMPUTING = '''
import os, pathlib
from temporalio import activity
from orchestrator.steps.function import cpu

@activity.defn
@cpu
def crunch(number: int) -> int:
    """Computes in a process of its own."""
    worker = int((pathlib.Path(__file__).parent.parent / "pid").read_text())
    return number * number + (0 if os.getpid() != worker else 1_000_000)
'''
"""In a file of its own: the process that runs it imports nothing of the tests."""


class Holds(defaultdict[str, asyncio.Event]):
    """What the function ``hold`` waits for, by name."""

    def __init__(self) -> None:
        super().__init__(asyncio.Event)


HOLDS = Holds()


def agent(step: str = "think", /, *, output_schema: Json = None, **config: Json) -> dict[str, Json]:
    """An agent step whose system prompt is its id, so that the model's script is found by it."""
    own = {} if "agent" in config else {"system": step}
    made: dict[str, Json] = {"id": step, "type": "agent", "config": own | {"goal": "go"} | config}
    return made if output_schema is None else made | {"output_schema": output_schema}


def tools(*names: str) -> list[dict[str, str]]:
    """Functions as tools."""
    return [{"function": name} for name in names]


def flow(*steps: dict[str, Json], **top: Json) -> str:
    """A flow of these steps, as YAML."""
    return json.dumps({"id": "agents", "steps": list(steps)} | top)


class AgentBench:
    """The worker, the model it asks, and the project folder both share."""

    def __init__(self, bench: Workbench, model: Model, gate: Gate, folder: Path, open_ones: AsyncExitStack) -> None:
        self.bench = bench
        self.model = model
        self.gate = gate
        self.folder = folder
        self._open = open_ones

    def project(self, **sections: Json) -> None:
        """Write orchestrator.yaml."""
        (self.folder / "orchestrator.yaml").write_text(json.dumps(sections))

    def stdio_server(self, **entry: Json) -> dict[str, Json]:
        """The MCP server of the tests in a process of its own, as an entry of ``mcp``."""
        return {"command": sys.executable, "args": [str(SERVER), str(self.folder / "tools.txt")]} | entry

    async def serve(self, more: int = 0) -> None:
        """Start the MCP server of the tests over HTTP, known to the project as ``tools``."""
        url = await self._open.enter_async_context(over_http(self.folder / "tools.txt", more))
        self.project(mcp={"tools": {"url": url}})

    def served(self) -> list[str]:
        """What the MCP server's tools wrote down."""
        log = self.folder / "tools.txt"
        return log.read_text().splitlines() if log.exists() else []

    def calls(self) -> list[str]:
        """What functions wrote down."""
        return self.bench.calls()

    def clear(self) -> None:
        """Forget what was asked and called."""
        self.model.exchanges.clear()
        self.model.tries.clear()
        (self.folder / "calls.txt").unlink(missing_ok=True)

    async def reset(self) -> None:
        """Forget everything that a test wrote, held or started."""
        self.clear()
        self.model.scripts.clear()
        self.gate.open()
        for held in HOLDS.values():
            held.set()
        HOLDS.clear()
        self.bench.continue_after = None
        for name in ("tools.txt", "orchestrator.yaml", "pid"):
            (self.folder / name).unlink(missing_ok=True)
        await self._open.aclose()

    async def until_called(self, word: str) -> None:
        """Until a function has written a line that begins so."""
        for _ in range(1200):
            if any(line.startswith(word) for line in self.calls()):
                return
            await asyncio.sleep(0.025)
        raise AssertionError(f"'{word}' was never called: {self.calls()}")

    async def until_asked(self, who: str, turn: int) -> None:
        """Until the model was asked for this turn."""
        for _ in range(1200):
            if turn in self.model.turns(who):
                return
            await asyncio.sleep(0.025)
        raise AssertionError(f"turn {turn} of '{who}' was never asked for: {self.model.turns(who)}")

    async def start(self, text: str, inputs: dict[str, Json] | None = None, **more: Any) -> WorkflowHandle[Any, Any]:
        """Start a flow."""
        return await self.bench.start(text, inputs, **more)

    async def run(self, text: str, inputs: dict[str, Json] | None = None, **more: Any) -> Any:
        """Run a flow to its end; the model's conversations hold together."""
        return await self.result(await self.start(text, inputs, **more))

    async def result(self, handle: WorkflowHandle[Any, Any]) -> Any:
        """A run's output; the model's conversations hold together."""
        output = await asyncio.wait_for(handle.result(), 60)
        await untroubled(handle)
        self.model.check()
        return output

    async def failure(self, text: str, inputs: dict[str, Json] | None = None, **more: Any) -> dict[str, Json]:
        """The error record of a run that must fail."""
        error = await failure_of(await self.start(text, inputs, **more))
        self.model.check()
        return error

    async def task(self, handle: WorkflowHandle[Any, Any], part: str = "approve-") -> dict[str, Json]:
        """The open wait whose path holds ``part``, as the state shows it."""
        return (await self.tasks(handle, 1, part))[0]

    async def tasks(
        self, handle: WorkflowHandle[Any, Any], count: int, part: str = "approve-"
    ) -> list[dict[str, Json]]:
        """So many open waits whose path holds ``part``."""
        state: dict[str, Json] = {}
        for _ in range(1200):
            state = await handle.query("state")
            found = [wait for wait in state.get("waits", []) if part in wait["path"]]
            if len(found) >= count:
                return sorted(found, key=lambda wait: str(wait["path"]))
            await asyncio.sleep(0.025)
        raise AssertionError(f"no {count} waits for '{part}': {state.get('waits')}")


async def until(handle: WorkflowHandle[Any, Any], kind: str, count: int = 1) -> None:
    """Until a run's history has so many events of a kind."""
    for _ in range(1200):
        if sum(event.HasField(kind) for event in await events(handle)) >= count:  # type: ignore[arg-type]
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"no {count} events of the kind {kind}")


async def history_bytes(handle: WorkflowHandle[Any, Any]) -> bytes:
    """Everything Temporal keeps of a run."""
    return b"".join([event.SerializeToString() for event in await whole_history(handle)])


@asynccontextmanager
async def open_agents(temporal: Client, folder: Path, **settings: Any) -> AsyncIterator[AgentBench]:
    """A worker with the functions above and a model behind the real SDK."""
    HOLDS.clear()
    model = Model()
    claude = ClaudeStandIn([When(lambda request: True, model.answer)])
    gate = Gate(claude.app)
    claude.app = gate  # type: ignore[assignment]
    async with claude, AsyncExitStack() as open_ones:
        (folder / "activities").mkdir()
        (folder / "activities" / "computing.py").write_text(COMPUTING)
        made = {"anthropic_api_key": "sk-of-the-tests", "anthropic_base_url": claude.base_url} | settings
        async with open_workbench(temporal, folder, functions=FUNCTIONS, **made) as bench:
            yield AgentBench(bench, model, gate, folder, open_ones)
            gate.open()
        for held in HOLDS.values():
            held.set()
