"""The local activity by which a run asks for its permit, and opens the desk where it is closed."""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from orchestrator.spec.call import ACQUIRE, ACQUIRE_PERMIT, PERMITS

Json = Any


@activity.defn(name=ACQUIRE_PERMIT)
async def acquire_permit(desk: str, message: dict[str, Json]) -> None:
    """Tell the desk, by workflow id, that a run wants a permit. Telling it twice changes nothing."""
    client: Client = activity.client()
    await client.start_workflow(
        PERMITS,
        id=desk,
        task_queue=activity.info().task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=ACQUIRE,
        start_signal_args=[message],
        static_summary="permits",
    )
