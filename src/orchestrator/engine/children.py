"""Child runs: started under ids that follow from root and path, waited for through their own report, cancelled by us.

A child that is under way does not report to the run that continues its parent (ENGINE §2), so every child signals its
end to its parent's workflow id, and after a continue-as-new its state is asked for from time to time.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    TerminatedError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

from orchestrator.engine.budget import Budget
from orchestrator.engine.clock import Clock
from orchestrator.engine.gate import Gate
from orchestrator.engine.inbox import new_future
from orchestrator.engine.journal import State
from orchestrator.engine.together import outlast
from orchestrator.spec.call import CHILD_STATUS
from orchestrator.spec.definition import Definition, Json

REPORT = "orchestrator.child"
"""Signal: ``{child, status, output?, error?}``."""
ASK_EVERY = 30.0
"""Seconds between two looks at a child whose start was seen by an earlier execution of this run."""
VERSION = SearchAttributeKey.for_keyword("OrchestratorVersion")
TRIGGER = SearchAttributeKey.for_keyword("OrchestratorTrigger")

Report = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Launch:
    """What a child run is started with."""

    id: str
    definition: Definition
    args: list[Json]
    trigger: str
    summary: str
    searchable: bool
    """Whether its start carries search attributes."""
    priority: int | None = None


class Children:
    """The child runs of one run."""

    def __init__(self, budget: Budget, clock: Clock, gate: Gate) -> None:
        self._budget = budget
        self._clock = clock
        self._gate = gate
        self._reports: dict[str, asyncio.Future[Json]] = {}
        self._handles: dict[str, ChildWorkflowHandle[Any, Any]] = {}
        self._parts: dict[str, None] = {}
        self._forwarded: list[tuple[str, Json]] = []
        """What ``forward`` has passed on in this execution."""
        self._missed: dict[str, int] = {}
        """How much of that was passed on before a child was started, which need not hear of it."""
        self._forwarding: list[asyncio.Task[None]] = []

    def report(self, message: Json) -> None:
        """A child has told its end."""
        if isinstance(message, dict) and isinstance(message.get("child"), str):
            waiting = self._reports.setdefault(message["child"], new_future())
            if not waiting.done():
                waiting.set_result(message)

    async def start(self, launch: Launch, state: State) -> None:
        """Start a child and note its id. One that is there already is taken as it is: the id says it is ours."""
        size = sum(p.ByteSize() for p in workflow.payload_converter().to_payloads(launch.args))
        await self._budget.admit(size)
        self._missed[launch.id] = len(self._forwarded)
        try:
            self._handles[launch.id] = await workflow.start_child_workflow(
                launch.definition.flow,
                args=launch.args,
                id=launch.id,
                task_timeout=timedelta(seconds=5),
                parent_close_policy=ParentClosePolicy.ABANDON,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
                static_summary=launch.summary,
                priority=Priority.default if launch.priority is None else Priority(priority_key=launch.priority),
                memo={
                    "orchestrator": {
                        "flow": launch.definition.flow,
                        "version": launch.definition.version,
                        "trigger": launch.trigger,
                    }
                },
                search_attributes=_attributes(launch),
            )
        except WorkflowAlreadyStartedError:
            pass
        finally:
            self._budget.release()
        state["child"] = launch.id

    def forward(self, name: str, message: Json) -> None:
        """Pass one of our own signals on to the children that are parts of this run."""
        self._forwarded.append((name, message))
        for child in self._parts:
            self._forward(child, name, message)

    def _forward(self, child: str, name: str, message: Json) -> None:
        # The server drops a signal whose sender continues as new before it went out: the drain waits for it.
        self._budget.hold()
        self._forwarding = [task for task in self._forwarding if not task.done()]
        self._forwarding.append(asyncio.create_task(tell(child, name, message)))
        self._forwarding[-1].add_done_callback(lambda _: self._budget.release())

    async def result(self, child: str, *, part: bool = False) -> Report:
        """Wait for a child's end, and tell it. Cancelling the wait cancels the child and waits for its end first; that
        of one that completed all the same is told, so that what it did can be undone: ask ``raise_if_cancelled`` then.
        ``part``: the child carries out a part of this run, and is paused with it, also by what came before the walk
        got here."""
        if part:
            self._parts[child] = None
            for name, message in self._forwarded[self._missed.get(child, 0) :]:
                self._forward(child, name, message)
        try:
            return await self._result(child)
        finally:
            self._parts.pop(child, None)

    async def _result(self, child: str) -> Report:
        waiting = self._reports.setdefault(child, new_future())
        handle = self._handles.get(child)
        ending = asyncio.create_task(self._ending(child, waiting, handle))
        try:
            await workflow.wait([ending])
        except asyncio.CancelledError as cancelled:
            with self._gate.stop():
                await _ask_to_cancel(child, handle)
                with contextlib.suppress(asyncio.CancelledError):
                    await outlast([ending])
            if not _ended_well(ending):
                raise cancelled
        self._reports.pop(child, None)
        self._handles.pop(child, None)
        return ending.result()

    async def _ending(
        self, child: str, waiting: asyncio.Future[Json], handle: ChildWorkflowHandle[Any, Any] | None
    ) -> Report:
        if handle is not None:
            await workflow.wait([waiting, handle], return_when=asyncio.FIRST_COMPLETED)
            if handle.done():
                return _of_handle(handle)
            handle.add_done_callback(_read)
            told: Report = waiting.result()
            return told
        while not await self._clock.first(waiting, self._clock.after(ASK_EVERY), f"look at {child}"):
            found: Report = await workflow.execute_local_activity(
                CHILD_STATUS,
                child,
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=timedelta(minutes=5),
            )
            if found["status"] != "running":
                return found
        return dict(waiting.result())


async def report_to(parent: dict[str, Json], status: str, output: Json, error: Json) -> None:
    """Tell the parent's run how this run ended. A parent that is gone needs no report."""
    message = {"child": workflow.info().workflow_id, "status": status, "output": output, "error": error}
    await tell(parent["run"], REPORT, message)


