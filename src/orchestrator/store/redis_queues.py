"""Queues in Redis: a stream and a consumer group for each. Other programs may put messages in with XADD."""

from __future__ import annotations

import importlib
import importlib.util
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.errors import Refused, SettingsInvalid, Unavailable
from orchestrator.spec.definition import Json
from orchestrator.store.queues import Counts, Message, Sent, Status, message_id

GROUP = "orchestrator"
"""The consumer group that all gateways share."""
_SECONDS_KNOWN = 7 * 86400
"""How long a repeated sending is known."""
_TIMEOUT = 5.0
"""Seconds to connect, and for each answer."""

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
_SEND = (
    _NOW
    + """
if not redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[4]) then return 0 end
local told = cjson.decode(ARGV[1]); told['sent'] = string.format('%.0f', now)
if tonumber(ARGV[3]) > 0 then
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), cjson.encode(told))
else
  redis.call('XADD', KEYS[1], '*', 'id', told['id'], 'body', told['body'], 'sent', told['sent'])
end
return 1
"""
)
"""Keys: stream, delayed, known. Arguments: message, -, milliseconds of delay, seconds the sending is known."""
_PROMOTE = (
    _NOW
    + """
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, text in ipairs(due) do
  local told, fields = cjson.decode(text), {}
  for name, value in pairs(told) do table.insert(fields, name); table.insert(fields, value) end
  redis.call('XADD', KEYS[1], '*', unpack(fields))
  redis.call('ZREM', KEYS[2], text)
end
return #due
"""
)
"""Keys: stream, delayed. What was delayed and is due now goes into the stream."""
_AGAIN = (
    _NOW
    + """
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
if tonumber(ARGV[4]) < 0 then
  local fields = {}
  for name, value in pairs(cjson.decode(ARGV[3])) do table.insert(fields, name); table.insert(fields, value) end
  redis.call('XADD', KEYS[3], '*', unpack(fields))
else
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[3])
end
return 1
"""
)
"""Keys: stream, delayed, dead. Arguments: group, entry, message, milliseconds of pause or less than 0 for ever."""
_REDRIVE = """
local fields = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])
if #fields == 0 then return 0 end
redis.call('XDEL', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[1], '*', unpack(cjson.decode(ARGV[2])))
return 1
"""
"""Keys: stream, dead. Arguments: entry, its fields without what went wrong."""


