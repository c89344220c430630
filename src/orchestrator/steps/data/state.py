"""The ``state`` step: data kept between runs, in the store."""

from __future__ import annotations

import json
import math
from typing import Any

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.spec.acts.state import StateConfig
from orchestrator.steps.context import STORE, StepContext
from orchestrator.store.database import Store
from orchestrator.store.state import PROJECT, Kept, NotANumber, State

Json = Any

TYPE = "state"
CONFIG = StateConfig
LARGEST = 256_000
"""Bytes of a value, as JSON. What is larger belongs into a file or a database."""


async def run(config: StateConfig, context: StepContext) -> Json:
    """``{"value", "found"}``: the value as it is now, and whether there was one before. Attempts of one step change a
    value once, and answer alike.

    Raises TerminalError ``not_a_number``, ``value_too_large``, ``secret_in_value``, ``store_missing``; StepError
    ``store_unavailable``.
    """
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        raise TerminalError("store_missing", "this worker has no store, and what flows keep is kept there")
    try:
        kept = await _operate(config, context, store.state)
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    except NotANumber as error:
        raise TerminalError("not_a_number", str(error)) from error
    return {"value": kept.value, "found": kept.found}


async def _operate(config: StateConfig, context: StepContext, state: State) -> Kept:
    scope = PROJECT if config.scope == "project" else context.flow
    once = context.idempotency_key
    for key in (config.get, config.put, config.increment, config.delete):
        if key is not None and context.secrets.mask_text(key) != key:
            raise TerminalError("secret_in_value", "the key holds a secret, and the store keeps no secrets")
    if config.get is not None:
        return await state.get(scope, config.get)
    if config.delete is not None:
        return await state.delete(scope, config.delete, once=once)
    if config.increment is not None:
        by = config.value if "value" in config.model_fields_set else 1
        return await state.increment(scope, config.increment, _number(by), once=once, ttl=config.ttl)
    assert config.put is not None
    _check(config.value, config.put, context)
    return await state.put(scope, config.put, config.value, once=once, ttl=config.ttl)


def _number(by: Json) -> int | float:
    if isinstance(by, bool) or not isinstance(by, int | float) or abs(by) > 1e300 or not math.isfinite(by):
        raise TerminalError("not_a_number", "`increment` adds a number: the `value` is none")
    return by


def _check(value: Json, key: str, context: StepContext) -> None:
    if context.secrets.mask(value) != value:
        raise TerminalError(
            "secret_in_value",
            f"the value for '{key}' holds a secret, and the store keeps no secrets; read it where it is used instead",
        )
    size = len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > LARGEST:
        raise TerminalError(
            "value_too_large",
            f"the value for '{key}' has {size} bytes and may have {LARGEST}: keep it in a file and put its path here",
        )
