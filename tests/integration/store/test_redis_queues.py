"""Queues in Redis, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.redis_server import redis_server

from orchestrator.errors import Refused, SettingsInvalid, Unavailable
from orchestrator.store.queues import Message
from orchestrator.store.redis_queues import RedisQueues


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with redis_server() as port:
        yield port


@pytest.fixture
def queue() -> str:
    return uuid4().hex


@pytest.fixture
async def redis(port: int) -> AsyncIterator[RedisQueues]:
    opened = RedisQueues(f"redis://:s3cr3t@127.0.0.1:{port}/0")
    yield opened
    await opened.aclose()


async def bodies(redis: RedisQueues, queue: str, most: int = 10, lease: float = 60.0) -> list[Any]:
    return [message.body for message in await redis.take(queue, most, lease)]


@pytest.mark.parametrize("body", [None, 0, "", [], {"한글": ["\x00", "\ud800", "👍", 1.5, 10**30]}, "x" * 500_000])
async def test_a_message_comes_out_as_it_went_in(redis: RedisQueues, queue: str, body: Any) -> None:
    sent = await redis.send(queue, body, once="one")
    [message] = await redis.take(queue, 10, 60)
    assert (message.id, message.body, message.deliveries) == (sent.id, body, 1)


async def test_messages_come_in_order_once_and_are_gone_when_done(redis: RedisQueues, queue: str) -> None:
    for number in range(4):
        assert (await redis.send(queue, number, once=f"{number}")).new
    assert not (await redis.send(queue, 0, once="0")).new
    first = await redis.take(queue, 2, 60)
    assert [one.body for one in first] == [0, 1]
    assert await bodies(redis, queue) == [2, 3]
    assert await bodies(redis, queue) == []
    await redis.done(first[0], {})
    assert (await redis.count(queue)).waiting == 3


async def test_what_is_not_acknowledged_within_its_lease_comes_again_to_anybody(
    redis: RedisQueues, queue: str, port: int
) -> None:
    await redis.send(queue, "a", once="1")
    [first] = await redis.take(queue, 10, 60)
    other = RedisQueues(f"redis://:s3cr3t@127.0.0.1:{port}/0")
    assert await other.take(queue, 10, 60) == []
    await asyncio.sleep(0.1)
    [again] = await other.take(queue, 10, 0.05)
    assert (again.id, again.deliveries) == (first.id, 2)
    await other.done(again, {})
    await other.aclose()
    assert (await redis.count(queue)).waiting == 0


async def test_delayed_released_and_refused_messages_come_when_it_is_their_time(redis: RedisQueues, queue: str) -> None:
    sent = await redis.send(queue, "late", once="1", delay=0.2)
    await redis.send(queue, "ever", once="2", delay=1e9)
    assert await bodies(redis, queue) == []
    await asyncio.sleep(0.25)
    [message] = await redis.take(queue, 10, 60)
    assert (message.id, message.body) == (sent.id, "late")
    await redis.release(message, 0.05)
    await asyncio.sleep(0.1)
    [message] = await redis.take(queue, 10, 60)
    assert message.refusals == 0
    await redis.refuse(message, "no", 0.0)
    [message] = await redis.take(queue, 10, 60)
    assert (message.id, message.refusals, message.problem) == (sent.id, 1, "no")


async def test_dead_letters_are_kept_apart_and_tried_again(redis: RedisQueues, queue: str) -> None:
    ids = [(await redis.send(queue, body, once=body)).id for body in ("bad", "worse")]
    for message in await redis.take(queue, 10, 60):
        await redis.refuse(message, "no: it is", None)
    counts = await redis.count(queue)
    assert (counts.waiting, counts.dead) == (0, 2)
    assert [(one.id, one.problem, one.status) for one in await redis.list(queue, "dead")] == [
        (number, "no: it is", "dead") for number in ids
    ]
    assert await redis.redrive(queue, ids[1]) == 1
    [again] = await redis.take(queue, 10, 60)
    assert (again.id, again.body, again.refusals) == (ids[1], "worse", 0)
    assert await redis.discard(queue, "dead") == 1
    await redis.send(queue, "x", once="x", delay=60)
    assert len(await redis.list(queue)) == 2
    assert await redis.discard(queue, "waiting") == 2


async def test_other_programs_put_messages_in_with_xadd(redis: RedisQueues, queue: str) -> None:
    raw = redis._redis
    for body in ('{"n": 1}', "plain text", ""):
        await raw.xadd(f"orchestrator:{{{queue}}}", {"body": body})
    await raw.xadd(f"orchestrator:{{{queue}}}", {"something": "else"})
    found = await redis.take(queue, 10, 60)
    assert [one.body for one in found] == [{"n": 1}, "plain text", "", None]
    await redis.refuse(found[0], "no", 0.0)
    [again] = await redis.take(queue, 10, 60)
    assert (again.id, again.body) == (found[0].id, {"n": 1})


async def test_many_takers_share_the_messages(redis: RedisQueues, queue: str, port: int) -> None:
    for number in range(30):
        await redis.send(queue, number, once=f"{number}")
    takers = [RedisQueues(f"redis://:s3cr3t@127.0.0.1:{port}/0") for _ in range(4)]
    taken: list[list[Message]] = await asyncio.gather(*(taker.take(queue, 8, 60) for taker in takers))
    for taker in takers:
        await taker.aclose()
    assert sorted(message.body for messages in taken for message in messages) == list(range(30))


async def test_what_redis_cannot_do_is_said_and_no_password_with_it(redis: RedisQueues, queue: str, port: int) -> None:
    with pytest.raises(Refused, match="no order by `key`"):
        await redis.send(queue, 1, once="1", key="k")
    with pytest.raises(SettingsInvalid, match="redis://"):
        RedisQueues("http://s3cr3t@x")
    for url in (f"redis://:s3cr3t-wrong@127.0.0.1:{port}/0", "redis://:s3cr3t@127.0.0.1:1/0"):
        wrong = RedisQueues(url)
        with pytest.raises(Unavailable, match="check its `url`") as caught:
            await wrong.send(queue, 1, once="1")
        await wrong.aclose()
        assert "s3cr3t" not in str(caught.value)


async def test_a_server_that_lost_everything_is_set_up_again(redis: RedisQueues, queue: str) -> None:
    await redis.send(queue, 1, once="1")
    assert await bodies(redis, queue) == [1]
    await redis._redis.flushall()
    with pytest.raises(Unavailable):
        await redis.take(queue, 10, 60)
    await redis.send(queue, 2, once="2")
    assert await bodies(redis, queue) == [2]
