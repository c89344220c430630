"""The engine's two local activities: one gives a bare start its envelope, so that any Temporal client in any language
can start a run; the other cancels the run it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator import admission
from orchestrator.errors import OrchestratorError, Unavailable
from orchestrator.settings import Settings
from orchestrator.spec.call import CANCEL_RUN, RESOLVE_FLOW
from orchestrator.spec.definition import definition_to_json, envelope_to_json
from orchestrator.spec.project import Project
from orchestrator.store.database import Store


def resolve_activity(
    store: Store, project: Callable[[], Project], settings: Settings, *, search_attributes: bool
) -> Callable[..., Any]:
    """The activity, bound to what it reads. It takes the flow id, the body and the run id."""

    @activity.defn(name=RESOLVE_FLOW)
    async def resolve_flow(flow: str, body: Any, run_id: str) -> list[dict[str, Any]]:
        try:
            envelope = await admission.admit(
                store, project(), settings, flow, body, run_id=run_id, search_attributes=search_attributes
            )
        except OrchestratorError as error:
            # Only an unreachable store is worth another try; the rest is as wrong in a minute as now.
            again = isinstance(error, Unavailable)
            raise ApplicationError(str(error), type=error.code, non_retryable=not again) from error
        return [envelope_to_json(envelope, body), definition_to_json(envelope.definition)]

    return resolve_flow


@activity.defn(name=CANCEL_RUN)
async def cancel_run() -> None:
    """Ask Temporal to cancel the run this belongs to. Asking twice changes nothing."""
    info = activity.info()
    handle = activity.client().get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
    await handle.cancel()
