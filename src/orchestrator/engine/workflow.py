"""The one Temporal workflow that interprets every flow. Its workflow type is the flow's id."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.engine.activities import Activities
from orchestrator.engine.budget import Budget
from orchestrator.engine.failures import ErrorRecord, RunEnded, StepFailed
from orchestrator.engine.frame import Frame
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.interpreter import Interpreter, now_text
from orchestrator.engine.journal import Journal
from orchestrator.engine.program import Program, program_of
from orchestrator.engine.tasks import Tasks, Waits
from orchestrator.engine.together import CLEANED_UP_AFTER, within
from orchestrator.expressions import ExpressionError
from orchestrator.spec.call import CANCEL_RUN, RESOLVE_FLOW
from orchestrator.spec.definition import Envelope, Json, Node, envelope_from_json

STATUS = SearchAttributeKey.for_keyword("OrchestratorStatus")
ASSIGNEE = SearchAttributeKey.for_keyword("OrchestratorAssignee")
PAGE = 500
"""Records one ``state`` answer holds at most."""
SHOWN_OUTPUT = 32_768
"""Bytes of an output that ``state`` shows; larger ones are named by their size."""


@dataclass(slots=True)
class Running:
    """What a resolved run consists of."""

    envelope: Envelope
    program: Program
    frame: Frame
    interpreter: Interpreter


class RunTimedOut(Exception):
    """The run's own deadline has passed."""


