"""One run, seen from outside."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import temporalio.client
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import PendingActivityInfo, WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.admission import now_text
from orchestrator.client.connection import temporal_errors
from orchestrator.client.transcript import Transcript, TranscriptSummary, transcript_of, transcripts_of
from orchestrator.errors import Conflict, NotFound, OrchestratorError, Refused, TooLarge, Unavailable
from orchestrator.spec.definition import Json
from orchestrator.spec.patterns import signal_id
from orchestrator.store.database import Store
from orchestrator.telemetry import STATUS

MEMO = "orchestrator"
"""Key of the memo our starts carry: ``{flow, version, trigger}``, ``by`` where somebody asked for the run, and
``retry_of, root, attempt`` where it goes on from another. Readable without a worker and without search attributes."""

JOURNAL = "journal"
"""Query: what another run takes over."""
PAUSE = "orchestrator.pause"
RESUME = "orchestrator.resume"
EVENT = "orchestrator.event"
"""Signals with a meaning of their own: step ids have no dots."""

STATUSES = {
    1: "running",
    2: "completed",
    3: "failed",
    4: "cancelled",
    5: "terminated",
    6: "continued_as_new",
    7: "timed_out",
    8: "paused",
}
"""Temporal's numbers. The SDK's own enum lacks 8 and raises where it meets it."""

OVER = frozenset({"completed", "failed", "cancelled", "terminated", "timed_out"})
QUERY_TIMEOUT = timedelta(seconds=10)
_SIGNAL_TIMEOUT = timedelta(seconds=10)
"""Without it the SDK asks a server that does not answer again for a long time."""
_RETRY = re.compile(r"~r\d+$")
"""What the id of a run that goes on from another ends with."""
EVENT_MEMBERS = ("id", "type", "source", "subject", "time", "data")
"""What an event for a run may have."""
_NO_WORKER = {
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.FAILED_PRECONDITION,
    # The SDK's own deadline, where it fires before the server's.
    RPCStatusCode.CANCELLED,
}


class RunFailed(OrchestratorError):
    """The run ended as failed; ``error`` is the record of FLOW_FORMAT §6."""

    code = "run_failed"

    def __init__(self, run_id: str, error: dict[str, Json]) -> None:
        self.run_id = run_id
        self.error = error
        step = error.get("step")
        at = f" at step '{step.get('path') or step.get('id')}'" if isinstance(step, dict) else ""
        super().__init__(f"run '{run_id}' failed{at}: {error.get('type')}: {error.get('message')}")


class RunCancelled(OrchestratorError):
    """The run was cancelled before it had a result."""

    code = "run_cancelled"

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"run '{run_id}' was cancelled")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What Temporal knows of a run without asking a worker. ``version`` is None for a run started bare."""

    id: str
    flow: str
    version: str | None
    status: str
    started_at: datetime
    finished_at: datetime | None
    retry_of: str | None = None
    """The run that this one goes on from."""
    root: str | None = None
    """The first run of the chain; None where this is it."""
    attempt: int = 1
    """1, and one more for every retry, re-run or restart in the chain."""
    trigger: str | None = None
    """Type of the trigger that started it; None for a run started bare."""
    by: str | None = None
    """Who asked for it, as far as they said."""
    waiting: bool = False
    """Whether it waits for a person, as far as the namespace has our search attributes."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A step that is tried now, or again: which try it is, and why the last one failed."""

    number: int
    failure: str | None = None
    next_at: datetime | None = None
    """When it is tried again; None while it is being tried."""


