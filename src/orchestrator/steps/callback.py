"""The addresses at which the outside world answers a run: signed, so that nobody else can make one up."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.security import tokens
from orchestrator.spec.call import CALLBACKS
from orchestrator.steps.context import STORE, StepContext
from orchestrator.store.database import Store

Json = Any

PURPOSE = "callback"
"""Name of the signing key."""
_ROOT = "callback."


async def callback_urls(late: list[dict[str, Json]], context: StepContext) -> dict[str, str]:
    """The address for every callback that late names ask for, by late name. Raises TerminalError ``store_missing``
    and StepError ``store_unavailable``."""
    names = [part["name"] for place in late for part in place["parts"] if isinstance(part, dict)]
    wanted = [name for name in names if name.startswith(_ROOT)]
    if not wanted:
        return {}
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        raise TerminalError(
            "store_missing", "this worker has no store, and a callback's address is signed with its key"
        )
    try:
        key = await store.keys.get(PURPOSE)
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    base = f"{context.settings.gateway_url}{CALLBACKS}"
    return {name: f"{base}/{tokens.sign(key, [context.run_id, name.removeprefix(_ROOT)])}" for name in wanted}
