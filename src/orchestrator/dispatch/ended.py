"""Runs that Temporal ended, which never came to write themselves down: found and put into the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import WorkflowExecutionStartedEventAttributes
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
    ListWorkflowExecutionsRequest,
)

from orchestrator.client import Client
from orchestrator.client.connection import temporal_errors
from orchestrator.client.run import STATUSES
from orchestrator.errors import NotFound, OrchestratorError, Unavailable
from orchestrator.spec.call import HELPERS
from orchestrator.spec.definition import Definition, Json, definition_from_json
from orchestrator.steps.runs.ledger import judge
from orchestrator.store.ledger import Line

_LOGGER = logging.getLogger("orchestrator.dispatch")
LOOK = 15.0
"""Seconds between two looks."""
OVERLAP = timedelta(minutes=5)
"""How much of what was looked at is looked at again: Temporal lists a run some time after its end."""
FIRST = timedelta(days=1)
"""How far back the first look goes."""
PAGE = 200
_SEEN = 10_000
"""Executions that are remembered, so that a look does not ask about them again."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """How a run began."""

    execution: str
    """Its first execution, before it continued as new."""
    definition: Definition | None
    """None for a run started bare: nobody but the run knows which version it had."""
    trigger: str | None
    counts: bool
    """Whether it is no test and no part of another run."""


class EndedRuns:
    """Finds runs that were terminated, or ended by a timeout of Temporal's own, and writes those of monitored flows
    down, with their alerts. Several gateways may do so at once: a run has one line, and each of its alerts one id."""

    name = "ended runs"

    def __init__(self, client: Client) -> None:
        self._client = client
        self._store = client.store
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def turn(self) -> None:
        """One look and a pause. Raises Unavailable."""
        await self.look()
        await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Write down what ended since the last look. Raises Unavailable."""
        now = datetime.now(UTC)
        since = await self._store.ledger.looked_until()
        async for info in self._listed((now - FIRST if since is None else since) - OVERLAP):
            if info.execution.run_id not in self._seen:
                await self._see_to(info)
                self._remember(info.execution.run_id)
        await self._store.ledger.look(now)

    async def _see_to(self, info: WorkflowExecutionInfo) -> None:
        current = await self._current(info.type.name)
        if current is None or current.monitoring is None:
            return
        try:
            await self._write_down(info, current)
        except Unavailable:
            raise
        except OrchestratorError as error:
            # Such as a history that this gateway cannot decode: no reason to miss the others.
            _LOGGER.warning("run %s is missing from the ledger: %s", info.execution.workflow_id, error)

    def _remember(self, execution: str) -> None:
        self._seen[execution] = None
        if len(self._seen) > _SEEN:
            self._seen.popitem(last=False)

    async def _listed(self, since: datetime) -> AsyncIterator[WorkflowExecutionInfo]:
        temporal = self._client.temporal
        query = (
            f"TaskQueue = '{self._client.settings.task_queue}' AND ExecutionStatus IN ('Terminated', 'TimedOut') "
            f"AND CloseTime >= '{since.isoformat()}' AND WorkflowType NOT IN ({', '.join(map(repr, HELPERS))})"
        )
        token = b""
        while True:
            request = ListWorkflowExecutionsRequest(
                namespace=temporal.namespace, query=query, page_size=PAGE, next_page_token=token
            )
            with temporal_errors(temporal):
                page = await temporal.workflow_service.list_workflow_executions(request)
            for info in page.executions:
                yield info
            token = page.next_page_token
            if not token:
                return

    async def _write_down(self, info: WorkflowExecutionInfo, current: Definition) -> None:
        """Add the run's line and raise its alerts, where its version is monitored and nobody has done so."""
        begun = await self._begun(info)
        if begun is None or not begun.counts:
            return
        definition = begun.definition or current
        if definition.monitoring is None:
            return
        line = await self._line(info, begun, definition)
        if not await self._store.ledger.add(line):
            return
        _LOGGER.info("run %s of flow %s was %s; it is in the ledger now", line.run_id, line.flow, line.status)
        alerts = [{"alert": place, **told} for place, told in enumerate(definition.monitoring["alerts"])]
        if alerts:
            await judge(self._store, line, {"execution_time": line.execution_time}, alerts)
        else:
            await self._store.ledger.hold(line, [])

    async def _begun(self, info: WorkflowExecutionInfo) -> _Begun | None:
        """None where Temporal has forgotten it."""
        temporal = self._client.temporal
        request = GetWorkflowExecutionHistoryRequest(
            namespace=temporal.namespace, execution=info.execution, maximum_page_size=1
        )
        try:
            with temporal_errors(temporal, run_id=info.execution.workflow_id):
                answer = await temporal.workflow_service.get_workflow_execution_history(request)
        except NotFound:
            return None
        started = answer.history.events[0].workflow_execution_started_event_attributes
        return await self._read(started)

    async def _read(self, started: WorkflowExecutionStartedEventAttributes) -> _Begun:
        first = started.first_execution_run_id
        arguments: list[Json] = await self._client.temporal.data_converter.decode(started.input.payloads)
        try:
            envelope, definition = arguments[1], definition_from_json(arguments[2])
            trigger, counts = envelope.get("trigger", {}), not (envelope.get("test") or envelope.get("slice"))
            return _Begun(first, definition, trigger.get("type"), counts)
        except (IndexError, TypeError, ValueError, AttributeError):
            # Started bare, or with what no client of ours gives.
            return _Begun(first, None, None, counts=True)

    async def _current(self, flow: str) -> Definition | None:
        try:
            return (await self._store.flows.current(flow)).definition
        except NotFound:
            return None

    async def _line(self, info: WorkflowExecutionInfo, begun: _Begun, definition: Definition) -> Line:
        started, finished = await self._started_at(info, begun.execution), _moment(info.close_time)
        status = STATUSES[info.status]
        return Line(
            run_id=info.execution.workflow_id,
            flow=info.type.name,
            version=definition.version,
            status=status,
            started_at=started,
            finished_at=finished,
            execution_time=max(0.0, (finished - started).total_seconds()),
            execution=begun.execution,
            trigger=begun.trigger,
            error=status,
        )

    async def _started_at(self, info: WorkflowExecutionInfo, first: str) -> datetime:
        """When the run began, before it continued as new; as far as Temporal still knows."""
        if first != info.execution.run_id:
            temporal = self._client.temporal
            execution = WorkflowExecution(workflow_id=info.execution.workflow_id, run_id=first)
            request = DescribeWorkflowExecutionRequest(namespace=temporal.namespace, execution=execution)
            try:
                with temporal_errors(temporal, run_id=info.execution.workflow_id):
                    described = await temporal.workflow_service.describe_workflow_execution(request)
                info = described.workflow_execution_info
            except NotFound:
                pass
        return _moment(info.execution_time if info.HasField("execution_time") else info.start_time)


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime().replace(tzinfo=UTC)