class Run:
    """A run by its id. ``flow`` and ``version`` are None where the client has not learnt them yet."""

    def __init__(
        self,
        temporal: temporalio.client.Client,
        run_id: str,
        flow: str | None = None,
        version: str | None = None,
        handle: WorkflowHandle[Any, Any] | None = None,
        store: Store | None = None,
    ) -> None:
        self.id = run_id
        self.flow = flow
        self.version = version
        self._temporal = temporal
        self._handle = handle or temporal.get_workflow_handle(run_id)
        self._store = store

    def __repr__(self) -> str:
        return f"Run({self.id!r}, flow={self.flow!r}, version={self.version!r})"

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """Temporal's own handle, for what this class does not offer."""
        return self._handle

    async def result(self, timeout: float | None = None) -> Json:  # noqa: ASYNC109 - callers have no other bound
        """Wait for the run's output.

        Raises RunFailed with the error record, RunCancelled, NotFound, and TimeoutError after ``timeout`` seconds.
        """
        try:
            with temporal_errors(self._temporal, run_id=self.id):
                async with asyncio.timeout(timeout):
                    return await self.handle.result()
        except WorkflowFailureError as error:
            self._raise(error)

    async def state(self) -> dict[str, Json]:
        """The run as its ``state`` query tells it, all pages put together, ``steps`` in the order they began.

        Raises NotFound, and Unavailable when no worker answers.
        """
        state = page = await self._ask("state", {"after": 0})
        steps = _ordered(page)
        while "next" in page:
            page = await self._ask("state", {"after": page["next"]})
            steps |= _ordered(page)
        return {key: value for key, value in state.items() if key not in ("next", "order")} | {"steps": steps}

    async def journal(self) -> dict[str, Json]:
        """Everything the run has recorded, as its ``journal`` query tells it, all pages put together; empty where it
        never began. Also of a run that is over, while Temporal keeps its history.

        Raises NotFound, Unavailable when no worker answers, and TooLarge.
        """
        journal = page = await self._ask(JOURNAL, {"after": 0})
        if not journal:
            return {}
        records = list(page["records"])
        while "next" in page:
            page = await self._ask(JOURNAL, {"after": page["next"]})
            records += page["records"]
        return {key: value for key, value in journal.items() if key != "next"} | {"records": records}

    async def record(self, path: str) -> dict[str, Json]:
        """What is recorded of one step, by its path, however large. Of a step in a loop's pass that is over, its output
        is kept in the loop's own, and not here.

        Raises NotFound for a run or step that there is not, Unavailable when no worker answers, and TooLarge.
        """
        after: Json = 0
        while after is not None:
            page = await self._ask(JOURNAL, {"after": after})
            for known, record in page.get("records", ()):
                if known == path:
                    found: dict[str, Json] = record
                    return found
            after = page.get("next")
        raise NotFound(f"run '{self.id}' holds no record of a step '{path}'; `orchestrator runs show` lists its paths")

    async def transcripts(self) -> list[TranscriptSummary]:
        """The conversations of the run's agents, also while they go on and those of the runs it goes on from. Raises
        NotFound for a run that neither Temporal nor the store knows, Unavailable."""
        found = await transcripts_of(self._kept, root := await self._root())
        if not found and root == self.id:
            await self.info()
        return found

    async def transcript(
        self, path: str, *, generation: int | None = None, after: int = 0, limit: int | None = None
    ) -> Transcript:
        """One agent's conversation by its step's path; of its messages at most ``limit`` behind position ``after``.
        Raises NotFound, Unavailable."""
        root = await self._root()
        return await transcript_of(self._kept, root, path, generation=generation, after=after, limit=limit)

    @property
    def _kept(self) -> Store:
        if self._store is None:
            raise Unavailable("this Run knows no store: get it from Client.run")
        return self._store

    async def _root(self) -> str:
        """The first run of the chain: its transcripts are those of the chain. They may outlive what Temporal knows."""
        try:
            return (await self.info()).root or self.id
        except NotFound:
            return _RETRY.sub("", self.id)

    async def info(self) -> RunInfo:
        """Status and times. Raises NotFound."""
        return await info_of(self._temporal, (await self._described()).workflow_execution_info)

    async def attempts(self) -> dict[str, Attempt]:
        """What is tried at this moment, by the paths of its steps. Asks no worker. Raises NotFound."""
        return {one.activity_id: _attempt(one) for one in (await self._described()).pending_activities}

    async def _described(self) -> DescribeWorkflowExecutionResponse:
        request = DescribeWorkflowExecutionRequest(
            namespace=self._temporal.namespace, execution=WorkflowExecution(workflow_id=self.id)
        )
        with temporal_errors(self._temporal, run_id=self.id):
            return await self._temporal.workflow_service.describe_workflow_execution(request)

    async def signal(self, name: str, data: Json = None) -> None:
        """Send a signal. Raises NotFound, Conflict when the run is over or Temporal takes no more signals for it."""
        with temporal_errors(self._temporal, run_id=self.id):
            await self.handle.signal(name, data, rpc_timeout=_SIGNAL_TIMEOUT)

    async def pause(self, *, stop_clock: bool = False, by: str | None = None) -> None:
        """Let no new step begin; steps that run, and their retries, finish. Signals are kept, cancelling works.

        Deadlines go on counting unless ``stop_clock``. Raises NotFound, Conflict when the run is over.
        """
        await self._control(PAUSE, {"stop_clock": stop_clock} | ({"by": by} if by else {}))

    async def resume(self, *, by: str | None = None) -> None:
        """Let a paused run go on. Raises NotFound, Conflict when the run is over."""
        await self._control(RESUME, {"by": by} if by else {})

    async def deliver(self, event: Mapping[str, Json]) -> dict[str, Json]:
        """Hand the run an event (``type`` and, as far as given, ``id``, ``source``, ``time``, ``data``); returns it
        completed. Every open ``wait-for-event`` that it matches takes it; the same ``id`` is taken once.

        Raises Refused for what is no event, NotFound, Conflict when the run is over.
        """
        kind = event.get("type")
        if not isinstance(kind, str) or not kind:
            raise Refused('an event has a type, a text such as {"type": "order.paid", "data": {"orderid": 7}}')
        unknown = [name for name in event if name not in EVENT_MEMBERS]
        if unknown:
            raise Refused(f"an event has {', '.join(EVENT_MEMBERS)}, and no {', '.join(unknown)}")
        now = now_text()
        whole = {"id": uuid.uuid4().hex, "time": now, "data": None} | {
            name: value for name, value in event.items() if value is not None
        }
        await self._control(EVENT, {"event": whole}, signal_id(whole))
        return whole

    async def _control(self, name: str, message: dict[str, Json], known_as: str | None = None) -> None:
        await self.signal(name, message | {"signal_id": known_as or uuid.uuid4().hex})

    async def cancel(self, reason: str | None = None) -> None:
        """Ask the run to stop; it compensates and cleans up first. Raises NotFound, Conflict when it is over."""
        # Temporal accepts the request for a closed run too and does nothing.
        info = await self.info()
        if info.status in OVER:
            raise Conflict(f"the run '{self.id}' is over: {info.status}")
        with temporal_errors(self._temporal, run_id=self.id):
            await self.handle.cancel(reason=reason or "")

    async def terminate(self, reason: str | None = None) -> None:
        """End the run at once: nothing is compensated, no ``finally`` runs, its tasks stay open. Raises NotFound,
        Conflict when it is over."""
        with temporal_errors(self._temporal, run_id=self.id):
            await self.handle.terminate(reason=reason)

    async def _ask(self, query: str, options: dict[str, Json]) -> dict[str, Json]:
        with temporal_errors(self._temporal, run_id=self.id):
            try:
                answer: dict[str, Json] = await self.handle.query(query, options, rpc_timeout=QUERY_TIMEOUT)
            except WorkflowQueryFailedError as error:
                if query == JOURNAL and "too large" in str(error).lower():
                    raise TooLarge(
                        f"the journal of run '{self.id}' is larger than Temporal carries with ORCHESTRATOR_PAYLOADS "
                        "none: no other run can take it over; start the flow anew"
                    ) from error
                raise Unavailable(f"run '{self.id}' does not tell its {query}: {error}") from error
            except RPCError as error:
                if error.status not in _NO_WORKER:
                    raise
                raise Unavailable(
                    f"no worker answers for run '{self.id}': start one with `orchestrator worker` or `up`"
                ) from error
        return answer

    def _raise(self, error: WorkflowFailureError) -> NoReturn:
        cause = error.cause
        if isinstance(cause, CancelledError):
            raise RunCancelled(self.id) from error
        if isinstance(cause, ApplicationError):
            details = [detail for detail in cause.details if isinstance(detail, dict) and "type" in detail]
            record = details[0] if details else {"type": cause.type or "error", "message": cause.message}
            raise RunFailed(self.id, record) from error
        kind = "terminated" if isinstance(cause, TerminatedError) else "timed_out"
        raise RunFailed(self.id, {"type": kind, "message": str(cause)}) from error


