"""Queues of the store, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.errors import NotFound
from orchestrator.store.database import Store
from orchestrator.store.queues import Message

LEASE = 60.0


async def send(store: Store, body: Any, once: str | None = None, **more: Any) -> str:
    return (await store.queues.send("jobs", body, once=once or f"{body!r}", **more)).id


async def take(store: Store, most: int = 10, lease: float = LEASE) -> list[Message]:
    return await store.queues.take("jobs", most, lease)


async def bodies(store: Store, most: int = 10, lease: float = LEASE) -> list[Any]:
    return [message.body for message in await take(store, most, lease)]


@pytest.mark.parametrize("body", [None, 0, "", [], {"한글": ["\x00", "\ud800", "👍", 1.5, 10**30]}, "x" * 500_000])
async def test_a_message_comes_out_as_it_went_in(store: Store, body: Any) -> None:
    sent = await send(store, body, "one", key="k")
    [message] = await take(store)
    assert (message.id, message.body, message.key, message.deliveries) == (sent, body, "k", 1)


async def test_messages_come_in_order_and_only_once_while_they_are_leased(store: Store) -> None:
    for number in range(5):
        await send(store, number)
    assert await bodies(store, 2) == [0, 1]
    assert await bodies(store) == [2, 3, 4]
    assert await bodies(store) == []
    assert await store.queues.with_due(["jobs", "other"]) == []


async def test_the_same_sending_is_one_message_also_when_it_is_done(store: Store) -> None:
    sent = [await store.queues.send("jobs", 1, once="x") for _ in range(2)]
    assert [one.new for one in sent] == [True, False]
    [message] = await take(store)
    await store.queues.done(message, {"run_id": "r"})
    assert not (await store.queues.send("jobs", 1, once="x")).new
    assert await take(store) == []
    assert (await store.queues.send("other", 1, once="x")).new


async def test_what_is_not_acknowledged_within_its_lease_comes_again(store: Store) -> None:
    await send(store, "a")
    [first] = await take(store, lease=0.05)
    await asyncio.sleep(0.1)
    [again] = await take(store)
    assert (again.id, again.deliveries) == (first.id, 2)
    # Whoever held it first is late: what it has to say no longer counts, an acknowledgement does.
    await store.queues.refuse(first, "late", None)
    assert (await store.queues.get(first.id)).status == "waiting"
    await store.queues.done(first, {"run_id": "r"})
    assert (await store.queues.get(first.id)).outcome == {"run_id": "r"}


async def test_a_released_message_comes_again_after_its_pause(store: Store) -> None:
    await send(store, "a")
    [message] = await take(store)
    await store.queues.release(message, 0.2)
    assert await take(store) == []
    await asyncio.sleep(0.25)
    assert await bodies(store) == ["a"]


async def test_a_delayed_message_waits_and_lets_others_pass(store: Store) -> None:
    await send(store, "late", delay=0.3)
    await send(store, "ever", delay=1e15)
    await send(store, "now")
    assert await bodies(store) == ["now"]
    await asyncio.sleep(0.35)
    assert await store.queues.with_due(["jobs"]) == ["jobs"]
    assert await bodies(store) == ["late"]


async def test_messages_of_a_key_come_one_after_the_other(store: Store) -> None:
    for number in (1, 2):
        for key in ("a", "b"):
            await send(store, f"{key}{number}", key=key)
    await send(store, "free")
    first = await take(store)
    assert [one.body for one in first] == ["a1", "b1", "free"]
    await store.queues.done(first[0], {})
    await store.queues.refuse(first[1], "not now", 30)
    assert await bodies(store) == ["a2"]
    await store.queues.refuse(await store.queues.get(first[1].id), "never", None)
    assert await bodies(store) == ["b2"]


async def test_a_message_of_a_key_that_already_waits_is_not_added_again(store: Store) -> None:
    first = await store.queues.send("jobs", {"a": 1, "b": 2}, once="1", key="k")
    again = await store.queues.send("jobs", {"b": 2, "a": 1}, once="2", key="k")
    others = [
        await store.queues.send("jobs", {"a": 1, "b": 2}, once="3", key="other"),
        await store.queues.send("jobs", {"a": 2, "b": 2}, once="4", key="k"),
        await store.queues.send("other", {"a": 1, "b": 2}, once="5", key="k"),
    ]
    assert (again.id, again.new) == (first.id, False)
    assert all(one.new for one in others)
    await take(store)
    # Somebody has begun with the first: what is sent from now on may tell of something new.
    assert (await store.queues.send("jobs", {"a": 1, "b": 2}, once="6", key="k")).new


async def test_senders_of_one_key_at_once_put_in_one_message(store: Store) -> None:
    sent = await asyncio.gather(*(store.queues.send("jobs", 1, once=str(n), key="k") for n in range(8)))
    assert len({one.id for one in sent}) == 1
    assert sum(one.new for one in sent) == 1


async def test_many_takers_at_once_share_the_messages(store: Store) -> None:
    for number in range(40):
        await send(store, number, key=f"k{number % 25}")
    taken = await asyncio.gather(*(take(store, 5) for _ in range(8)))
    found = [message.body for messages in taken for message in messages]
    assert len(found) == len(set(found)) == 25
    assert sorted(found) == list(range(25))


async def test_dead_letters_are_kept_apart_counted_and_tried_again(store: Store) -> None:
    ids = [await send(store, body) for body in ("bad", "worse", "fine")]
    for message in await take(store):
        await store.queues.refuse(message, "no", None if message.body != "fine" else 0.0)
    [counts] = await store.queues.counts()
    assert (counts.queue, counts.waiting, counts.dead) == ("jobs", 1, 2)
    assert [one.problem for one in await store.queues.list("jobs", "dead")] == ["no", "no"]
    assert await store.queues.redrive("other") == 0
    assert await store.queues.redrive("jobs", ids[1]) == 1
    assert [(one.body, one.refusals) for one in await take(store)] == [("fine", 1), ("worse", 0)]
    assert await store.queues.discard("jobs", "dead") == 1
    with pytest.raises(NotFound, match="any more"):
        await store.queues.get(ids[0])


async def test_what_is_done_is_forgotten_after_the_window_and_nothing_else(store: Store) -> None:
    for body in ("done", "dead", "waiting"):
        await send(store, body)
    done, dead, _ = await take(store)
    await store.queues.done(done, {})
    await store.queues.refuse(dead, "no", None)
    assert await store.queues.purge(60) == 0
    await asyncio.sleep(0.02)
    assert await store.queues.purge(0) == 1
    assert [one.status for one in [await store.queues.get(dead.id)]] == ["dead"]
