"""A step's ``cache``: its output of an earlier run instead of the step, and its output kept for later ones.

The store helps, it never decides: one that is down or slow costs the step two seconds and a line in the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from temporalio import activity

from orchestrator.errors import Unavailable
from orchestrator.spec.call import StepCall
from orchestrator.spec.inputs import check_json
from orchestrator.steps.context import STORE, Json, StepContext
from orchestrator.store.cache import Cached, cache_id
from orchestrator.store.database import Store

T = TypeVar("T")

STORE_SECONDS = 2.0
"""How long a step waits for the store before it runs without its cache."""
LARGEST_CACHED = 1_000_000
"""Bytes of an output the store keeps."""
_ASKING: set[asyncio.Task[Any]] = set()
"""Questions still open; asyncio itself does not keep tasks alive."""


async def cached_output(call: StepCall, context: StepContext) -> Cached | None:
    """What an earlier run of the step gave under this call's key; None where the step has to run: nothing is kept,
    what is kept no longer matches ``output_schema``, or the store does not answer."""
    identity = _identity(call, context)
    if identity is None:
        return None
    found = await _asked(context, "read", lambda store: store.cache.get(identity))
    if found is None or (call.output_schema is not None and check_json(call.output_schema, found.output)):
        return None
    return found


async def keep_output(call: StepCall, context: StepContext, output: Json) -> None:
    """Keep a completed step's output, as it stands in the run's history, under this call's key. A step that has
    completed stays completed: nothing that goes wrong here is raised, a cancellation included."""
    identity = _identity(call, context)
    if identity is None or call.cache is None:
        return
    text = json.dumps(output, separators=(",", ":"))
    if len(text) > LARGEST_CACHED:
        context.logger.warning("%s is not cached: it has %d bytes of %d", _said(context), len(text), LARGEST_CACHED)
        return
    if context.secrets.found_in(output):
        context.logger.warning("%s is not cached: it holds the value of a secret", _said(context))
        return
    ttl = call.cache.get("ttl")

    async def keep(store: Store) -> None:
        await store.cache.put(identity, text, flow=context.flow, step=context.step_id, ttl=ttl)

    # A cancellation that comes now is too late: passed on, it would record an effect as one that never was.
    with suppress(asyncio.CancelledError):
        await _asked(context, "written", keep)


async def _asked(context: StepContext, what: str, ask: Callable[[Store], Coroutine[Any, Any, T]]) -> T | None:
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        return None
    asking = asyncio.create_task(ask(store))
    _ASKING.add(asking)
    asking.add_done_callback(_settled)
    # Not cancelled when time is up: a driver that waits for a lock does not hear it, and a late write is welcome.
    done, _ = await asyncio.wait([asking], timeout=STORE_SECONDS)
    try:
        if done:
            return asking.result()
        reason = f"the store did not answer within {STORE_SECONDS:g}s"
    except Unavailable as error:
        reason = str(error)
    context.logger.warning("the cache of %s could not be %s: %s", _said(context), what, reason)
    return None


def _settled(asking: asyncio.Task[Any]) -> None:
    _ASKING.discard(asking)
    if not asking.cancelled():
        # Looked at, so that asyncio does not report it: whoever still waits for the task raises it.
        asking.exception()


def _identity(call: StepCall, context: StepContext) -> str | None:
    """What shares the call's key. ``flow``: one step of one flow, whatever its version. ``project``: every step of the
    type, or every step that calls the function, in every flow. None without a key: what a template did not find must
    not become the key of everything."""
    cache = call.cache
    if cache is None or cache["key"] in (None, ""):
        return None
    if cache.get("scope") == "project":
        # A function by its name: `function` alone would be one type for all of them.
        return cache_id("project", activity.info().activity_type, cache["key"])
    return cache_id("flow", f"{context.flow}/{call.step}", cache["key"])


def _said(context: StepContext) -> str:
    return f"step {context.path} of run {context.run_id}"
