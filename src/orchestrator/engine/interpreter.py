"""The walk over a definition: for every step a record, found in the journal or made by running the step.

Control constructs are evaluated here, in the workflow, and cost no activity. What takes more than a few lines
(activities, tasks, running side by side) lives beside this file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from orchestrator.engine.activities import Activities, Call, Outcome, is_foreign
from orchestrator.engine.budget import Budget
from orchestrator.engine.failures import RunEnded, StepFailed, error_record, expression_failure
from orchestrator.engine.frame import Frame
from orchestrator.engine.inbox import new_future
from orchestrator.engine.journal import Journal, Record
from orchestrator.engine.program import Case, Program
from orchestrator.engine.tasks import Tasks, Wait, Waits
from orchestrator.engine.together import CLEANED_UP_AFTER, raise_if_cancelled, run_all, within
from orchestrator.expressions import CompiledValue, Expression, ExpressionError, Meter, Rendered
from orchestrator.spec.base import parse_duration
from orchestrator.spec.definition import Json, Node

OPERATION_LIMIT = 50_000
"""Operations one evaluation may take (DESIGN §5.11)."""
HANDLERS = ("on_error", "compensate")
"""Child lists that run only when something went wrong: they are not part of what a skip or a branch covers."""

Perform = Callable[[Node, Frame, str], Coroutine[Any, Any, Outcome]]
"""How a control construct runs: the node, its frame, its path."""


def now_text() -> str:
    """Workflow time as an ISO instant, to the millisecond."""
    seconds, nanoseconds = divmod(workflow.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1_000_000:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    """Two of these are written per step, and most of them within the same second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Interpreter:
    """Runs the steps of one run."""

    def __init__(
        self,
        program: Program,
        journal: Journal,
        budget: Budget,
        activities: Activities,
        tasks: Tasks,
        waits: Waits,
        *,
        until: str | None = None,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._program = program
        self._journal = journal
        self._budget = budget
        self._activities = activities
        self._tasks = tasks
        self._waits = waits
        self._until = until
        self._progressed = progressed
        self._meter = Meter(workflow.now, lambda: str(workflow.uuid4()), OPERATION_LIMIT)

    # -- lists ------------------------------------------------------------------------------------------------

    async def run_list(self, nodes: Sequence[Node], frame: Frame) -> Json:
        """Run a list and return the output of its textually last completed step. Raises StepFailed, RunEnded."""
        if all(node.needs is None for node in nodes):
            records = [await self.run_step(node, frame) for node in nodes]
        else:
            records, _ = await self._run_graph(nodes, frame, fail_fast=True)
        return _last_output(records)

    async def _run_graph(
        self, nodes: Sequence[Node], frame: Frame, *, fail_fast: bool
    ) -> tuple[list[Record], list[int]]:
        """Run siblings as their ``needs`` allow: a step starts the moment the last of them is done."""
        over = {node.id: new_future() for node in nodes}

        async def run(index: int, node: Node) -> Record:
            awaited = [above.id for above in nodes[:index]] if node.needs is None else list(node.needs)
            went_well = False
            try:
                ready = [await asyncio.shield(over[name]) for name in awaited]
                blocked = not all(ready) or (
                    node.explicit_needs and all(self._skipped(name, frame) for name in awaited)
                )
                record = self._skip(node, frame) if blocked else await self.run_step(node, frame)
                went_well = True
                return record
            finally:
                over[node.id].set_result(went_well)

        works = [run(index, node) for index, node in enumerate(nodes)]
        results, finished = await run_all(works, stops=lambda error: fail_fast or isinstance(error, RunEnded))
        errors = [result for result in (results[index] for index in finished) if isinstance(result, BaseException)]
        if errors:
            raise _combined(errors)
        return [result for result in results if not isinstance(result, BaseException)], finished

    def _skipped(self, name: str, frame: Frame) -> bool:
        record = self._journal.settled(f"{frame.prefix}{name}")
        return record is not None and record["status"] == "skipped"

    # -- one step ---------------------------------------------------------------------------------------------

    async def run_step(self, node: Node, frame: Frame) -> Record:
        """Run one step to its record. Raises StepFailed where the author did not handle the failure."""
        path = frame.path(node)
        known = self._journal.settled(path)
        if known is not None:
            frame.remember(node, known)
            return known
        await self._budget.breathe(self._meter.spent)
        applies = self._applies(node, frame)
        if applies is False:
            return self._skip(node, frame)
        record = self._journal.start(node, path, now_text())
        frame.remember(node, record)
        self._progressed()
        try:
            if isinstance(applies, StepFailed):
                await self._handle(node, frame, path, record, applies)
            else:
                await self._attempt(node, frame, path, record)
            raise_if_cancelled()
        except CLEANED_UP_AFTER as error:
            if is_cancelled_exception(error):
                self._journal.cancel(path, record, now_text())
            raise
        if self._until == node.id:
            raise RunEnded(record.get("output"))
        return record

    def _applies(self, node: Node, frame: Frame) -> bool | StepFailed:
        """Whether the step's ``if`` lets it run; an ``if`` that cannot be evaluated is a failure of the step."""
        condition = self._program.code(node).condition
        try:
            return condition is None or self._holds(condition, node, frame)
        except StepFailed as failure:
            return failure

    async def _attempt(self, node: Node, frame: Frame, path: str, record: Record) -> None:
        try:
            outcome = await self._bounded(node, frame, path)
        except StepFailed as failure:
            await self._handle(node, frame, path, record, failure)
        except RunEnded as ended:
            if ended.status == "cancelled":
                self._journal.cancel(path, record, now_text())
            else:
                self._journal.complete(path, record, now_text(), ended.output, {})
            raise
        else:
            self._journal.complete(path, record, now_text(), outcome.output, outcome.extra)

    async def _handle(self, node: Node, frame: Frame, path: str, record: Record, failure: StepFailed) -> None:
        """The author's ``on_error``: fail, go on with a failed record, or run steps whose output takes its place."""
        self._journal.fail(path, record, now_text(), failure.error)
        if node.on_error == "fail":
            raise failure
        if node.on_error == "steps":
            handler = frame.with_names(f"{path}#on_error/", {"error": failure.error})
            output = await self.run_list(node.lists["on_error"], handler)
            self._journal.complete(path, record, now_text(), output, {"error": failure.error})

    async def _bounded(self, node: Node, frame: Frame, path: str) -> Outcome:
        """A control step or a person's task under its own ``timeout``; other act steps' timeouts are their
        activity's."""
        perform = self._ask if node.type == "human-task" else self._control(node)
        if perform is None:
            return await self._act(node, frame, path)
        limit = node.timeout.total if node.timeout.attempt is None else node.timeout.attempt

        def expired() -> StepFailed:
            return StepFailed(error_record(node, path, "step_timeout", f"'{node.id}' took longer than {limit:g}s"))

        return await within(limit, perform(node, frame, path), expired, f"timeout of {node.id}")

    # -- acts -------------------------------------------------------------------------------------------------

    async def _act(self, node: Node, frame: Frame, path: str) -> Outcome:
        rendered = self._render(self._program.code(node).config, node, frame)
        if node.type == "function":
            return await self._activities.run(self._function_call(node, path, rendered))
        return await self._activities.run(
            Call(node, path, node.type, [rendered.value], rendered.late, retry=node.retry)
        )

    async def _ask(self, node: Node, frame: Frame, path: str) -> Outcome:
        rendered = self._render(self._program.code(node).config, node, frame)
        return await self._tasks.run(node, path, rendered.value)

    def _function_call(self, node: Node, path: str, rendered: Rendered) -> Call:
        """A function is an activity of its own name, called with the author's arguments."""
        config = rendered.value
        queue = config.get("task_queue") or node.task_queue
        if rendered.late and is_foreign(queue):
            message = f"late names such as secrets cannot be sent to task queue '{queue}': they would enter its history"
            raise StepFailed(error_record(node, path, "invalid_config", message))
        args = list(config["args"]) if "args" in config else [config["params"]] if "params" in config else []
        late = [_shift(place) for place in rendered.late]
        return Call(node, path, str(config["handler"]), args, late, task_queue=queue, retry=node.retry)

    # -- control ----------------------------------------------------------------------------------------------

    def _control(self, node: Node) -> Perform | None:
        match node.type:
            case "block":
                return self._block
            case "parallel":
                return self._parallel
            case "condition":
                return self._condition
            case "switch":
                return self._switch
            case "set":
                return self._set
            case "transform":
                return self._transform
            case "wait":
                return self._wait
            case "fail":
                return self._fail
            case "return":
                return self._return
            case _:
                return None

    async def _block(self, node: Node, frame: Frame, path: str) -> Outcome:
        return Outcome(await self.run_list(node.lists.get("steps", ()), frame.inside(node)))

    async def _parallel(self, node: Node, frame: Frame, path: str) -> Outcome:
        branches = node.lists.get("branches", ())
        fail_fast = node.config.get("on_failure", "fail_fast") != "finish_all"
        records, finished = await self._run_graph(branches, frame.inside(node), fail_fast=fail_fast)
        output = {
            branch.id: record["output"]
            for branch, record in zip(branches, records, strict=True)
            if "output" in record and record["status"] == "completed"
        }
        return Outcome(output, {"finished": [branches[i].id for i in finished if records[i]["status"] == "completed"]})

    async def _condition(self, node: Node, frame: Frame, path: str) -> Outcome:
        holds = self._holds(self._program.code(node).fields["if"], node, frame)
        taken = "then" if holds else "else"
        return await self._branch(node, frame, taken if node.lists.get(taken) else None, taken)

    async def _switch(self, node: Node, frame: Frame, path: str) -> Outcome:
        code = self._program.code(node)
        value = self._evaluate(code.fields["value"], node, frame) if "value" in code.fields else None
        for number, case in enumerate(code.cases):
            if self._case_matches(case, value, node, frame):
                return await self._branch(node, frame, case.steps, number)
        return await self._branch(node, frame, "default" if "default" in node.lists else None, "default")

    def _case_matches(self, case: Case, value: Json, node: Node, frame: Frame) -> bool:
        if case.condition is not None:
            return self._holds(case.condition, node, frame)
        if case.equals is None:
            return False
        wanted = self._render(case.equals, node, frame).value
        return any(_same(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))

    async def _branch(self, node: Node, frame: Frame, taken: str | None, shown: str | int) -> Outcome:
        """Run one of a step's lists; everything in the others is skipped."""
        for label, nodes in node.lists.items():
            if label != taken and label not in HANDLERS:
                for other in nodes:
                    self._skip(other, frame.inside(node, label))
        if taken is None:
            return Outcome(None, {"branch": "none"})
        return Outcome(await self.run_list(node.lists[taken], frame.inside(node, taken)), {"branch": shown})

    async def _set(self, node: Node, frame: Frame, path: str) -> Outcome:
        values = self._render(self._program.code(node).config, node, frame).value
        frame.scope["vars"].update(values)
        return Outcome(values)

    async def _transform(self, node: Node, frame: Frame, path: str) -> Outcome:
        return Outcome(self._render(self._program.code(node).config, node, frame).value.get("value"))

    async def _wait(self, node: Node, frame: Frame, path: str) -> Outcome:
        config = self._render(self._program.code(node).config, node, frame).value
        seconds, until = self._wait_seconds(node, path, config)
        if seconds > 0:
            with self._waits.open(Wait(path, node.id, "wait", until)):
                await workflow.sleep(seconds, summary=node.name or path)
        return Outcome(None)

    def _wait_seconds(self, node: Node, path: str, config: dict[str, Json]) -> tuple[float, str | None]:
        try:
            if "duration" in config:
                return parse_duration(config["duration"]), None
            instant = datetime.fromisoformat(str(config["until"]))
            if instant.tzinfo is None:
                raise ValueError(f"{config['until']!r} has no time zone; write for example 2026-01-31T09:00:00+09:00")
        except ValueError as error:
            raise StepFailed(error_record(node, path, "invalid_config", str(error))) from error
        return (instant - workflow.now()).total_seconds(), str(config["until"])

    async def _fail(self, node: Node, frame: Frame, path: str) -> Outcome:
        config = self._render(self._program.code(node).config, node, frame).value
        raise StepFailed(
            error_record(
                node,
                path,
                str(config.get("type", "failed")),
                str(config.get("message", "the flow said so")),
                data=config.get("data"),
            )
        )

    async def _return(self, node: Node, frame: Frame, path: str) -> Outcome:
        config = self._render(self._program.code(node).config, node, frame).value
        raise RunEnded(config.get("output"), str(config.get("status", "completed")))

    def _skip(self, node: Node, frame: Frame) -> Record:
        """Record a step and everything inside it as skipped."""
        record = self._journal.skip(node, frame.path(node), now_text())
        frame.remember(node, record)
        for label, nodes in node.lists.items():
            if label not in HANDLERS:
                inside = frame.inside(node, None if label in ("steps", "branches") else label)
                for child in nodes:
                    self._skip(child, inside)
        return record

    # -- expressions ------------------------------------------------------------------------------------------

    def render(self, value: CompiledValue, frame: Frame) -> Rendered:
        """Render templates in a frame, counting operations. Raises ExpressionError."""
        return value.render(frame.scope, self._meter)

    def _render(self, value: CompiledValue, node: Node, frame: Frame) -> Rendered:
        try:
            return value.render(frame.scope, self._meter)
        except ExpressionError as error:
            raise expression_failure(node, frame.path(node), error) from error

    def _evaluate(self, expression: Expression, node: Node, frame: Frame) -> Json:
        try:
            return expression.evaluate(frame.scope, self._meter)
        except ExpressionError as error:
            raise expression_failure(node, frame.path(node), error) from error

    def _holds(self, expression: Expression, node: Node, frame: Frame) -> bool:
        try:
            return expression.evaluate_bool(frame.scope, self._meter)
        except ExpressionError as error:
            raise expression_failure(node, frame.path(node), error) from error


def _last_output(records: Sequence[Record]) -> Json:
    for record in reversed(records):
        if record["status"] == "completed":
            return record.get("output")
    return None


def _combined(errors: Sequence[BaseException]) -> BaseException:
    """One exception for a list whose steps ran on after a failure: the earliest, with all records in ``errors``."""
    for error in errors:
        if not isinstance(error, StepFailed):
            return error
    failures = [error for error in errors if isinstance(error, StepFailed)]
    if len(failures) == 1:
        return failures[0]
    return StepFailed(failures[0].error | {"errors": [failure.error for failure in failures]})


def _same(left: Json, right: Json) -> bool:
    """Equality of JSON values: true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _shift(place: dict[str, Json]) -> dict[str, Json]:
    """A late place in a function's config, as a place in its arguments."""
    head, *rest = place["path"]
    return place | {"path": rest if head == "args" else [0, *rest]}
