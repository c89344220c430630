"""The walk over a definition: for every step a record, found in the journal or made by running the step.

Control constructs are evaluated in the workflow and cost no activity. What takes more than a few lines stands beside
this file, one construct each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from temporalio.exceptions import is_cancelled_exception

from orchestrator.engine.activities import Call, Outcome
from orchestrator.engine.callbacks import addressed
from orchestrator.engine.clock import now_text
from orchestrator.engine.constructs import control, recover, repeat, saga, subflow, waiting
from orchestrator.engine.constructs.agent import agent
from orchestrator.engine.constructs.computed import run_steps
from orchestrator.engine.constructs.control import HANDLERS, Construct
from orchestrator.engine.constructs.elicitation import call_answering
from orchestrator.engine.constructs.graph import BLOCKED, members
from orchestrator.engine.constructs.parallel import parallel, resume_losers
from orchestrator.engine.constructs.slices import for_each
from orchestrator.engine.constructs.tasks import human_task
from orchestrator.engine.failures import RunEnded, StepFailed, error_record, expression_failure, failed_after
from orchestrator.engine.frame import Frame
from orchestrator.engine.functions import function_call
from orchestrator.engine.journal import Record
from orchestrator.engine.program import Program
from orchestrator.engine.run import Run
from orchestrator.engine.together import CLEANED_UP_AFTER, raise_if_cancelled, run_all
from orchestrator.expressions import CompiledValue, Expression, ExpressionError, Rendered
from orchestrator.spec.definition import Json, Node

CONSTRUCTS: dict[str, Construct] = {
    "block": control.block,
    "parallel": parallel,
    "condition": control.condition,
    "switch": control.switch,
    "for-each": for_each,
    "while": repeat.while_,
    "try": recover.try_,
    "saga": saga.saga,
    "wait": waiting.wait,
    "wait-for-event": waiting.wait_for_event,
    "human-task": human_task,
    "agent": agent,
    "flow": subflow.flow,
    "run-steps": run_steps,
    "set": control.set_vars,
    "transform": control.transform,
    "return": control.return_,
    "fail": control.fail,
}
"""How steps are carried out where no activity does it, by type."""

OPERATIONS_OF_A_STEP = 5
"""What a step costs beside its expressions, in operations."""


class Interpreter:
    """Walks one program of one run."""

    def __init__(self, program: Program, run: Run) -> None:
        self.program = program
        self.run = run

    def over(self, program: Program) -> Interpreter:
        """A walk of the same run over another program."""
        return Interpreter(program, self.run)

    # -- lists ------------------------------------------------------------------------------------------------

    async def run_list(self, nodes: Sequence[Node], frame: Frame) -> Json:
        """Run a list and return the output of its textually last completed step. Raises StepFailed, RunEnded."""
        if all(node.needs is None for node in nodes):
            return _last_output([await self.run_step(node, frame) for node in nodes])
        ended = await run_all(members(self, nodes, frame), stops=lambda error: True)
        return _last_output([record for record in ended.results if isinstance(record, dict) and record is not BLOCKED])

    # -- one step ---------------------------------------------------------------------------------------------

    async def run_step(self, node: Node, frame: Frame) -> Record:
        """Run one step to its record. Raises StepFailed where the author did not handle the failure."""
        path = frame.path(node)
        record = self.run.journal.get(path)
        if record is not None and record["status"] != "running":
            self._recall(node, frame, record)
            if record["status"] == "failed" and node.on_error != "continue":
                # What it failed was still being settled around it, such as a saga's compensations.
                raise StepFailed(record["error"])
            return record
        applies: bool | StepFailed = True
        if record is None:
            await self.run.gate.enter()
            await self.run.budget.breathe(self.run.meter)
            applies = self._applies(node, frame)
            if applies is False:
                return self.skip(node, frame)
            record = self.run.journal.start(node, path, now_text(), frame.inside)
        frame.remember(node, record)
        self.run.progressed()
        try:
            if isinstance(applies, StepFailed):
                await self._handle(node, frame, path, record, applies)
            else:
                await self._attempt(node, frame, path, record)
            raise_if_cancelled()
        except CLEANED_UP_AFTER as error:
            if is_cancelled_exception(error) and record["status"] == "running":
                self.run.journal.cancel(path, record, now_text())
            raise
        if self.run.envelope.until == node.id:
            raise RunEnded(record.get("output"))
        return record

    def _recall(self, node: Node, frame: Frame, record: Record) -> None:
        """Make a step that is over, and what is inside it, visible again."""
        frame.remember(node, record)
        if record.get("losers"):
            resume_losers(self, node, frame)
        if node.type in ("for-each", "while"):
            return
        for label, nodes in node.lists.items():
            inner = frame.into(node, None if label in ("steps", "branches") else label)
            if label in HANDLERS:
                inner = frame.with_names(f"{frame.path(node)}#{label}/", {})
            for child in nodes:
                known = self.run.journal.get(inner.path(child))
                if known is not None:
                    self._recall(child, inner, known)

    def _applies(self, node: Node, frame: Frame) -> bool | StepFailed:
        """Whether the step's ``if`` lets it run; an ``if`` that cannot be evaluated is a failure of the step."""
        self.run.meter.spent += OPERATIONS_OF_A_STEP
        condition = self.program.code(node).condition
        try:
            return condition is None or self.holds(condition, node, frame)
        except StepFailed as failure:
            return failure

    async def _attempt(self, node: Node, frame: Frame, path: str, record: Record) -> None:
        known = self.run.journal.known_state(path)
        if known is not None and "handling" in known:
            await self._run_handler(node, frame, path, record, known["handling"])
            return
        owed = self.run.compensations if "compensate" in node.lists else None
        if owed is not None and node.compensate_on == "attempted":
            owed.attempt(node, path, frame)
        try:
            outcome = await self._carry_out(node, frame, path)
        except StepFailed as failure:
            if node.type == "saga":
                failure = StepFailed(await saga.close_failed(self, frame, path, failure.error))
            await self._handle(node, frame, path, record, failure)
        except RunEnded as ended:
            self._end(path, record, ended)
            raise
        except asyncio.CancelledError:
            if node.type == "saga":
                self.run.compensations.hand_over(path, frame.saga)
            raise
        else:
            if node.type == "saga":
                saga.close_completed(self, node, frame, path)
            self.run.warnings.extend(f"'{path}': {said}" for said in outcome.extra.pop("warnings", ()))
            self.run.journal.complete(path, record, now_text(), outcome.output, outcome.extra)
            if owed is not None and outcome.extra.get("cached"):
                # It did nothing in this run: undoing it would undo another run's effect.
                owed.withdraw(path)
            elif owed is not None:
                owed.complete(node, path, frame)

    def _end(self, path: str, record: Record, ended: RunEnded) -> None:
        if ended.status == "cancelled":
            self.run.journal.cancel(path, record, now_text())
        else:
            self.run.journal.complete(path, record, now_text(), ended.output, {})

    async def _handle(self, node: Node, frame: Frame, path: str, record: Record, failure: StepFailed) -> None:
        """The author's ``on_error``: fail, go on with a failed record, or run steps whose output takes its place."""
        if node.on_error == "steps":
            self.run.journal.state(path)["handling"] = failure.error
            await self._run_handler(node, frame, path, record, failure.error)
            return
        self.run.journal.fail(path, record, now_text(), failure.error)
        if node.on_error == "fail":
            raise failure
        self.run.warnings.append(f"'{path}' failed and the run went on: {failure.error['type']}")

    async def _run_handler(self, node: Node, frame: Frame, path: str, record: Record, error: dict[str, Json]) -> None:
        # Until the handler has an output the step is what it handles: failed.
        record.update(error=error, attempts=error.get("attempts", 1))
        try:
            output = await self.run_list(
                node.lists["on_error"], frame.with_names(f"{path}#on_error/", {"error": error})
            )
        except StepFailed as failure:
            second = failed_after(failure, error)
            self.run.journal.fail(path, record, now_text(), second.error)
            raise second from failure
        self.run.warnings.append(f"'{path}' failed and was handled: {error['type']}")
        self.run.journal.complete(path, record, now_text(), output, {"error": error})

    async def _carry_out(self, node: Node, frame: Frame, path: str) -> Outcome:
        """A control step or a person's task under its own ``timeout``; other act steps' timeouts are their
        activities'."""
        construct = CONSTRUCTS.get(node.type)
        if construct is None or node.mocked:
            return await self._act(node, frame, path)
        if node.type == "agent":
            return await construct(self, node, frame, path)
        # A sub-flow that is tried again has time for each attempt beside the time for all.
        bounded = node.type != "flow" and node.timeout.attempt is not None
        limit = node.timeout.attempt if bounded else node.timeout.total
        if limit is None:
            return await construct(self, node, frame, path)
        state = self.run.journal.state(path)
        if "deadline" not in state:
            state["deadline"] = self.run.clock.after(limit)

        def expired() -> StepFailed:
            return StepFailed(error_record(node, path, "step_timeout", f"'{node.id}' took longer than {limit:g}s"))

        work = construct(self, node, frame, path)
        return await self.run.clock.within(state["deadline"], work, expired, f"timeout of {node.id}")

    # -- acts -------------------------------------------------------------------------------------------------

    async def _act(self, node: Node, frame: Frame, path: str) -> Outcome:
        code = self.program.code(node)
        rendered = self.render(code.config, node, frame)
        if rendered.late:
            rendered = replace(rendered, late=addressed(rendered.late, self.run.envelope.definition, node, path))
        cache = None if code.cache is None else self._cache(node, code.cache, frame)
        generation = self.run.journal.generation(path)
        plans = self.program.plans
        if node.type == "function":
            call = function_call(node, path, rendered, generation, cache, plans)
        else:
            late = [place | {"path": [0, *place["path"]]} for place in rendered.late]
            args = [rendered.value, self.run.event_depth] if node.type == "emit" else [rendered.value]
            call = Call(node, path, node.type, args, late, None, node.retry, generation, cache, plans)
        if node.durability == "express":
            return await self.run.activities.run_express(call)
        if node.type == "mcp" and rendered.value.get("elicit"):
            return await call_answering(self, node, frame, call)
        return await self.run.activities.run(call)

    def _cache(self, node: Node, key: CompiledValue, frame: Frame) -> dict[str, Json]:
        told = node.cache or {}
        text = self.render(key, node, frame).value
        return {"key": text, "ttl": told.get("ttl"), "scope": told.get("scope", "flow")}

    def skip(self, node: Node, frame: Frame) -> Record:
        """Record a step and everything inside it as skipped."""
        path = frame.path(node)
        known = self.run.journal.get(path)
        if known is not None:
            self._recall(node, frame, known)
            return known
        record = self.run.journal.skip(node, path, now_text(), frame.inside)
        frame.remember(node, record)
        for label, nodes in node.lists.items():
            if label not in HANDLERS and node.type not in ("for-each", "while"):
                inside = frame.into(node, None if label in ("steps", "branches") else label)
                for child in nodes:
                    self.skip(child, inside)
        return record

    # -- expressions ------------------------------------------------------------------------------------------

    def render(self, value: CompiledValue, node: Node, frame: Frame) -> Rendered:
        """Templates filled in. Raises StepFailed ``expression_error``."""
        try:
            return value.render(frame.scope, self.run.meter)
        except ExpressionError as error:
            raise expression_failure(node, frame.path(node), error) from error

    def evaluate(self, expression: Expression, node: Node, frame: Frame) -> Json:
        """An expression's value. Raises StepFailed ``expression_error``."""
        try:
            return expression.evaluate(frame.scope, self.run.meter)
        except ExpressionError as error:
            raise expression_failure(node, frame.path(node), error) from error

    def holds(self, expression: Expression, node: Node, frame: Frame, path: str | None = None) -> bool:
        """Whether a condition is true. ``path`` is the step's, where the frame is that of a pass inside it. Raises
        StepFailed ``expression_error``."""
        try:
            return expression.evaluate_bool(frame.scope, self.run.meter)
        except ExpressionError as error:
            raise expression_failure(node, path or frame.path(node), error) from error


def _last_output(records: Sequence[Record]) -> Json:
    for record in reversed(records):
        if record["status"] == "completed":
            return record.get("output")
    return None