class RedisQueues:
    """All queues of one Redis server. They keep no order by key, and forget a message when it is done."""

    def __init__(self, url: str) -> None:
        if importlib.util.find_spec("redis") is None:
            raise SettingsInvalid("a queue in Redis needs its client: pip install 'orchestrator[redis]'")
        asynchronous: Any = importlib.import_module("redis.asyncio")
        self._errors: Any = importlib.import_module("redis.exceptions")
        try:
            self._redis: Any = asynchronous.Redis.from_url(
                url,
                decode_responses=True,
                encoding_errors="replace",
                socket_timeout=_TIMEOUT,
                socket_connect_timeout=_TIMEOUT,
            )
        except ValueError as error:
            raise SettingsInvalid("the `url` of a queue is redis://host:port/0, rediss://… or unix://…") from error
        self._consumer = uuid.uuid4().hex
        self._grouped: set[str] = set()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def send(self, queue: str, body: Json, *, once: str, key: str | None = None, delay: float = 0.0) -> Sent:
        """As ``Queues.send``, without keys. Raises Refused and Unavailable."""
        if key is not None:
            raise Refused(f"queue '{queue}' is in Redis, which keeps no order by `key`: leave it out, or its `url`")
        sent = message_id(queue, once)
        told = json.dumps({"id": sent, "body": json.dumps(body)})
        names = [*_names(queue)[:2], f"{_names(queue)[0]}:sent:{sent}"]
        async with self._worded(queue):
            new = await self._redis.eval(_SEND, 3, *names, told, "", int(delay * 1000), _SECONDS_KNOWN)
        return Sent(sent, new=bool(new))

    async def take(self, queue: str, most: int, lease: float) -> list[Message]:
        """As ``Queues.take``. Raises Unavailable."""
        stream, delayed, _ = _names(queue)
        async with self._worded(queue):
            await self._group(stream)
            await self._redis.eval(_PROMOTE, 2, stream, delayed, most)
            idle = max(1, int(lease * 1000))
            claimed = await self._redis.xautoclaim(stream, GROUP, self._consumer, idle, "0-0", count=most)
            messages = [_message(queue, entry, fields, deliveries=2) for entry, fields in claimed[1] if fields]
            if len(messages) < most:
                room = most - len(messages)
                read = await self._redis.xreadgroup(GROUP, self._consumer, {stream: ">"}, count=room)
                entries = _entries(read)
                messages += [_message(queue, entry, fields, deliveries=1) for entry, fields in entries]
        return messages

    async def done(self, message: Message, outcome: Mapping[str, Json]) -> None:
        """As ``Queues.done``; nothing is kept of it. Raises Unavailable."""
        stream = _names(message.queue)[0]
        async with self._worded(message.queue), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xack(stream, GROUP, message.place)
            pipeline.xdel(stream, message.place)
            await pipeline.execute()

    async def release(self, message: Message, after: float) -> None:
        """As ``Queues.release``. Raises Unavailable."""
        await self._again(message, message.refusals, message.problem, after)

    async def refuse(self, message: Message, problem: str, after: float | None) -> None:
        """As ``Queues.refuse``. Raises Unavailable."""
        await self._again(message, message.refusals + 1, problem, after)

    async def _again(self, message: Message, refusals: int, problem: str | None, after: float | None) -> None:
        fields = _fields(message) | {"refusals": str(refusals), "problem": problem or ""}
        pause = -1 if after is None else int(after * 1000)
        async with self._worded(message.queue):
            names = _names(message.queue)
            await self._redis.eval(_AGAIN, 3, *names, GROUP, message.place, json.dumps(fields), pause)

    async def count(self, queue: str) -> Counts:
        """As ``Queues.count``. Raises Unavailable."""
        stream, delayed, dead = _names(queue)
        async with self._worded(queue):
            waiting = await self._redis.xlen(stream)
            first = await self._redis.xrange(stream, count=1)
            counts = (waiting + await self._redis.zcard(delayed), await self._redis.xlen(dead))
        oldest = _message(queue, *first[0]).due_at if first else None
        return Counts(queue, *counts, oldest)

    async def list(self, queue: str, status: Status = "waiting", most: int = 100) -> list[Message]:
        """As ``Queues.list``; of what is done nothing is known. Raises Unavailable."""
        stream, delayed, dead = _names(queue)
        async with self._worded(queue):
            if status == "done":
                return []
            entries = await self._redis.xrange(dead if status == "dead" else stream, count=most)
            found = [_message(queue, entry, fields, status=status) for entry, fields in entries]
            if status == "waiting" and len(found) < most:
                later = await self._redis.zrange(delayed, 0, most - len(found) - 1, withscores=True)
                found += [_message(queue, f"{score:.0f}-0", json.loads(text)) for text, score in later]
        return found

    async def redrive(self, queue: str, id: str | None = None) -> int:  # noqa: A002 - as in Queues
        """As ``Queues.redrive``. Raises Unavailable."""
        stream, _, dead = _names(queue)
        count = 0
        async with self._worded(queue):
            for entry, fields in await self._redis.xrange(dead):
                message = _message(queue, entry, fields)
                if id is None or message.id == id:
                    flat = json.dumps([part for pair in _fields(message).items() for part in pair])
                    count += await self._redis.eval(_REDRIVE, 2, stream, dead, entry, flat)
        return count

    async def discard(self, queue: str, status: Status) -> int:
        """As ``Queues.discard``. Raises Unavailable."""
        stream, delayed, dead = _names(queue)
        async with self._worded(queue), self._redis.pipeline(transaction=True) as pipeline:
            if status == "dead":
                pipeline.xtrim(dead, maxlen=0, approximate=False)
            else:
                pipeline.xtrim(stream, maxlen=0, approximate=False)
                pipeline.zcard(delayed)
                pipeline.delete(delayed)
            gone = await pipeline.execute()
        return int(gone[0]) + (int(gone[1]) if len(gone) > 1 else 0)

    async def _group(self, stream: str) -> None:
        if stream in self._grouped:
            return
        try:
            await self._redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
        except self._errors.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._grouped.add(stream)

    @asynccontextmanager
    async def _worded(self, queue: str) -> AsyncIterator[None]:
        try:
            yield
        except (self._errors.RedisError, OSError) as error:
            # A server that was emptied has no groups any more.
            self._grouped.clear()
            raise Unavailable(
                f"queue '{queue}' cannot be used: {error or type(error).__name__}; check its `url` in "
                "orchestrator.yaml and that Redis is running"
            ) from error


def _names(queue: str) -> tuple[str, str, str]:
    """Stream, what is delayed, dead letters: in one slot of a cluster."""
    stream = f"orchestrator:{{{queue}}}"
    return stream, f"{stream}:delayed", f"{stream}:dead"


def _entries(read: Any) -> list[tuple[str, dict[str, str]]]:
    """Entries of one stream: RESP2 answers with lists, RESP3 with a mapping of streams."""
    streams = list(read.values()) if isinstance(read, dict) else [entries for _, entries in read or ()]
    found: list[tuple[str, dict[str, str]]] = []
    for entries in streams:
        nested = entries[0] if entries and isinstance(entries[0], list) else entries
        found += [(entry, fields) for entry, fields in nested]
    return found


def _fields(message: Message) -> dict[str, str]:
    sent = f"{message.sent_at.timestamp() * 1000:.0f}"
    return {"id": message.id, "body": json.dumps(message.body), "sent": sent}


def _message(
    queue: str, place: str, fields: Mapping[str, str], *, status: Status = "waiting", deliveries: int = 0
) -> Message:
    """A message from its entry. One that another program put in may be its ``body`` alone, and need not be JSON."""
    text = fields.get("body", "null")
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    milliseconds = place.partition("-")[0]
    due = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds))
    sent = fields.get("sent", "")
    return Message(
        id=fields.get("id") or place,
        queue=queue,
        body=body,
        key=None,
        status=status,
        sent_at=datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(sent)) if sent.isdigit() else due,
        due_at=due,
        deliveries=deliveries,
        refusals=int(fields["refusals"]) if fields.get("refusals", "").isdigit() else 0,
        problem=fields.get("problem") or None,
        place=place,
    )
