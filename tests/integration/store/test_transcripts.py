"""The conversations of agents, on both databases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.store.database import Store
from orchestrator.store.transcripts import OPENING, Entry, TranscriptKey, answer_of, before_turn

KEY = TranscriptKey("run-1", "research", 1)


def opening(**about: Any) -> Entry:
    return Entry(OPENING, "opening", about, {"model": "m"})


def answer(turn: int, content: Any = "said", **about: Any) -> Entry:
    return Entry(answer_of(turn), "assistant", about, content)


async def test_a_conversation_is_read_in_order_whatever_the_order_of_writing(store: Store) -> None:
    await store.transcripts.begin(KEY, opening())
    await store.transcripts.write(KEY, answer(1))
    await store.transcripts.write(KEY, Entry(before_turn(1), "user", {}, "asked"))
    await store.transcripts.write(KEY, answer(0))
    read = await store.transcripts.read(KEY)
    assert [entry.position for entry in read] == [0, 2, 3, 4]
    assert [entry.turn for entry in read] == [0, 0, 1, 1]
    assert [entry.position for entry in await store.transcripts.read(KEY, after=0, limit=2)] == [2, 3]


async def test_the_first_answer_stays_when_two_attempts_write_one(store: Store) -> None:
    written = await asyncio.gather(*(store.transcripts.write(KEY, answer(0, number)) for number in range(8)))
    assert len({entry.content for entry in written}) == 1
    [kept] = await store.transcripts.read(KEY)
    assert kept.content == written[0].content


async def test_what_is_asked_may_be_rewritten(store: Store) -> None:
    for text in ("first", "second"):
        await store.transcripts.rewrite(KEY, Entry(before_turn(0), "user", {}, text))
    [kept] = await store.transcripts.read(KEY)
    assert kept.content == "second"


async def test_a_conversation_that_begins_anew_knows_nothing_of_the_one_before(store: Store) -> None:
    await store.transcripts.begin(KEY, opening(model="old"))
    await store.transcripts.write(KEY, answer(0))
    other = TranscriptKey("run-1", "research", 2)
    await store.transcripts.begin(other, opening(model="other"))
    await store.transcripts.begin(KEY, opening(model="new"))
    [kept] = await store.transcripts.read(KEY)
    assert kept.about == {"model": "new"}
    assert len(await store.transcripts.read(other)) == 1


@pytest.mark.parametrize(
    "content", [None, "", {"한글": ["\x00", "\ud800", "👍", 1.5, 10**30]}, [{"text": "x" * 3_000_000}]]
)
async def test_any_json_comes_back_as_it_was(store: Store, content: Any) -> None:
    await store.transcripts.write(KEY, answer(0, content, problem="\x00"))
    [kept] = await store.transcripts.read(KEY)
    assert kept.content == content
    assert kept.about == {"problem": "\x00"}


async def test_the_list_of_a_run_tells_each_conversation_and_its_answers(store: Store) -> None:
    deep = TranscriptKey("run-1", "a/" * 3000 + "research", 1)
    await store.transcripts.begin(KEY, opening(model="m"))
    await store.transcripts.write(KEY, answer(0, usage={"output_tokens": 3}))
    await store.transcripts.write(KEY, answer(1, usage={"output_tokens": 4}))
    await store.transcripts.begin(deep, opening(model="n"))
    await store.transcripts.begin(TranscriptKey("run-2", "research"), opening())
    first, second = await store.transcripts.of_run("run-1")
    assert (first.path, first.generation, first.about) == ("research", 1, {"model": "m"})
    assert [about["usage"]["output_tokens"] for about in first.answers] == [3, 4]
    assert second.path == deep.path
    assert second.answers == []
    assert await store.transcripts.of_run("run-3") == []


async def test_what_failed_attempts_cost_is_no_part_of_what_was_said(store: Store) -> None:
    await store.transcripts.begin(KEY, opening())
    for turn, attempt in ((0, 1), (0, 2), (1, 1), (0, 2)):
        await store.transcripts.add_lost(KEY, turn, attempt, {"turn": turn, "attempt": attempt})
    assert [about["attempt"] for about in await store.transcripts.lost(KEY, 0)] == [1, 2]
    assert await store.transcripts.lost(KEY, 1) == [{"turn": 1, "attempt": 1}]
    assert await store.transcripts.lost(KEY, 2) == []
    assert [entry.position for entry in await store.transcripts.read(KEY)] == [0]
    [listed] = await store.transcripts.of_run("run-1")
    assert listed.answers == []


async def test_only_chains_without_any_recent_entry_are_idle(store: Store) -> None:
    await store.transcripts.begin(KEY, opening())
    await store.transcripts.begin(TranscriptKey("run-2", "a"), opening())
    now = datetime.now(UTC)
    assert await store.transcripts.idle_since(now - timedelta(minutes=5)) == []
    assert await store.transcripts.idle_since(now + timedelta(minutes=5)) == ["run-1", "run-2"]
    assert await store.transcripts.delete(["run-1", "run-9"]) == 1
    assert await store.transcripts.read(KEY) == []
    assert await store.transcripts.idle_since(now + timedelta(minutes=5)) == ["run-2"]


@pytest.mark.parametrize("root", ["run-1", "a/b", "a/b~r2"])
@pytest.mark.parametrize("path", ["research", "each[3]/research", "x/turn[0]/call-1", "y#compensate/z"])
def test_a_key_is_read_back_as_the_engine_writes_it(root: str, path: str) -> None:
    assert TranscriptKey.read(f"{root}/{path}#12", root) == TranscriptKey(root, path, 12)


@pytest.mark.parametrize("text", ["", "run-1", "run-1/", "run-1/a", "run-1/#1", "run-1/a#", "run-1/a#x", "other/a#1"])
def test_any_other_text_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="no key of a transcript"):
        TranscriptKey.read(text, "run-1")


def test_two_conversations_never_share_an_id() -> None:
    keys = [TranscriptKey("a", "b/c"), TranscriptKey("a/b", "c"), TranscriptKey("a", "b/c", 2), TranscriptKey("a", "b")]
    assert len({key.id for key in keys}) == len(keys)
