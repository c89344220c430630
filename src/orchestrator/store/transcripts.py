"""Transcripts: the conversations of agents, kept entry by entry outside Temporal's history.

Position 0 is the opening (who the agent is, what it may use); turn n has the message before it at ``2n + 1`` and its
answer at ``2n + 2``. An answer is written once and never changes, so that nothing is asked and paid for again. Below
the opening stands what attempts without an answer have cost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, RowMapping, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

Role = Literal["opening", "user", "assistant", "lost"]
OPENING = 0
_ATTEMPTS = 100_000
"""Room for the attempts of one turn, below the opening."""


def before_turn(turn: int) -> int:
    """The position of the message that a turn answers."""
    return 2 * turn + 1


def answer_of(turn: int) -> int:
    """The position of a turn's answer."""
    return 2 * turn + 2


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """Which conversation: the first run of the chain, the agent's journal path, and how often it began anew."""

    root: str
    path: str
    generation: int = 1

    @classmethod
    def read(cls, text: str, root: str) -> TranscriptKey:
        """The key that the engine writes as ``<root>/<path>#<generation>``. Raises ValueError for any other text."""
        rest = text.removeprefix(f"{root}/")
        path, mark, generation = rest.rpartition("#")
        if rest == text or not mark or not path or not generation.isdecimal():
            raise ValueError(f"'{text}' is no key of a transcript of run '{root}'")
        return cls(root, path, int(generation))

    @property
    def id(self) -> str:
        """SHA-256 (hex): paths may be longer than an index takes."""
        return hashlib.sha256(json.dumps([self.root, self.path, self.generation]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``about`` is what lists show of it: small, beside a ``content`` of any size."""

    position: int
    role: Role
    about: dict[str, Json]
    content: Json
    at: datetime | None = None
    """When it was written; None while it is not."""

    @property
    def turn(self) -> int:
        """The turn it belongs to; the opening counts to the first."""
        return max(0, self.position - 1) // 2


@dataclass(frozen=True, slots=True)
class TranscriptInfo:
    """A conversation in a list."""

    path: str
    generation: int
    about: dict[str, Json]
    """Of the opening."""
    answers: list[dict[str, Json]]
    """``about`` of every answer, in order."""
    started_at: datetime
    updated_at: datetime


class Transcripts:
    """The conversations of all runs. Raises Unavailable, like everything in the store, when the database is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, key: TranscriptKey, opening: Entry) -> None:
        """Start a conversation: whatever stood under the key is gone."""
        async with self._database.writing() as connection:
            await connection.execute(delete(tables.transcripts).where(tables.transcripts.c.id == key.id))
            await _insert(connection, key, opening, replace=False)

    async def write(self, key: TranscriptKey, entry: Entry) -> Entry:
        """Add an entry; one that stands at its position already stays. What stands there now."""
        async with self._database.writing() as connection:
            if await _insert(connection, key, entry, replace=False):
                return entry
            found = await connection.execute(_select(key).where(tables.transcripts.c.position == entry.position))
            return _entry(found.mappings().one())

    async def rewrite(self, key: TranscriptKey, entry: Entry) -> None:
        """Add an entry, in the place of one that stands at its position."""
        async with self._database.writing() as connection:
            await _insert(connection, key, entry, replace=True)

    async def read(self, key: TranscriptKey, *, after: int = -1, limit: int | None = None) -> list[Entry]:
        """The entries in order, from the first behind position ``after`` on; none where there is no such
        conversation."""
        query = _select(key).where(tables.transcripts.c.position > after).limit(limit)
        async with self._database.reading() as connection:
            found = await connection.execute(query)
            return [_entry(row) for row in found.mappings()]

    async def add_lost(self, key: TranscriptKey, turn: int, attempt: int, about: dict[str, Json]) -> None:
        """Remember what is to be known of an attempt of a turn that gave no answer. It is no part of what was said."""
        await self.rewrite(key, Entry(-1 - turn * _ATTEMPTS - attempt, "lost", about, None))

    async def lost(self, key: TranscriptKey, turn: int) -> list[dict[str, Json]]:
        """What ``add_lost`` remembered of a turn."""
        table = tables.transcripts
        first = -1 - turn * _ATTEMPTS
        mine = (table.c.id == key.id, table.c.position <= first, table.c.position > first - _ATTEMPTS)
        async with self._database.reading() as connection:
            found = await connection.execute(select(table.c.about).where(*mine).order_by(table.c.position.desc()))
            return [json.loads(about) for about in found.scalars()]

    async def of_run(self, root: str) -> list[TranscriptInfo]:
        """The conversations of a run and the runs that go on from it, in the order they began."""
        table = tables.transcripts
        columns = (table.c.path, table.c.generation, table.c.position, table.c.role, table.c.about, table.c.created_at)
        query = (
            select(*columns).where(table.c.root == root).order_by(table.c.path, table.c.generation, table.c.position)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        grouped: dict[tuple[str, int], list[RowMapping]] = {}
        for row in rows:
            grouped.setdefault((row["path"], row["generation"]), []).append(row)
        found = [_info(path, generation, members) for (path, generation), members in grouped.items()]
        return sorted(found, key=lambda info: info.started_at)

    async def idle_since(self, before: datetime, *, limit: int = 1000, skip: int = 0) -> list[str]:
        """The first runs of chains in whose conversations nothing was written since ``before``, the oldest first;
        ``skip`` leaves out as many of them."""
        table = tables.transcripts
        newest = func.max(table.c.created_at)
        chains = select(table.c.root).group_by(table.c.root).having(newest < before)
        query = chains.order_by(newest, table.c.root).limit(limit).offset(skip)
        async with self._database.reading() as connection:
            return list((await connection.execute(query)).scalars())

    async def delete(self, roots: Iterable[str]) -> int:
        """Delete all conversations of these chains; how many entries there were."""
        wanted: ColumnElement[bool] = tables.transcripts.c.root.in_(list(roots))
        async with self._database.writing() as connection:
            return (await connection.execute(delete(tables.transcripts).where(wanted))).rowcount


def _select(key: TranscriptKey) -> Any:
    table = tables.transcripts
    columns = (table.c.position, table.c.role, table.c.about, table.c.content, table.c.created_at)
    return select(*columns).where(table.c.id == key.id).order_by(table.c.position)


async def _insert(connection: AsyncConnection, key: TranscriptKey, entry: Entry, *, replace: bool) -> bool:
    """Whether it was written."""
    table = tables.transcripts
    members = {
        "role": entry.role,
        # As ASCII: neither database can hold every character of JSON bare.
        "about": json.dumps(entry.about),
        "content": json.dumps(entry.content, separators=(",", ":")),
        "created_at": datetime.now(UTC),
    }
    where = {"root": key.root, "path": key.path, "generation": key.generation}
    statement = insert_into(connection, table).values(id=key.id, position=entry.position, **where, **members)
    index = ["id", "position"]
    if replace:
        done = await connection.execute(statement.on_conflict_do_update(index_elements=index, set_=members))
    else:
        done = await connection.execute(statement.on_conflict_do_nothing(index_elements=index))
    return done.rowcount > 0


def _entry(row: RowMapping) -> Entry:
    about, content = json.loads(row["about"]), json.loads(row["content"])
    return Entry(row["position"], row["role"], about, content, row["created_at"])


def _info(path: str, generation: int, rows: list[RowMapping]) -> TranscriptInfo:
    opening = [json.loads(row["about"]) for row in rows if row["role"] == "opening"]
    answers = [json.loads(row["about"]) for row in rows if row["role"] == "assistant"]
    moments = [row["created_at"] for row in rows]
    return TranscriptInfo(path, generation, opening[0] if opening else {}, answers, min(moments), max(moments))