@workflow.defn(dynamic=True)
class FlowWorkflow:
    """Argument 1 is the body, 2 and 3 (both or neither) are the envelope and the definition; the result is the run's
    output."""

    def __init__(self) -> None:
        self._journal = Journal()
        self._inbox = Inbox()
        self._budget = Budget()
        self._waits = Waits(self._waits_changed)
        self._running: Running | None = None
        self._status = "running"
        self._error: ErrorRecord | None = None

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Json:
        """Resolve the definition, walk it, and end in a way that names what happened."""
        try:
            running = await self._resolve(args)
            return self._finish("completed", await self._walk(running))
        except RunEnded as ended:
            if ended.status == "cancelled":
                await self._cancel_self()
            return self._finish("completed", ended.output)
        except StepFailed as failure:
            self._fail(failure.error)
        except CLEANED_UP_AFTER as error:
            if is_cancelled_exception(error):
                self._finish("cancelled", None)
                raise
            # ENGINE §3: a bare exception would leave the run retrying its workflow task for ever.
            self._fail(self._internal(error))

    # -- the run ----------------------------------------------------------------------------------------------

    async def _resolve(self, args: Sequence[RawValue]) -> Running:
        body = self._decode(args[0]) if args else None
        if len(args) > 2:
            envelope = self._decode(args[1])
            program = program_of(envelope["definition"], lambda: self._decode(args[2]))
        else:
            envelope, definition = await self._resolve_bare(body)
            program = program_of(envelope["definition"], lambda: definition)
        self._running = self._prepare(envelope_from_json(envelope, program.definition, body), program)
        return self._running

    async def _resolve_bare(self, body: Json) -> list[dict[str, Json]]:
        """A run started by any other Temporal client: one local activity builds what ours would have passed."""
        info = workflow.info()
        try:
            resolved: list[dict[str, Json]] = await workflow.execute_local_activity(
                RESOLVE_FLOW,
                args=[info.workflow_type, body, info.workflow_id],
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=timedelta(minutes=5),
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            )
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            raise StepFailed(_unresolved(error)) from error
        return resolved

    def _prepare(self, envelope: Envelope, program: Program) -> Running:
        info = workflow.info()
        definition = envelope.definition
        root = envelope.root or info.workflow_id
        activities = Activities(
            version=definition.version,
            root=root,
            task_queue=definition.task_queue,
            budget=self._budget,
            plans=program.plans,
        )
        interpreter = Interpreter(
            program,
            self._journal,
            self._budget,
            activities,
            Tasks(activities, self._inbox, self._waits),
            self._waits,
            until=envelope.until,
            progressed=self._show_progress,
        )
        return Running(envelope, program, Frame(_scope(envelope, root)), interpreter)

    async def _walk(self, running: Running) -> Json:
        self._set_vars(running)
        definition = running.program.definition
        try:
            output = await within(
                definition.timeout,
                running.interpreter.run_list(definition.steps, running.frame),
                RunTimedOut,
                "timeout of the run",
            )
            output = self._output(running, output)
        except RunTimedOut:
            limit = definition.timeout or 0.0
            message = f"the run took longer than its timeout of {limit:g}s, waits included"
            error: ErrorRecord = {
                "type": "run_timeout",
                "message": message,
                "attempts": 1,
                "retryable": False,
            }
            await self._recover(running, error)
            raise StepFailed(error) from None
        except StepFailed as failure:
            await self._recover(running, failure.error)
            raise
        await self._run_handler(running, "finally", None)
        return output

    async def _recover(self, running: Running, error: ErrorRecord) -> None:
        """The flow's ``fallback`` and ``finally``. Neither hides the original error."""
        for name in ("fallback", "finally"):
            try:
                await self._run_handler(running, name, error)
            except StepFailed as failure:
                error.setdefault("errors", []).append(failure.error)

    async def _run_handler(self, running: Running, name: str, error: ErrorRecord | None) -> None:
        nodes: Sequence[Node] = running.program.definition.handlers.get(name, ())
        if nodes:
            frame = running.frame.with_names(f"#{name}/", {"error": error})
            await running.interpreter.run_list(nodes, frame)

    def _set_vars(self, running: Running) -> None:
        values: dict[str, Json] = running.frame.scope["vars"]
        try:
            for name, value in running.program.vars.items():
                values[name] = running.interpreter.render(value, running.frame).value
        except ExpressionError as error:
            raise _flow_failure(running, "vars", error) from error

    def _output(self, running: Running, output: Json) -> Json:
        if not running.program.definition.has_output:
            return output
        try:
            return running.interpreter.render(running.program.output, running.frame).value
        except ExpressionError as error:
            raise _flow_failure(running, "output", error) from error

    async def _cancel_self(self) -> NoReturn:
        """End as cancelled from within. Temporal knows a cancelled run only by a request from outside, and refuses
        one that a workflow sends to itself, so a local activity sends it."""
        self._finish("cancelled", None)
        await workflow.execute_local_activity(
            CANCEL_RUN, start_to_close_timeout=timedelta(seconds=10), schedule_to_close_timeout=timedelta(minutes=5)
        )
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a cancelled run went on")

    def _finish(self, status: str, output: Json) -> Json:
        self._status = status
        self._show_progress()
        return output

    def _fail(self, error: ErrorRecord) -> NoReturn:
        self._status = "timed_out" if error["type"] == "run_timeout" else "failed"
        self._error = error
        self._show_progress()
        raise ApplicationError(str(error["message"]), error, type=str(error["type"]), non_retryable=True)

    def _internal(self, error: BaseException) -> ErrorRecord:
        return {
            "type": "internal_error",
            "message": (
                f"the engine met {type(error).__name__}: {error}; this is a defect of Orchestrator, not of the flow"
            ),
            "attempts": 1,
            "retryable": False,
        }

    # -- messages ---------------------------------------------------------------------------------------------

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Any signal: kept for the wait of that name. Works before the definition is resolved."""
        try:
            message = self._message(args)
        except ApplicationError as error:
            # Raised from here it would leave the run retrying its workflow task for ever.
            self._inbox.note(name, error.message)
        else:
            self._inbox.deliver(name, message)

    @workflow.update(dynamic=True)
    def on_update(self, name: str, args: Sequence[RawValue]) -> dict[str, Json]:
        """Decide the task of step ``name`` and learn at once that it was taken."""
        message = self._message(args)
        # Asked again: another message of the same workflow task may have been taken since the validator looked.
        self._refuse(name, message)
        self._inbox.deliver(name, message)
        return {"accepted": True, "step": name, "at": now_text()}

    @on_update.validator
    def check_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse before anything is written to the history."""
        self._refuse(name, self._message(args))

    def _message(self, args: Sequence[RawValue]) -> Json:
        """What a signal or update carries. Raises ApplicationError for what is not JSON."""
        try:
            return self._decode(args[0]) if args else None
        except (ValueError, RuntimeError, KeyError) as error:
            raise ApplicationError(
                f"its data cannot be read as JSON: {error}", type="refused", non_retryable=True
            ) from error

    def _refuse(self, name: str, message: Json) -> None:
        refusal = self._inbox.refusal(name, message)
        if refusal is not None:
            raise ApplicationError(refusal, type="refused", non_retryable=True)

    @workflow.query(name="state")
    def state(self, options: dict[str, Any] | None = None) -> dict[str, Json]:
        """Status, vars, records by path, open waits, warnings. ``{"after": n}`` gives the page after record n."""
        after = int((options or {}).get("after", 0))
        records = list(self._journal.items())
        page = records[after : after + PAGE]
        answer: dict[str, Json] = {
            "status": self._status if self._status != "running" or not self._waits.all() else "waiting",
            "steps": {path: _shown(record) for path, record in page},
            # JSON objects lose their order on the way.
            "order": [path for path, _ in page],
            "waits": [wait.to_json() for wait in self._waits.all()],
            "warnings": list(self._inbox.refusals),
        }
        if after + PAGE < len(records):
            answer["next"] = after + PAGE
        if self._error is not None:
            answer["error"] = self._error
        if self._running is not None:
            definition = self._running.program.definition
            answer |= {"flow": definition.flow, "version": definition.version, "hash": definition.hash}
            answer["vars"] = dict(self._running.frame.scope["vars"])
        return answer

    def _decode(self, raw: RawValue) -> Json:
        return workflow.payload_converter().from_payload(raw.payload)

    # -- what the Web UI shows --------------------------------------------------------------------------------

    def _show_progress(self) -> None:
        counts = self._journal.counts
        told = ", ".join([f"{count} {status}" for status, count in counts.items() if count]) or "starting"
        now = ", ".join([f"`{path}`" for path in self._journal.running(10)])
        workflow.set_current_details(f"**{self._status}**: {told}" + (f"\n\nnow at: {now}" if now else ""))

    def _waits_changed(self) -> None:
        if self._running is None or not self._running.envelope.search_attributes:
            return
        people = [wait for wait in self._waits.all() if wait.kind == "human-task"]
        status = STATUS.value_set("waiting" if people else "running")
        assignee = people[0].assignee if people else None
        workflow.upsert_search_attributes(
            [status, ASSIGNEE.value_set(assignee) if assignee else ASSIGNEE.value_unset()]
        )


