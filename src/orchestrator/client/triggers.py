"""The triggers that published flows declare, as doors look them up: asked for at most once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.spec.definition import Json
from orchestrator.store.database import Store

_SECONDS_BETWEEN_LOOKS = 1.0
"""What another process publishes counts after that long."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One enabled trigger of an enabled flow's current version."""

    flow: str
    version: str
    id: str
    """The author's, or ``<type>-<n>`` by its place in the flow."""
    trigger: Mapping[str, Json]


class Triggers:
    """Every trigger of one type. After this process has published, a look is due at once."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store = store
        self._kind = kind
        self._revision: int | None = None
        self._changes = -1
        self._looked = float("-inf")
        self._refreshing = asyncio.Lock()
        self._declared: tuple[Declared, ...] = ()

    async def all(self) -> tuple[Declared, ...]:
        """The triggers, by flow, in the order of the file. Raises Unavailable."""
        seen = self._store.flows.changes
        if self._is_due(seen):
            async with self._refreshing:
                if self._is_due(seen):
                    revision = await self._store.flows.revision()
                    if revision != self._revision:
                        self._declared = await self._load()
                        self._revision = revision
                    self._looked, self._changes = time.monotonic(), seen
        return self._declared

    def _is_due(self, changes: int) -> bool:
        return changes != self._changes or time.monotonic() - self._looked >= _SECONDS_BETWEEN_LOOKS

    async def _load(self) -> tuple[Declared, ...]:
        return tuple(
            Declared(one.flow, one.version, one.id, one.trigger)
            for one in await self._store.flows.triggers()
            if one.trigger.get("type") == self._kind
        )
