"""Doors ask for a permit before they start a run that would not wait for one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import temporalio.client
from temporalio.client import WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from orchestrator.client.connection import temporal_errors
from orchestrator.errors import ConcurrencyLimit, Refused, Unavailable
from orchestrator.expressions import ExpressionError, Meter, Names, compile_value
from orchestrator.spec.call import ASK_PERMIT, PERMITS
from orchestrator.spec.concurrency import desk_id
from orchestrator.spec.definition import Envelope, Json

_PATIENCE = timedelta(seconds=10)


async def holder_to_join(temporal: temporalio.client.Client, queue: str, envelope: Envelope, run_id: str) -> str | None:
    """None where the run may start, now or after a wait of its own; else the run that it joins. Raises ConcurrencyLimit
    where the flow refuses, Unavailable when no worker answers."""
    concurrency = envelope.definition.concurrency
    if concurrency is None or concurrency["when_full"] not in ("reject", "join"):
        return None
    desk = desk_id(queue, envelope.definition.flow, _key(envelope))
    opening: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
        PERMITS,
        id=desk,
        task_queue=queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        static_summary="permits",
    )
    message = {"run": run_id, "limit": concurrency["limit"]}
    try:
        with temporal_errors(temporal, run_id=desk):
            answer: dict[str, Json] = await temporal.execute_update_with_start_workflow(
                ASK_PERMIT, message, start_workflow_operation=opening, rpc_timeout=_PATIENCE
            )
    except temporalio.client.WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise Unavailable(
            f"no worker answers whether flow '{envelope.definition.flow}' may start another run: start one with "
            "`orchestrator worker` or `up`"
        ) from error
    if answer["granted"]:
        return None
    if concurrency["when_full"] == "join":
        return str(answer["holder"])
    raise ConcurrencyLimit(
        f"{concurrency['limit']} runs of flow '{envelope.definition.flow}' go on already, '{answer['holder']}' among "
        "them, and the flow does not queue: try again when one has ended"
    )


def _key(envelope: Envelope) -> Json:
    key = (envelope.definition.concurrency or {}).get("key")
    definition = envelope.definition
    names = Names(inputs=frozenset(definition.inputs.get("properties", {})), env=frozenset(definition.env))
    scope = {"trigger": envelope.trigger, "inputs": envelope.inputs, "env": envelope.env}
    meter = Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
    try:
        return compile_value(key, names).render(scope, meter).value
    except ExpressionError as error:
        raise Refused(f"`concurrency.key` of flow '{definition.flow}': {error}") from error
