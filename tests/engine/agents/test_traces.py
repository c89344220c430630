"""What an agent leaves behind: in Temporal's history, in the store, in the state people look at."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from tests.engine.agents.bench import HOLDS, AgentBench, agent, flow, history_bytes, open_agents, tools
from tests.engine.agents.model import calls
from tests.engine.harness import events, failure_of, scheduled

from orchestrator.testing import Reply

Json = Any
SECRET = "s3cret-of-an-agent"
KEY = "sk-key-of-the-worker"
TURN_EVENTS = 2 * 6
"""A turn with one tool: two activities, each scheduled, started, completed, with the three events of a task."""


def stored(agents: AgentBench) -> bytes:
    """Every byte of the store's files."""
    return b"".join(file.read_bytes() for file in agents.bench.settings.state.rglob("*") if file.is_file())


async def test_a_turn_leaves_as_many_events_as_its_activities_however_long_the_conversation(agents: AgentBench) -> None:
    lengths = {}
    for turns in (4, 12):
        agents.model.plays("think", *(calls(("add", {"a": n})) for n in range(turns)), "done")
        handle = await agents.start(flow(agent(tools=tools("add"))))
        await agents.result(handle)
        lengths[turns] = len(await events(handle))
    assert lengths[12] - lengths[4] == 8 * TURN_EVENTS


async def test_a_turns_bytes_in_the_history_do_not_grow_with_what_was_said_before(agents: AgentBench) -> None:
    sizes = {}
    for turns in (4, 12):
        long = [calls(("echo", {"value": {"text": "y" * 2_000}}), text="x" * 2_000) for _ in range(turns)]
        agents.model.plays("think", *long, "done")
        handle = await agents.start(flow(agent(system="think\n" + "z" * 20_000, tools=tools("echo"))))
        await agents.result(handle)
        sizes[turns] = len(await history_bytes(handle))
    # Of one turn: the call's arguments, as the model gave them and as the tool got them, and the result, given and told.
    assert (sizes[12] - sizes[4]) / 8 < 4 * 2_200 + 4_000
    assert b"zzzzzzzzzz" * 10 in await history_bytes(handle), "the definition is there once"


async def test_what_the_model_says_beside_its_calls_and_thinks_is_not_in_the_history(agents: AgentBench) -> None:
    thought = {"type": "thinking", "thinking": "UNHEARD-THOUGHT"}
    said = calls(("add", {"a": 1}), text="UNHEARD-WORDS")
    agents.model.plays("think", Reply((thought, *said.content), "tool_use"), "done")
    handle = await agents.start(flow(agent(tools=tools("add"))))
    assert await asyncio.wait_for(handle.result(), 60) == {"text": "done"}
    history = await history_bytes(handle)
    assert b"UNHEARD-THOUGHT" not in history
    assert b"UNHEARD-WORDS" not in history
    assert b"UNHEARD-THOUGHT" in stored(agents), "the transcript has it"


async def test_no_secret_enters_history_or_transcript(temporal: Client, tmp_path: Path) -> None:
    settings = {"secrets": {"API": SECRET}, "anthropic_api_key": KEY}
    async with open_agents(temporal, tmp_path, **settings) as agents:
        agents.project(mcp={"tools": agents.stdio_server(env={"TOKEN": "{{ secrets.API }}"})})
        leaks = calls(("told", {"params": {"text": f"I know {SECRET}"}}), text=f"It is {SECRET}")
        more = calls(("tools__shout", {"text": SECRET}), ("tools__variable", {"name": "TOKEN"}))
        agents.model.plays("think", leaks, more, f"told {SECRET}")
        used = [*tools("told"), {"mcp": "tools", "allow": ["shout", "variable"]}]
        handle = await agents.start(flow(agent(tools=used)))
        output = await asyncio.wait_for(handle.result(), 60)
        assert output == {"text": "told ***"}
        history, kept = await history_bytes(handle), stored(agents)
        for secret in (SECRET.encode(), KEY.encode()):
            assert secret not in history
            assert secret not in kept
        assert agents.served() == ["shout ***"], "nobody is told a secret by the model"
        assert agents.model.shown("think")[1] == ["***", "It is ***."]
        assert SECRET not in json.dumps(await handle.query("state"))


async def test_the_state_shows_what_a_running_agent_does_and_has_spent(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1})), calls(("hold", {"name": "a"}), ("add", {"a": 2})), "done")
    handle = await agents.start(flow(agent(tools=tools("hold", "add"))))
    await agents.until_called("start a")
    await agents.until_called("add 2")
    state: dict[str, Json] = await handle.query("state")
    record = state["steps"]["think"]
    assert (record["status"], record["turns"], record["usage"]["calls"]) == ("running", 2, 2)
    shown = {path: one["status"] for path, one in state["steps"].items()}
    assert shown["think/turn[1]/model"] == "completed"
    assert shown["think/turn[1]/call-0"] == "running"
    assert shown["think/turn[0]/call-0"] == "completed"
    HOLDS["a"].set()
    await agents.result(handle)
    done = (await handle.query("state"))["steps"]["think"]
    assert (done["status"], done["turns"], done["usage"]["calls"]) == ("completed", 3, 3)


async def test_activities_are_named_by_the_turn_and_call_they_are(agents: AgentBench) -> None:
    agents.model.plays("think", calls(("add", {"a": 1}), ("lookup", {"city": "x"})), "done")
    handle = await agents.start(flow(agent(tools=tools("add", "lookup"))))
    await agents.result(handle)
    ids = await scheduled(handle)
    assert [ids[0], ids[1], *sorted(ids[2:4]), ids[4]] == [
        "think/open",
        "think/turn[0]/model",
        "think/turn[0]/call-0",
        "think/turn[0]/call-1",
        "think/turn[1]/model",
    ]


async def test_a_long_agent_leaves_a_journal_as_small_as_a_short_one(agents: AgentBench) -> None:
    sizes = []
    for turns in (3, 20):
        agents.model.plays("think", *(calls(("add", {"a": n})) for n in range(turns)), Reply.refusal())
        handle = await agents.start(flow(agent(tools=tools("add"))))
        await failure_of(handle)
        sizes.append(len(json.dumps(await handle.query("journal"))))
    assert sizes[1] < sizes[0] + 300


async def test_large_results_do_not_make_the_run_fail_where_temporal_itself_carries_them(
    temporal: Client, tmp_path: Path
) -> None:
    """Without storage for payloads one payload has at most 1.9 MB, and the results of a turn are one."""
    async with open_agents(temporal, tmp_path, payloads="none") as agents:
        agents.model.plays("think", calls(*(("big", {"size": 900_000}) for _ in range(3))), "done")
        assert await agents.run(flow(agent(tools=tools("big")))) == {"text": "done"}
        assert all(len(text) < 60_000 for text in agents.model.shown("think")[0])


@pytest.mark.parametrize("count", [1, 40])
async def test_many_calls_in_one_answer_all_run_and_are_all_told(agents: AgentBench, count: int) -> None:
    agents.model.plays("think", calls(*(("add", {"a": n}) for n in range(count))), "done")
    await agents.run(flow(agent(tools=tools("add"))))
    assert agents.model.shown("think") == [[str(n + 1) for n in range(count)]]
