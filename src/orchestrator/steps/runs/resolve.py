"""The engine's local activities around runs: one gives a bare start its envelope, so that any Temporal client in any
language can start a run; one does so for a sub-flow; one looks at a child run; one cancels the run it belongs to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator import admission
from orchestrator.errors import OrchestratorError, Unavailable
from orchestrator.settings import Settings
from orchestrator.spec.call import CANCEL_RUN, CHILD_STATUS, RESOLVE_CHILD, RESOLVE_FLOW
from orchestrator.spec.definition import Envelope, Json, definition_to_json, envelope_to_json
from orchestrator.spec.project import Project
from orchestrator.steps.runs.scheduled import admit_scheduled
from orchestrator.store.database import Store

_STATUS = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: "completed",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: "failed",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: "cancelled",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: "terminated",
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: "timed_out",
}
"""The ends of a run. Everything else is a run that goes on: paused, or about to continue as new."""


def resolve_activity(
    store: Store, project: Callable[[], Project], settings: Settings, *, search_attributes: bool
) -> Callable[..., Any]:
    """The activity, bound to what it reads. It takes the flow id, the body, the run id, and of a run that a schedule
    started which one and for when."""

    @activity.defn(name=RESOLVE_FLOW)
    async def resolve_flow(
        flow: str, body: Any, run_id: str, scheduled: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        known: dict[str, Any] = {"run_id": run_id, "search_attributes": search_attributes}
        if scheduled is None:
            envelope = await _admitted(admission.admit(store, project(), settings, flow, body, **known))
        else:
            envelope = await _admitted(admit_scheduled(store, project(), settings, flow, body, scheduled, **known))
        return [envelope_to_json(envelope, body), definition_to_json(envelope.definition)]

    return resolve_flow


def resolve_child_activity(
    store: Store, project: Callable[[], Project], settings: Settings, *, search_attributes: bool
) -> Callable[..., Any]:
    """As ``resolve_activity``, for a sub-flow: by id and version (None: the current one), with the inputs its parent
    rendered. ``parent`` is ``{"run", "flow", "step", "path", "root", "depth", …}``; what is not ``root`` and
    ``depth`` becomes the child's ``run.parent``."""

    @activity.defn(name=RESOLVE_CHILD)
    async def resolve_child(
        flow: str, version: str | None, inputs: Any, parent: dict[str, Any]
    ) -> list[dict[str, Any]]:
        above = {name: value for name, value in parent.items() if name not in ("root", "depth")}
        trigger = {"type": "flow", "id": parent["path"], "time": admission.now_text(), "body": inputs, "parent": above}
        envelope = await _admitted(
            admission.admit(
                store,
                project(),
                settings,
                flow,
                inputs,
                version=version,
                trigger=trigger,
                search_attributes=search_attributes,
            )
        )
        envelope = replace(envelope, parent=above, depth=parent["depth"] + 1)
        return [envelope_to_json(envelope, inputs), definition_to_json(envelope.definition)]

    return resolve_child


async def _admitted(admitting: Awaitable[Envelope]) -> Envelope:
    try:
        return await admitting
    except OrchestratorError as error:
        # Only an unreachable store is worth another try; the rest is as wrong in a minute as now.
        again = isinstance(error, Unavailable)
        raise ApplicationError(str(error), type=error.code, non_retryable=not again) from error


@activity.defn(name=CHILD_STATUS)
async def child_status(run_id: str) -> dict[str, Json]:
    """How a run stands: ``{"status", "output"?, "error"?}``; status ``running``, ``completed``, ``failed``,
    ``cancelled``, ``terminated``, ``timed_out``, or ``unknown`` where Temporal knows of no such run (any more)."""
    client = activity.client()
    status = await _status(client, run_id)
    if status == "unknown":
        message = f"Temporal knows no run '{run_id}': it was deleted, or is older than the namespace's retention"
        return {"status": status, "error": {"type": "not_found", "message": message}}
    if status in ("completed", "failed"):
        return await _end(client, run_id)
    if status in ("terminated", "timed_out"):
        words = {"terminated": "was terminated", "timed_out": "was ended by a timeout of Temporal's own"}
        return {"status": status, "error": {"type": status, "message": f"run '{run_id}' {words[status]}"}}
    return {"status": status}


async def _status(client: Client, run_id: str) -> str:
    # Asked for bare: the SDK's own describe() knows no paused runs and raises.
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=run_id)
    )
    try:
        described = await client.workflow_service.describe_workflow_execution(request)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return "unknown"
        raise
    return _STATUS.get(described.workflow_execution_info.status, "running")


async def _end(client: Client, run_id: str) -> dict[str, Json]:
    try:
        return {"status": "completed", "output": await client.get_workflow_handle(run_id).result()}
    except WorkflowFailureError as failure:
        cause = failure.cause
        error: Json = {"type": "error", "message": str(cause)}
        if isinstance(cause, ApplicationError):
            error = cause.details[0] if cause.details else {"type": cause.type or "error", "message": cause.message}
        return {"status": "failed", "error": error}


@activity.defn(name=CANCEL_RUN)
async def cancel_run() -> None:
    """Ask Temporal to cancel the run this belongs to. Asking twice changes nothing."""
    info = activity.info()
    handle = activity.client().get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
    await handle.cancel()
