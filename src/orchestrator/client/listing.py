"""Runs as Temporal lists them, newest first."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime

import temporalio.client
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest

from orchestrator.client.connection import temporal_errors
from orchestrator.client.run import RunInfo, info_of
from orchestrator.errors import Refused
from orchestrator.spec.call import HELPERS
from orchestrator.telemetry import STATUS

_OURS = (
    "TaskQueue STARTS_WITH 'orchestrator-' AND ExecutionStatus != 'ContinuedAsNew' AND WorkflowType NOT IN "
    f"({', '.join(repr(name) for name in HELPERS)})"
)
_SUM = 8
"""Bytes by which the address of a page that was damaged on its way is noticed."""
QUERY_STATUSES = {
    "running": "Running",
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Canceled",
    "terminated": "Terminated",
    "timed_out": "TimedOut",
    "paused": "Paused",
}
"""What runs can be narrowed to: our word and Temporal's."""
WAITING = "waiting"
"""Runs that wait for a person, where the namespace has our search attributes."""


@dataclass(frozen=True, slots=True)
class Narrower:
    """Which runs a list leaves in, besides those of a flow and status."""

    begins: str = ""
    """What their ids begin with."""
    since: datetime | None = None
    before: datetime | None = None
    """When they started."""
    parts: bool = True
    """Also those that another run has started: sub-flows and slices of loops."""

    def conditions(self) -> list[str]:
        """Conditions of Temporal's query language."""
        found = [f"WorkflowId STARTS_WITH {_quoted(self.begins)}"] if self.begins else []
        found += [f"StartTime >= '{self.since.isoformat()}'"] if self.since is not None else []
        found += [f"StartTime < '{self.before.isoformat()}'"] if self.before is not None else []
        return found if self.parts else [*found, "ParentWorkflowId IS NULL"]


_ALL = Narrower()


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs, and what to give as ``after`` for those that follow; None at the end."""

    runs: list[RunInfo]
    next: str | None


async def page_of(
    temporal: temporalio.client.Client,
    flow: str | None,
    status: str | None,
    size: int,
    after: str | None = None,
    narrower: Narrower = _ALL,
) -> RunPage:
    """At most ``size`` runs, those after an earlier page. Raises Refused for an unknown status or an ``after`` that no
    page gave, and Unavailable."""
    query = " AND ".join([_OURS, *narrower.conditions()])
    if flow is not None:
        query += f" AND WorkflowType = {_quoted(flow)}"
    if status == WAITING:
        query += f" AND ExecutionStatus = 'Running' AND {STATUS.name} = '{WAITING}'"
    elif status is not None:
        if status not in QUERY_STATUSES:
            raise Refused(f"there is no run status '{status}'; write {', '.join(QUERY_STATUSES)}")
        query += f" AND ExecutionStatus = '{QUERY_STATUSES[status]}'"
    request = ListWorkflowExecutionsRequest(
        namespace=temporal.namespace, query=query, page_size=size, next_page_token=_token(after)
    )
    with temporal_errors(temporal):
        # The raw call: the SDK's own list breaks on one run of a status it does not know.
        page = await temporal.workflow_service.list_workflow_executions(request)
    return RunPage([await info_of(temporal, info) for info in page.executions], _address(page.next_page_token))


def _address(token: bytes) -> str | None:
    return base64.urlsafe_b64encode(_sum(token) + token).decode() if token else None


def _token(after: str | None) -> bytes:
    """What Temporal gave out. It answers anything else as if it were down, so that is found here."""
    if not after:
        return b""
    try:
        given = base64.b64decode(after.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        given = b""
    total, token = given[:_SUM], given[_SUM:]
    if not token or total != _sum(token):
        raise Refused("this page of the list is not one that was given out: begin at the first one")
    return token


def _sum(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()[:_SUM]


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