def _scope(envelope: Envelope, root: str) -> dict[str, Json]:
    """The roots that are the same everywhere in a run (FLOW_FORMAT §2)."""
    info = workflow.info()
    return {
        "trigger": envelope.trigger,
        "inputs": envelope.inputs,
        "env": envelope.env,
        "vars": {},
        "run": {
            "id": info.workflow_id,
            "flow": envelope.definition.flow,
            "version": envelope.definition.version,
            "started_at": info.start_time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "attempt": envelope.attempt,
            "retry_of": envelope.retry_of,
            "parent": envelope.parent,
            "test": envelope.test,
            "root": root,
        },
    }


def _unresolved(error: ActivityError | ApplicationError) -> ErrorRecord:
    """Why a bare start found no definition. A local activity's failure arrives with or without its wrapper."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError):
        return {"type": cause.type or "error", "message": cause.message, "attempts": 1, "retryable": False}
    message = "the flow could not be resolved in time: the worker did not reach its store"
    return {"type": "unavailable", "message": message, "attempts": 1, "retryable": False}


def _flow_failure(running: Running, key: str, error: ExpressionError) -> StepFailed:
    definition = running.program.definition
    return StepFailed(
        {
            "type": "expression_error",
            "message": f"`{key}` of flow '{definition.flow}': {error}",
            "attempts": 1,
            "retryable": False,
            "source": definition.file,
        }
    )


def _shown(record: dict[str, Json]) -> dict[str, Json]:
    output = record.get("output")
    if isinstance(output, str | dict | list):
        size = workflow.payload_converter().to_payload(output).ByteSize()
        if size > SHOWN_OUTPUT:
            return {key: value for key, value in record.items() if key != "output"} | {"output_bytes": size}
    return record
