"""The ``respond`` step: answers the webhook that started the run and waits, while the run goes on."""

from __future__ import annotations

import json

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.spec.acts.respond import RespondConfig
from orchestrator.steps.context import STORE, Json, StepContext
from orchestrator.store.database import Store

TYPE = "respond"
CONFIG = RespondConfig

LIMIT = 5_000_000
"""Bytes an answer may have."""


async def run(config: RespondConfig, context: StepContext) -> Json:
    """Put the answer where the waiting gateway sees it; the output is null. The first answer of a run counts: a second
    one, and one that comes when the caller has been told to come back later, is a warning of the run.

    Raises TerminalError ``store_missing`` and ``payload_too_large``, StepError ``store_unavailable``.
    """
    store: Store | None = context.resources.lent(STORE)
    if store is None:
        raise TerminalError("store_missing", "this worker has no store, and answers reach their callers through it")
    # Masked here: what goes to the store does not pass the boundary that masks outputs.
    answer = context.secrets.mask({"status": config.status, "headers": config.headers, "body": config.body})
    size = len(json.dumps(answer))
    if size > LIMIT:
        raise TerminalError("payload_too_large", f"the answer has {size} bytes and may have {LIMIT}")
    try:
        kept = await store.responses.put(context.run_id, context.path, answer)
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    if kept.answer is None:
        context.warnings.append("the answer came too late: its caller had been told to come back (202)")
    elif kept.path != context.path:
        by = f"'{kept.path}'" if kept.path else "the trigger itself"
        context.warnings.append(f"the caller had its answer from {by} already: this one is not sent")
    return None
