"""Answers that callers wait for while their run goes on: one look at the store serves all who wait here."""

from __future__ import annotations

import asyncio
import logging

from orchestrator.errors import Unavailable
from orchestrator.spec.definition import Json
from orchestrator.store.database import Store

_LOGGER = logging.getLogger("orchestrator.gateway")
_SECONDS_BETWEEN_LOOKS = 0.02
_SECONDS_AFTER_ERROR = 1.0


class Answers:
    """Waits for ``respond`` steps, which may run in any process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[asyncio.Future[dict[str, Json]]]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def of(self, run_id: str) -> dict[str, Json]:
        """The answer of a run, once it is there: ``{"status", "headers", "body"}``. Several may wait for one run."""
        future: asyncio.Future[dict[str, Json]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, []).append(future)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="answers to webhooks")
        try:
            return await future
        finally:
            others = [other for other in self._waiting.pop(run_id, []) if other is not future]
            if others:
                self._waiting[run_id] = others

    async def _look(self) -> None:
        while self._waiting:
            pause = _SECONDS_BETWEEN_LOOKS
            try:
                found = await self._store.responses.found(list(self._waiting))
            except Unavailable as error:
                _LOGGER.warning("answers to waiting webhooks cannot be seen: %s", error)
                found, pause = {}, _SECONDS_AFTER_ERROR
            for run_id, response in found.items():
                for future in self._waiting.get(run_id, []):
                    if not future.done():
                        future.set_result(response.answer or {})
            await asyncio.sleep(pause)
