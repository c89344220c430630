"""Uploads: files that came with a delivery. Runs carry references to them; steps read them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, LargeBinary, delete, func, select

from orchestrator.errors import NotFound
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

SCHEME = "upload:"
"""What a reference begins with: ``upload:<sha-256>/<file name>``."""
KEPT = 90 * 86400.0
"""Seconds for which an upload is kept after it came last."""
REFERENCE = re.compile(r"upload:([0-9a-f]{64})(?:/([^/]*))?")
_UNSAFE = re.compile(r"[^\w.()+ -]")
_LONGEST_NAME = 150


class Uploads:
    """Files by what is in them: the same file is kept once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, content: bytes, name: str) -> str:
        """Keep a file; its reference. ``name`` is only shown, and tells what kind of file it is."""
        table = tables.uploads
        digest = hashlib.sha256(content).hexdigest()
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, table)
                .values(id=digest, size=len(content), used_at=now, content=content)
                .on_conflict_do_update(index_elements=["id"], set_={"used_at": now})
            )
        return reference(digest, name)

    async def read(self, given: str) -> tuple[str, bytes]:
        """Name and content of the file that a reference names. Raises NotFound."""
        match = _named(given)
        content: bytes = await self._column(match[1], tables.uploads.c.content)
        return match[2] or match[1], content

    async def size(self, given: str) -> int:
        """How many bytes the file has that a reference names. Raises NotFound."""
        size: int = await self._column(_named(given)[1], tables.uploads.c.size)
        return size

    async def pieces(self, given: str, size: int, most: int) -> AsyncIterator[bytes]:
        """The content in pieces of at most so many bytes, for files that are passed on. Raises NotFound, also midway
        where the file is deleted meanwhile."""
        digest = _named(given)[1]
        for at in range(0, size, most):
            yield await self._column(digest, func.substr(tables.uploads.c.content, at + 1, most, type_=LargeBinary))

    async def _column(self, digest: str, column: ColumnElement[Any]) -> Any:
        async with self._database.reading() as connection:
            found = await connection.execute(select(column).where(tables.uploads.c.id == digest))
            value = found.scalar_one_or_none()
        if value is None:
            raise NotFound(
                f"the upload {digest[:12]}… is not in the store any more: uploads are kept {KEPT / 86400:g} days"
            )
        return value

    async def purge(self, older_than: float = KEPT) -> int:
        """Delete what came last longer ago than so many seconds; how many there were."""
        table = tables.uploads
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        async with self._database.writing() as connection:
            deleted = await connection.execute(delete(table).where(table.c.used_at < before))
        return deleted.rowcount


def _named(given: str) -> re.Match[str]:
    match = REFERENCE.fullmatch(given)
    if match is None:
        raise NotFound(f"'{given[:100]}' is no reference to an upload; it looks like upload:<sha-256>/<name>")
    return match


def reference(digest: str, name: str) -> str:
    """What names an upload: the SHA-256 of its content, and its name."""
    return f"{SCHEME}{digest}/{file_name(name)}"


def file_name(name: str) -> str:
    """A sender's file name without folders and without what could mean something somewhere."""
    last = re.split(r"[/\\]", name)[-1]
    plain = _UNSAFE.sub("_", last).strip(". ")
    return plain[-_LONGEST_NAME:] or "file"
