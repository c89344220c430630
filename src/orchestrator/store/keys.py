"""What addresses that are handed out are signed with: made once, the same for every process of the store."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from sqlalchemy import select

from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

_BYTES = 32
"""As long as what HMAC-SHA-256 gives (RFC 2104 §3)."""


class SigningKeys:
    """The keys, by what they are for. Asked once per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, bytes] = {}

    async def get(self, purpose: str) -> bytes:
        """The key for a purpose such as ``callback``; made by whoever asks first."""
        if purpose not in self._known:
            self._known[purpose] = await self._stored(purpose)
        return self._known[purpose]

    async def _stored(self, purpose: str) -> bytes:
        table = tables.signing_keys
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, table)
                .values(name=purpose, value=secrets.token_hex(_BYTES), created_at=datetime.now(UTC))
                .on_conflict_do_nothing()
            )
            found = await connection.execute(select(table.c.value).where(table.c.name == purpose))
            return bytes.fromhex(found.scalar_one())
