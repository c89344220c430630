"""Which stored values may be deleted: those that no run Temporal still knows can ask for."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import temporalio.client
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
)
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.errors import Refused
from orchestrator.payloads.folder import FolderDriver

_REFERENCE = re.compile(rb'"sha256":\s*"([0-9a-f]{64})"')
_MARGIN = 86_400.0
"""Seconds between storing a start's arguments and the start itself, at the very most."""
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did, or would do. ``kept`` old values belong to runs that Temporal still knows."""

    removed: int
    bytes: int
    kept: int


async def purge(
    temporal: temporalio.client.Client, folder: FolderDriver, older_than: float, *, pretend: bool = False
) -> Purged:
    """Delete values last stored more than ``older_than`` seconds ago, except those an older run still refers to.

    What is stored again counts as new, so a younger run cannot refer to an old value. The folder belongs to this
    namespace alone. Raises Refused for an age below the namespace's retention, RPCError.
    """
    retention = await retention_of(temporal)
    if older_than < retention:
        raise Refused(
            f"Temporal keeps finished runs of namespace '{temporal.namespace}' for {_days(retention)}, and they can "
            f"still be looked at and retried: values must be older than that, not {_days(older_than)}"
        )
    before = time.time() - older_than
    needed = await _referred(temporal, before + _MARGIN)
    return await asyncio.to_thread(_remove, folder, before, needed, pretend)


async def retention_of(temporal: temporalio.client.Client) -> float:
    """Seconds Temporal keeps a finished run of the client's namespace."""
    answer = await temporal.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=temporal.namespace))
    return float(answer.config.workflow_execution_retention_ttl.ToTimedelta().total_seconds())


def folder_of(temporal: temporalio.client.Client) -> FolderDriver:
    """The folder in which the client stores values, or did before the setting changed. Raises Refused where there is
    none."""
    storage = temporal.data_converter.external_storage
    for number, driver in enumerate(storage.drivers if storage else ()):
        if isinstance(driver, FolderDriver) and (number == 0 or driver.root.exists()):
            return driver
    raise Refused("only values in files are deleted here; in a bucket its lifecycle rules do that (docs/payloads.md)")


def _remove(folder: FolderDriver, before: float, needed: set[str], pretend: bool) -> Purged:
    removed = size = kept = 0
    if not pretend:
        folder.tidy(before)
    for digest in folder.older_than(before):
        if digest in needed:
            kept += 1
            continue
        gained = folder.size_of(digest) if pretend else folder.remove(digest, before)
        removed += gained > 0
        size += gained
    return Purged(removed, size, kept)


async def _referred(temporal: temporalio.client.Client, before: float) -> set[str]:
    """Digests in the histories of every run that started before ``before``."""
    found: set[str] = set()
    async for execution in _started(temporal, before):
        try:
            async for data in _written(temporal, execution):
                found.update(digest.decode() for digest in _REFERENCE.findall(data))
        except RPCError as error:
            # Its retention ended while we looked.
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
    return found


async def _started(temporal: temporalio.client.Client, before: float) -> AsyncIterator[WorkflowExecution]:
    moment = datetime.fromtimestamp(before, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    request = ListWorkflowExecutionsRequest(
        namespace=temporal.namespace, query=f"StartTime < '{moment}'", page_size=_PAGE
    )
    while True:
        page = await temporal.workflow_service.list_workflow_executions(request)
        for info in page.executions:
            yield info.execution
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token


async def _written(temporal: temporalio.client.Client, execution: WorkflowExecution) -> AsyncIterator[bytes]:
    """Everything Temporal holds of one run, as it is written: references stand in it as JSON."""
    described = await temporal.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(namespace=temporal.namespace, execution=execution)
    )
    yield described.SerializeToString()
    request = GetWorkflowExecutionHistoryRequest(namespace=temporal.namespace, execution=execution)
    while True:
        page = await temporal.workflow_service.get_workflow_execution_history(request)
        yield page.history.SerializeToString()
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:g} days"
