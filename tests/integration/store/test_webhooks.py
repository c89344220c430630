"""What webhooks are answered, what was tried on them, and the files they brought, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.errors import NotFound
from orchestrator.store.database import Store
from orchestrator.store.samples import KEPT
from orchestrator.store.uploads import file_name

ANSWER: dict[str, Any] = {"status": 200, "headers": {}, "body": {"한글": ["\x00", "\ud800", 1.5, None]}}


async def test_the_first_answer_of_a_run_counts_whoever_comes_at_once(store: Store) -> None:
    responses = store.responses
    kept = await asyncio.gather(*(responses.put("run", f"step-{number}", {"body": number}) for number in range(8)))
    assert len({(response.path, response.answer["body"]) for response in kept if response.answer}) == 1
    assert (await responses.found(["run", "other"])).keys() == {"run"}
    assert await responses.found([]) == {}


async def test_an_answer_comes_back_as_it_was(store: Store) -> None:
    kept = await store.responses.put("run", None, ANSWER)
    assert kept.answer == ANSWER
    assert (await store.responses.found(["run"]))["run"].answer == ANSWER


async def test_a_caller_who_was_told_to_come_back_may_ask_again(store: Store) -> None:
    responses = store.responses
    await responses.put("run", None, None)
    assert (await responses.put("run", "late", ANSWER)).answer is None
    assert await responses.found(["run"]) == {}
    await responses.reopen("run")
    assert (await responses.put("run", "late", ANSWER)).path == "late"
    await responses.reopen("run")
    assert (await responses.found(["run"]))["run"].path == "late"


async def test_answers_go_with_the_window(store: Store) -> None:
    await store.responses.put("run", "a", ANSWER)
    assert await store.responses.purge(3600) == 0
    assert await store.responses.purge(-1) == 1
    assert await store.responses.found(["run"]) == {}


async def test_of_each_trigger_the_newest_samples_are_kept(store: Store) -> None:
    for number in range(KEPT + 3):
        await store.samples.add("flow", "a", "1", {"body": ["\x00", number]}, {"would_start": True})
    await store.samples.add("flow", "b", "1", {}, {})
    found = await store.samples.list("flow", "a", 100)
    assert [sample.delivery["body"][1] for sample in found] == list(range(KEPT + 2, 2, -1))
    assert len(await store.samples.list("flow", limit=100)) == KEPT + 1
    assert await store.samples.list("other") == []


async def test_a_file_is_kept_once_and_read_by_its_reference(store: Store) -> None:
    content = bytes(range(256)) * 5000
    first, second = await asyncio.gather(store.uploads.put(content, "a.bin"), store.uploads.put(content, "b.bin"))
    assert first.split("/")[0] == second.split("/")[0]
    assert await store.uploads.read(second) == ("b.bin", content)
    pieces = [piece async for piece in store.uploads.pieces(first, await store.uploads.size(first), 500_000)]
    assert [len(piece) for piece in pieces] == [500_000, 500_000, 280_000] and b"".join(pieces) == content
    assert await store.uploads.purge(3600) == 0
    assert await store.uploads.purge(-1) == 1
    with pytest.raises(NotFound, match="90 days"):
        await store.uploads.read(first)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\fakepath\\Prüfung (1).pdf", "Prüfung (1).pdf"),
        ("a\r\nb\x00.txt", "a__b_.txt"),
        ("..", "file"),
        ("", "file"),
        ("x" * 500 + ".pdf", "x" * 146 + ".pdf"),
    ],
)
def test_a_file_name_leads_nowhere(sent: str, kept: str) -> None:
    assert file_name(sent) == kept