def _ordered(page: dict[str, Json]) -> dict[str, Json]:
    """The page's records in the order they began, which its JSON object does not keep."""
    return {path: page["steps"][path] for path in page["order"]}


async def info_of(temporal: temporalio.client.Client, info: WorkflowExecutionInfo) -> RunInfo:
    """A run as Temporal lists it."""
    payload = info.memo.fields.get(MEMO)
    memo: Json = (await temporal.data_converter.decode([payload]))[0] if payload is not None else None
    if not isinstance(memo, dict):
        memo = {}
    return RunInfo(
        id=info.execution.workflow_id,
        flow=info.type.name,
        version=memo.get("version"),
        status=STATUSES.get(info.status, "unknown"),
        started_at=_moment(info.start_time),
        finished_at=_moment(info.close_time) if info.HasField("close_time") else None,
        retry_of=memo.get("retry_of"),
        root=memo.get("root"),
        attempt=memo.get("attempt", 1),
        trigger=memo.get("trigger"),
        by=memo.get("by"),
        waiting=_is_waiting(info),
    )


def _is_waiting(info: WorkflowExecutionInfo) -> bool:
    payload = info.search_attributes.indexed_fields.get(STATUS.name)
    return payload is not None and payload.data in (b'"waiting"', b'["waiting"]')


def _attempt(activity: PendingActivityInfo) -> Attempt:
    failed = activity.last_failure if activity.HasField("last_failure") else None
    again = activity.next_attempt_schedule_time if activity.HasField("next_attempt_schedule_time") else None
    return Attempt(
        number=activity.attempt,
        failure=None if failed is None else failed.message,
        next_at=None if again is None else _moment(again),
    )


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime().replace(tzinfo=UTC)
