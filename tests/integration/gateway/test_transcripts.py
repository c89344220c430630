"""Reading what agents said: over HTTP, in Python, on the command line; and for how long it is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from sqlalchemy import update
from tests.integration.gateway.conftest import Door, open_door

from orchestrator.cli.console import show_json
from orchestrator.cli.transcript import _lines
from orchestrator.client import RunFailed
from orchestrator.client.transcript import _is_known, forget_old
from orchestrator.errors import NotFound
from orchestrator.store import tables
from orchestrator.store.transcripts import OPENING, Entry, TranscriptKey
from orchestrator.testing import ClaudeStandIn, Reply, When

FLOW = """
id: research
agents:
  reader: {description: Reads., system: You read.}
steps:
  - id: team
    steps:
      - id: look
        type: agent
        config:
          model: claude-haiku-5-5
          goal: Look at the sea.
          tools: [{agent: reader}]
          approve: [reader]
          approval: {assignee: kim}
"""


@pytest.fixture
async def claude() -> AsyncIterator[ClaudeStandIn]:
    async with ClaudeStandIn() as server:
        yield server


@pytest.fixture
async def manned(temporal: temporalio.client.Client, tmp_path: Path, claude: ClaudeStandIn) -> AsyncIterator[Door]:
    """A gateway whose worker talks to the stand-in."""
    changes: dict[str, Any] = {"anthropic_api_key": "sk-any", "anthropic_base_url": claude.base_url}
    async with open_door(temporal, tmp_path, **changes) as door:
        yield door


async def finished(door: Door, claude: ClaudeStandIn) -> str:
    """The id of a run whose agent has called another one and answered; looked at on the way."""
    claude.add(
        When("Look at the sea.", Reply.tool_use("reader", {"goal": "Read it."}, text="I shall ask."), times=1),
        When("Read it.", "It is blue."),
        Reply.text("Blue.\x1b[2J").with_usage(input_tokens=100, output_tokens=5),
    )
    await door.publish(FLOW)
    run = await door.client.start("research")
    task = await door.waiting_task(run.id)
    [begun] = (await door.http.get(f"/v1/runs/{run.id}/transcripts")).json()["transcripts"]
    assert (begun["path"], begun["turns"], begun["goal"]) == ("team/look", 1, "Look at the sea.")
    await door.client.decide(task["id"], "approve", by="kim")
    assert await run.result(30) == {"text": "Blue.\x1b[2J"}
    return run.id


async def test_a_runs_conversations_are_listed_and_read_page_by_page_also_while_it_runs(
    manned: Door, claude: ClaudeStandIn
) -> None:
    run_id = await finished(manned, claude)
    listed = (await manned.http.get(f"/v1/runs/{run_id}/transcripts")).json()["transcripts"]
    assert [(one["path"], one["agent"], one["turns"]) for one in listed] == [
        ("team/look", None, 2),
        ("team/look/turn[0]/call-0", "reader", 1),
    ]
    assert listed[0]["model"] == "claude-haiku-5-5"
    assert listed[0]["usage"]["calls"] == 2
    url = f"/v1/runs/{run_id}/transcripts/team/look"
    whole = (await manned.http.get(url)).json()
    assert whole["next"] is None
    assert [message["role"] for message in whole["messages"]] == ["user", "assistant", "user", "assistant"]
    assert whole["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "It is blue."}]
    assert [tool["name"] for tool in whole["tools"]] == ["reader"]
    pages: list[Any] = []
    after = 0
    while after is not None:
        page = (await manned.http.get(url, params={"after": after, "limit": 3})).json()
        pages += page["messages"]
        after = page["next"]
    assert pages == whole["messages"]
    deep = await manned.client.run(run_id).transcript("team/look/turn[0]/call-0")
    assert deep.goal == "Read it."

    shown = "\n".join(_lines(await manned.client.run(run_id).transcript("team/look")))
    assert '-> reader\n     {"goal": "Read it."}' in shown
    assert "<- reader\n     It is blue." in shown
    assert "\x1b" not in shown


async def test_what_is_not_there_is_a_problem_that_says_what_is(manned: Door, claude: ClaudeStandIn) -> None:
    run_id = await finished(manned, claude)
    for url, says in (
        (f"/v1/runs/{run_id}/transcripts/team", "there: 'team/look', 'team/look/turn[0]/call-0'"),
        (f"/v1/runs/{run_id}/transcripts/team/look?generation=2", "no transcript of generation 2"),
        ("/v1/runs/nobody/transcripts", "nobody"),
        ("/v1/runs/nobody/transcripts/a", "there: none"),
    ):
        answer = await manned.http.get(url)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert says in answer.json()["detail"]
    assert (await manned.http.get(f"/v1/runs/{run_id}/transcripts/team/look?after=-1")).status_code == 422


async def test_a_run_that_goes_on_from_another_shows_the_conversations_of_both(
    manned: Door, claude: ClaudeStandIn
) -> None:
    run_id = await finished(manned, claude)
    claude.add("Green.")
    again = await manned.client.rerun(run_id, "look")
    await again.result(30)
    assert {(one.path, one.generation) for one in await manned.client.run(run_id).transcripts()} == {
        ("team/look", 1),
        ("team/look/turn[0]/call-0", 1),
        ("team/look", 2),
    }
    newest, first = [await again.transcript("team/look", generation=number) for number in (None, 1)]
    assert (newest.generation, len(newest.messages)) == (2, 2)
    assert len(first.messages) == 4


async def test_an_agent_that_try_runs_again_begins_a_new_conversation(manned: Door, claude: ClaudeStandIn) -> None:
    await manned.publish(
        "id: again\nsteps:\n  - type: try\n    config:\n      retry: {max_attempts: 2, initial_interval: 10ms, on: ['*']}\n"
        "      steps: [{id: ask, type: agent, retry: none, config: {goal: Go., model: claude-haiku-5-5}}]"
    )
    claude.add(Reply.paused("First thought."), Reply.refusal(), "Second thought.")
    run = await manned.client.start("again")
    assert await run.result(30) == {"text": "Second thought."}
    assert [len(request.body["messages"]) for request in claude.requests] == [1, 2, 1]
    [listed] = await run.transcripts()
    assert listed.turns == 1


async def test_a_delivery_that_starts_a_failed_run_again_begins_a_new_conversation(
    manned: Door, claude: ClaudeStandIn
) -> None:
    await manned.publish("id: once\nsteps: [{id: ask, type: agent, config: {goal: Go., model: claude-haiku-5-5}}]")
    claude.add(Reply.paused("First thought."), Reply.refusal(), "Second thought.")
    first = await manned.client.start("once", idempotency_key="k")
    with pytest.raises(RunFailed, match="refusal"):
        await first.result(30)
    second = await manned.client.start("once", idempotency_key="k")
    assert second.id == first.id
    assert await second.result(30) == {"text": "Second thought."}
    assert [len(request.body["messages"]) for request in claude.requests] == [1, 2, 1]


async def test_a_conversation_is_kept_as_long_as_temporal_knows_a_run_of_its_chain(idle: Door) -> None:
    await idle.publish("id: plain\nsteps: [{id: a, type: wait, config: {duration: 1h}}]")
    known = await idle.client.start("plain", run_id="it's-known")
    await idle.client.start("plain", run_id="older~r2")
    for root in (known.id, "older", "gone", "recent"):
        await idle.store.transcripts.begin(TranscriptKey(root, "a"), Entry(OPENING, "opening", {}, {}))
    long_ago = datetime.now(UTC) - timedelta(days=400)
    async with idle.store._database.writing() as connection:
        table = tables.transcripts
        await connection.execute(update(table).where(table.c.root != "recent").values(created_at=long_ago))
    for root in (known.id, "older"):
        while not await _is_known(idle.client.temporal, root):
            # Temporal lists a run a moment after its start.
            await asyncio.sleep(0.05)
    assert await forget_old(idle.store, idle.client.temporal) == 1
    left = [root for root in (known.id, "older", "gone", "recent") if await idle.store.transcripts.of_run(root)]
    assert left == [known.id, "older", "recent"]
    with pytest.raises(NotFound):
        await idle.client.run("gone").transcript("a")


async def test_a_conversation_is_json_for_scripts(
    manned: Door, claude: ClaudeStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = await finished(manned, claude)
    show_json(await manned.client.run(run_id).transcript("team/look"))
    assert json.loads(capsys.readouterr().out)["messages"][0]["content"][0]["text"] == "Look at the sea."