async def tell(run: str, name: str, message: Json) -> None:
    """Signal another run. One that is gone needs no signal."""
    try:
        await workflow.get_external_workflow_handle(run).signal(name, message)
    except FailureError as failed:
        if is_cancelled_exception(failed):
            raise


async def _ask_to_cancel(child: str, handle: ChildWorkflowHandle[Any, Any] | None) -> None:
    if handle is not None:
        handle.cancel()
        return
    try:
        await workflow.get_external_workflow_handle(child).cancel()
    except FailureError as failed:
        # It is over already: then its report is on its way.
        if is_cancelled_exception(failed):
            raise


def _ended_well(ending: asyncio.Task[Report]) -> bool:
    ended = not ending.cancelled() and ending.exception() is None
    return ended and ending.result()["status"] == "completed"


def _of_handle(handle: ChildWorkflowHandle[Any, Any]) -> Report:
    if handle.cancelled():
        return {"status": "cancelled"}
    failed = handle.exception()
    if failed is None:
        return {"status": "completed", "output": handle.result()}
    cause = failed.cause if isinstance(failed, ChildWorkflowError) else failed
    if is_cancelled_exception(failed):
        return {"status": "cancelled"}
    if isinstance(cause, ApplicationError):
        told = cause.details[0] if cause.details else {"type": cause.type or "error", "message": cause.message}
        return {"status": "failed", "error": told}
    kind = "terminated" if isinstance(cause, TerminatedError) else "failed"
    return {"status": kind, "error": {"type": kind, "message": f"the child run was {kind}: {cause}"}}


def _read(handle: asyncio.Future[Any]) -> None:
    """Somebody has looked at the outcome, so that asyncio does not complain."""
    if not handle.cancelled():
        handle.exception()


def _attributes(launch: Launch) -> TypedSearchAttributes | None:
    if not launch.searchable:
        return None
    return TypedSearchAttributes(
        [
            SearchAttributePair(VERSION, launch.definition.version),
            SearchAttributePair(TRIGGER, launch.trigger),
        ]
    )
