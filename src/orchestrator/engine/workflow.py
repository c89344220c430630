"""The one Temporal workflow that interprets every flow. Its workflow type is the flow's id."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from orchestrator.engine import callbacks, snapshot, view
from orchestrator.engine.activities import PATIENCE, Activities
from orchestrator.engine.budget import Budget
from orchestrator.engine.children import REPORT, Children
from orchestrator.engine.clock import Clock, now_text
from orchestrator.engine.compensations import Compensations
from orchestrator.engine.events import Events, as_event
from orchestrator.engine.failures import ErrorRecord, StepFailed, flow_failure
from orchestrator.engine.frame import Frame
from orchestrator.engine.gate import DRAIN, Gate
from orchestrator.engine.inbox import Inbox
from orchestrator.engine.interpreter import Interpreter
from orchestrator.engine.journal import Journal
from orchestrator.engine.life import Ending, Life, internal_error, journal_too_large
from orchestrator.engine.listening import listen_early
from orchestrator.engine.program import Program, program_of
from orchestrator.engine.run import Run
from orchestrator.engine.scheduled import note_version, scheduled
from orchestrator.engine.together import CLEANED_UP_AFTER
from orchestrator.engine.waits import Wait, Waits
from orchestrator.expressions import ExpressionError
from orchestrator.spec.call import CALLBACK, CANCEL_RUN, PERMIT, RESOLVE_FLOW
from orchestrator.spec.definition import (
    LARGEST_PAYLOAD,
    Envelope,
    Json,
    definition_to_json,
    envelope_from_json,
    envelope_to_json,
)
from orchestrator.spec.moment import moment_text

RESERVED = "orchestrator."
"""What our own signals begin with: ids of steps have no dots."""
STATUS = SearchAttributeKey.for_keyword("OrchestratorStatus")
ASSIGNEE = SearchAttributeKey.for_keyword("OrchestratorAssignee")


@workflow.defn(dynamic=True)
class FlowWorkflow:
    """Argument 1 is the body, 2 and 3 (both or neither) are the envelope and the definition, 4 and 5 what an earlier
    run took along: its journal and its messages. The result is the run's output."""

    def __init__(self) -> None:
        self._gate = Gate()
        self._clock = Clock()
        self._budget = Budget(self._gate)
        self._journal = Journal()
        self._inbox = Inbox()
        self._waits = Waits(self._waits_changed)
        self._children = Children(self._budget, self._clock, self._gate)
        self._events = Events()
        self._walk: Interpreter | None = None
        self._life: Life | None = None
        self._status = "running"
        self._error: ErrorRecord | None = None
        self._continued = 0
        self._asked_to_cancel = False
        self._addressed = False
        """Whether messages have come, or steps have waited for some: more may come while the run ends."""
        self._early: list[tuple[str, Sequence[RawValue]]] | None = []
        """Signals that came before the run had taken up what it remembers of those before them."""

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> Json | RawValue:
        """Resolve the definition, live the run, and end in a way that names what happened."""
        try:
            walk = await self._resolve(args)
            self._life = life = self._begin(walk, args)
            self._take_early()
            if walk.run.envelope.skip is not None:
                walk.run.warnings.append(walk.run.envelope.skip)
                self._finish("completed")
                return None
            self._show_progress()
            if not self._continued and walk.run.envelope.slice is None:
                await listen_early(walk)
            return await self._end(life, await self._lived(life, args))
        except StepFailed as failure:
            self._fail(failure.error)
        except CLEANED_UP_AFTER as error:
            if isinstance(error, workflow.ContinueAsNewError | ApplicationError):
                raise
            if is_cancelled_exception(error):
                self._finish("cancelled")
                raise
            # ENGINE §3: a bare exception would leave the run retrying its workflow task for ever.
            self._fail(internal_error(error))

    def record_in(self, journal: Journal) -> None:
        """Keep the records in ``journal``, such as one that tells somebody of them; before the run begins."""
        self._journal = journal

    @property
    def open_waits(self) -> list[Wait]:
        """What the run waits for now."""
        return self._waits.all()

    # -- the run ----------------------------------------------------------------------------------------------

    async def _resolve(self, args: Sequence[RawValue]) -> Interpreter:
        body = self._decode(args[0]) if args else None
        if len(args) > 2:
            envelope = self._decode(args[1])
            program = program_of(envelope["definition"], lambda: self._decode(args[2]))
        else:
            envelope, definition = await self._resolve_bare(body)
            program = program_of(envelope["definition"], lambda: definition)
            note_version(program.definition)
        self._walk = self._assemble(envelope_from_json(envelope, program.definition, body), program)
        return self._walk

    async def _resolve_bare(self, body: Json) -> list[dict[str, Json]]:
        """A run started by any other Temporal client: one local activity builds what ours would have passed."""
        info, start = workflow.info(), scheduled()
        try:
            resolved: list[dict[str, Json]] = await workflow.execute_local_activity(
                RESOLVE_FLOW,
                args=[info.workflow_type, body, info.workflow_id, *([start] if start is not None else [])],
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=PATIENCE,
            )
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise
            raise StepFailed(_unresolved(error)) from error
        return resolved

    def _assemble(self, envelope: Envelope, program: Program) -> Interpreter:
        root = envelope.root or workflow.info().workflow_id
        self._gate.continue_after = envelope.continue_after
        self._budget.stored = envelope.largest_payload > LARGEST_PAYLOAD
        self._events.begin(program.early)
        self._addressed |= bool(program.early)
        activities = Activities(
            version=envelope.definition.version,
            root=root,
            task_queue=envelope.definition.task_queue,
            budget=self._budget,
            largest=envelope.largest_payload,
        )
        run = Run(
            envelope=envelope,
            root=root,
            frame=Frame(_scope(envelope, root)),
            journal=self._journal,
            gate=self._gate,
            clock=self._clock,
            budget=self._budget,
            activities=activities,
            inbox=self._inbox,
            events=self._events,
            waits=self._waits,
            compensations=Compensations(),
            children=self._children,
            progressed=self._show_progress,
        )
        return Interpreter(program, run)

    def _begin(self, walk: Interpreter, args: Sequence[RawValue]) -> Life:
        life = Life(walk)
        if len(args) > 3:
            self._continued = snapshot.restore(walk, life, self._decode(args[3]))
            if len(args) > 4:
                messages = self._decode(args[4])
                self._inbox.restore(messages["inbox"])
                self._events.restore(messages["events"])
        _set_vars(walk)
        return life

    async def _lived(self, life: Life, args: Sequence[RawValue]) -> Ending:
        """The run's end, unless it continues as new before that: then this raises."""
        living = asyncio.create_task(life.live())
        if self._asked_to_cancel:
            life.cancel()
        while not living.done():
            try:
                await workflow.wait_condition(lambda: living.done() or self._gate.draining)
                if not living.done() and await self._drained(living):
                    self._continue_as_new(life, args)
            except asyncio.CancelledError:
                self._asked_to_cancel = True
                life.cancel()
        return living.result()

    async def _drained(self, living: asyncio.Task[Ending]) -> bool:
        """Whether nothing is under way any more; the drain gives way to what takes long."""
        try:
            await workflow.wait_condition(
                lambda: living.done() or not self._gate.draining or self._is_drained(),
                timeout=DRAIN,
                timeout_summary="draining before the run continues as new",
            )
        except TimeoutError:
            self._gate.give_way()
        if self._is_drained():
            await self._budget.close_express()
        return not living.done() and self._is_drained()

    def _is_drained(self) -> bool:
        idle = self._budget.pending == 0 and self._gate.stops == 0 and workflow.all_handlers_finished()
        return self._gate.draining and idle

    def _continue_as_new(self, life: Life, args: Sequence[RawValue]) -> None:
        """Raises what makes Temporal start the next execution; returns where the journal has become too large."""
        assert self._walk is not None
        run = self._walk.run
        body: Json = run.envelope.trigger.get("body")
        envelope = replace(run.envelope, root=run.root)
        journal = snapshot.journal_of(self._walk, life, self._continued + 1)
        messages = self._messages()
        definition: Json = args[2] if len(args) > 2 else definition_to_json(envelope.definition)
        taken = [body, envelope_to_json(envelope, body), definition, journal, messages]
        size = max(payload.ByteSize() for payload in workflow.payload_converter().to_payloads(taken))
        if size > envelope.largest_payload:
            self._gate.stay()
            life.fail(journal_too_large(size, envelope.largest_payload))
            return
        workflow.continue_as_new(args=taken, task_timeout=timedelta(seconds=5))

    async def _end(self, life: Life, ending: Ending) -> Json | RawValue:
        if self._addressed or self._continued:
            await self._budget.close_express()
        if ending.status == "cancelled":
            self._error = ending.error
            self._finish("cancelled")
            if self._asked_to_cancel:
                raise asyncio.CancelledError
            await self._cancel_self()
        if ending.error is not None:
            self._fail(ending.error, ending.status)
        self._finish("completed")
        return life.result(ending)

    async def _cancel_self(self) -> NoReturn:
        """End as cancelled from within. Temporal knows a cancelled run only by a request from outside, and refuses
        one that a workflow sends to itself, so a local activity sends it."""
        await workflow.execute_local_activity(
            CANCEL_RUN, start_to_close_timeout=timedelta(seconds=10), schedule_to_close_timeout=timedelta(minutes=5)
        )
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a cancelled run went on")

    def _finish(self, status: str) -> None:
        self._status = status
        self._show_progress()

    def _fail(self, error: ErrorRecord, status: str = "failed") -> NoReturn:
        self._error = error
        self._finish(status)
        raise ApplicationError(str(error["message"]), error, type=str(error["type"]), non_retryable=True)

    # -- messages ---------------------------------------------------------------------------------------------

    @workflow.signal(dynamic=True)
    def on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Any signal: kept for the wait of that name. Works before the definition is resolved."""
        self._addressed = True
        self._gate.progressed()
        if self._early is None:
            self._take(name, args)
        else:
            self._early.append((name, args))

    def _take_early(self) -> None:
        early, self._early = self._early or (), None
        for name, args in early:
            self._take(name, args)

    def _take(self, name: str, args: Sequence[RawValue]) -> None:
        try:
            message = self._message(args)
        except ApplicationError as error:
            # Raised from here it would leave the run retrying its workflow task for ever.
            self._inbox.note(name, error.message)
            return
        if name == REPORT:
            self._children.report(message)
        elif not name.startswith(RESERVED):
            self._inbox.deliver(name, message, args[0].payload.ByteSize() if args else 0)
        elif self._inbox.is_new(message):
            self._inbox.note(name, self._controlled(name, message))

    def _controlled(self, name: str, message: Json) -> str | None:
        """Carry out one of our own signals; why not, or None."""
        match name:
            case "orchestrator.pause":
                self._gate.paused = self._status == "running" and not self._asked_to_cancel
                if self._gate.paused and isinstance(message, dict) and message.get("stop_clock"):
                    self._clock.stop()
                self._children.forward(name, message)
            case "orchestrator.resume":
                self._gate.paused = False
                self._clock.go()
                self._children.forward(name, message)
            case _ if name == PERMIT:
                if self._life is not None:
                    self._life.permit.told(message)
            case "orchestrator.event":
                event = as_event(message)
                return event if isinstance(event, str) else self._events.deliver(event)
            case _ if name == CALLBACK:
                return callbacks.deliver(self._inbox, self._journal, message)
            case _:
                return "no signal of this name is known: names with a dot are Orchestrator's own"
        self._show_progress()
        return None

    @workflow.update(dynamic=True)
    async def on_update(self, name: str, args: Sequence[RawValue]) -> dict[str, Json]:
        """Decide the task of step ``name``, or answer a callback, and learn at once that it was taken."""
        self._addressed = True
        self._gate.progressed()
        message = self._message(args)
        if name == CALLBACK:
            # A run that has just continued as new does not know yet what came before.
            await workflow.wait_condition(lambda: self._early is None)
        # Asked again: another message of the same workflow task may have been taken since the validator looked.
        self._refuse(name, message)
        if name == CALLBACK:
            callbacks.deliver(self._inbox, self._journal, message)
        else:
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
        if name == CALLBACK:
            refusal = callbacks.refusal(self._inbox, self._journal, message)
        else:
            refusal = self._inbox.refusal(name, message)
        if refusal is not None:
            raise ApplicationError(refusal, type="refused", non_retryable=True)

    @workflow.query(name="state")
    def state(self, options: dict[str, Any] | None = None) -> dict[str, Json]:
        """Status, vars, records by path, open waits, warnings. ``{"after": n}`` gives the page after record n."""
        shown: dict[str, Json] = {
            "status": self._shown_status(),
            "waits": [wait.to_json() for wait in self._waits.all()],
            "warnings": list(self._inbox.refusals),
            "paused": self._gate.paused,
            "continued": self._continued,
        }
        if self._error is not None:
            shown["error"] = self._error
        if self._walk is not None:
            shown |= view.of_run(self._walk.run, self._inbox.refusals)
        return shown | view.page(self._journal, options)

    @workflow.query(name="journal")
    def journal(self, options: dict[str, Any] | None = None) -> dict[str, Json]:
        """Everything a retry takes along, its records page by page; empty where the run never began."""
        if self._walk is None or self._life is None:
            return {}
        journal = snapshot.journal_of(self._walk, self._life, self._continued) | {"messages": self._messages()}
        return view.journal_page(journal, options)

    def _messages(self) -> dict[str, Json]:
        """Signals and events that nobody has taken yet."""
        return {"inbox": self._inbox.to_json(), "events": self._events.to_json()}

    def _shown_status(self) -> str:
        if self._status != "running":
            return self._status
        return "paused" if self._gate.paused else "waiting" if self._waits.all() else "running"

    def _decode(self, raw: RawValue) -> Json:
        return workflow.payload_converter().from_payload(raw.payload)

    # -- what the Web UI shows --------------------------------------------------------------------------------

    def _show_progress(self) -> None:
        counts = self._journal.counts
        told = ", ".join([f"{count} {status}" for status, count in counts.items() if count]) or "starting"
        now = ", ".join([f"`{path}`" for path in self._journal.running(10)])
        status = "paused" if self._gate.paused and self._status == "running" else self._status
        workflow.set_current_details(f"**{status}**: {told}" + (f"\n\nnow at: {now}" if now else ""))

    def _waits_changed(self) -> None:
        self._addressed = True
        if self._life is not None:
            self._life.announcer.waits(self._waits.all())
        if self._walk is None or not self._walk.run.envelope.search_attributes:
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
            "started_at": moment_text(info.start_time),
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


def _set_vars(walk: Interpreter) -> None:
    """The start values of vars; one may name those above it. What a journal brought along stays as it is: a re-run
    leaves out the vars that are to begin anew."""
    scope = walk.run.frame.scope
    try:
        for name, value in walk.program.vars.items():
            if name not in scope["vars"]:
                scope["vars"][name] = value.render(scope, walk.run.meter).value
    except ExpressionError as error:
        raise flow_failure(walk.program.definition, "vars", error) from error
