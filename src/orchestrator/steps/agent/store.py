"""The part of the store that agents need, its failures as step errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.steps.context import STORE, StepContext
from orchestrator.store.database import Store

T = TypeVar("T")

_TRIES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between tries to write an answer: it is paid for, and not worth losing to a hiccup of the store."""


def store_of(context: StepContext) -> Store:
    """The worker's store. Raises TerminalError ``store_missing``."""
    found: Store | None = context.resources.lent(STORE)
    if found is None:
        raise TerminalError("store_missing", "this worker has no store, so it cannot keep an agent's conversation")
    return found


def unavailable(error: Unavailable) -> StepError:
    """The step error for a store that does not answer."""
    return StepError("store_unavailable", str(error))


async def asked(question: Awaitable[T]) -> T:
    """What the store answers. Raises StepError ``store_unavailable``."""
    try:
        return await question
    except Unavailable as error:
        raise unavailable(error) from error


async def kept(write: Callable[[], Awaitable[T]]) -> T:
    """What the store answers to a write that should not be lost: tried several times, and not stopped by the end of
    the attempt, so that the next one finds it. Raises StepError ``store_unavailable``."""
    return await asyncio.shield(asyncio.ensure_future(_persistently(write)))


async def _persistently(write: Callable[[], Awaitable[T]]) -> T:
    for pause in _TRIES:
        try:
            return await write()
        except Unavailable:
            await asyncio.sleep(pause)
    return await asked(write())
