"""Answers from outside to addresses that runs have handed out."""

from __future__ import annotations

from datetime import timedelta

import temporalio.client
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError

from orchestrator.client.again import latest_of
from orchestrator.client.connection import temporal_errors
from orchestrator.client.run import OVER, Run
from orchestrator.errors import Conflict, NotFound, Unavailable
from orchestrator.security import tokens
from orchestrator.spec.call import CALLBACK
from orchestrator.spec.definition import Json
from orchestrator.steps.callback import PURPOSE
from orchestrator.store.database import Store

_TIMEOUT = timedelta(seconds=10)


async def answer_callback(
    temporal: temporalio.client.Client, store: Store, token: str, answer: dict[str, Json]
) -> dict[str, Json]:
    """Give ``{"data": …}`` or ``{"error": {"type", "message"}}`` to the wait that the token names; ``{"run_id",
    "path"}``. The first answer counts, also before the wait is reached; a run that was retried since gets it in its
    newest run.

    Raises NotFound for a token that is none of ours or names no run, Conflict where the wait has its answer or the run
    is over, Unavailable.
    """
    parts = tokens.read(await store.keys.get(PURPOSE), token)
    if parts is None or len(parts) != 2:
        raise NotFound("this is no callback address of ours: it was cut off, changed, or signed by another store")
    run = Run(temporal, parts[0])
    info = await latest_of(temporal, await run.info())
    if info.status in OVER:
        raise Conflict(f"the run '{info.id}' is over ({info.status}): nobody waits for this callback any more")
    run = Run(temporal, info.id)
    try:
        with temporal_errors(temporal, run_id=info.id):
            await run.handle.execute_update(CALLBACK, {"path": parts[1]} | answer, rpc_timeout=_TIMEOUT)
    except WorkflowUpdateFailedError as error:
        raise Conflict(f"this callback was not taken: {error.cause}") from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise Unavailable(
            f"no worker answers for run '{info.id}': start one with `orchestrator worker`; the callback may still be "
            "taken when one comes"
        ) from error
    except NotFound as error:
        raise Conflict(f"the run '{info.id}' is over: nobody waits for this callback any more") from error
    return {"run_id": info.id, "path": parts[1]}
