"""Human tasks: the task is opened and closed in the store by activities; the waiting is one future and one timer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from orchestrator.engine.activities import Activities, Call, Outcome
from orchestrator.engine.failures import RunEnded, StepFailed, error_record
from orchestrator.engine.inbox import Inbox, Receiver, new_future
from orchestrator.engine.together import CLEANED_UP_AFTER, settle
from orchestrator.spec.acts.human_task import REJECT, HumanTaskConfig
from orchestrator.spec.call import CLOSE_TASK
from orchestrator.spec.definition import Json, Node, Retry, Timeout
from orchestrator.spec.inputs import check_json, check_schema

Decision = dict[str, Json]

PERSISTENT = Retry(max_attempts=1000, max_interval=60.0, on=("*",))
"""Opening and closing a task outlives an outage of the store."""


@dataclass(frozen=True, slots=True)
class Wait:
    """An open wait, as the ``state`` query shows it."""

    path: str
    step: str
    kind: str
    until: str | None = None
    assignee: str | None = None

    def to_json(self) -> dict[str, Json]:
        """JSON without empty members."""
        shown = {
            "path": self.path,
            "step": self.step,
            "kind": self.kind,
            "until": self.until,
            "assignee": self.assignee,
        }
        if self.kind == "human-task":
            shown["task_id"] = f"{workflow.info().workflow_id}:{self.path}"
        return {key: value for key, value in shown.items() if value is not None}


class Waits:
    """The open waits of a run by path; ``changed`` is told after every change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._open: dict[str, Wait] = {}
        self._changed = changed

    @contextlib.contextmanager
    def open(self, wait: Wait) -> Iterator[None]:
        """The wait is open while the context is."""
        self._open[wait.path] = wait
        self._changed()
        try:
            yield
        except CLEANED_UP_AFTER:
            self._close(wait)
            raise
        self._close(wait)

    def _close(self, wait: Wait) -> None:
        del self._open[wait.path]
        self._changed()

    def all(self) -> list[Wait]:
        """Open waits in the order they opened."""
        return list(self._open.values())


class Tasks:
    """Runs the human-task steps of one run."""

    def __init__(self, activities: Activities, inbox: Inbox, waits: Waits) -> None:
        self._activities = activities
        self._inbox = inbox
        self._waits = waits

    async def run(self, node: Node, path: str, config: dict[str, Json]) -> Outcome:
        """Open the task, wait for a decision or the deadline, close it. Raises StepFailed ``rejected`` or
        ``deadline_exceeded`` and RunEnded as the author chose."""
        try:
            task = HumanTaskConfig.model_validate(config)
        except ValidationError as error:
            raise _invalid(node, path, error) from error
        wrong = check_schema(task.form) if task.form else None
        if wrong is not None:
            # Found now and not when somebody answers: an error inside a message would stick the run.
            raise StepFailed(error_record(node, path, "invalid_config", f"config.form cannot be used: {wrong[1]}"))
        due = None if task.deadline is None else workflow.now() + timedelta(seconds=task.deadline)
        await self._activities.run(self._call(node, path, "human-task", [config, _text(due)]))
        try:
            decision = await self._decision(node, path, task, due)
        except asyncio.CancelledError:
            await self._close(node, path, {"status": "cancelled"})
            raise
        await self._close(node, path, _closing(decision))
        return self._conclude(node, path, task, decision)

    async def _decision(self, node: Node, path: str, task: HumanTaskConfig, due: datetime | None) -> Decision:
        answer = new_future()

        def refusal(message: Json) -> str | None:
            return "the task is decided already" if answer.done() else refuse(task, message)

        assignee = task.assignee or task.group
        with self._waits.open(Wait(path, node.id, "human-task", _text(due), assignee)):
            self._inbox.open(node.id, Receiver(refusal, answer.set_result))
            try:
                message = await _until(answer, due, f"deadline of {node.id}")
            finally:
                self._inbox.close(node.id)
        return _record(message, _text(due))

    async def _close(self, node: Node, path: str, closing: dict[str, Json]) -> None:
        """Write the end of the task, also while the run is being cancelled."""
        arguments = [closing | {"path": path, "at": _text(workflow.now())}]
        work = asyncio.create_task(self._activities.run(self._call(node, f"{path}#close", CLOSE_TASK, arguments)))
        interrupted: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await workflow.wait([work])
            except asyncio.CancelledError as error:
                interrupted = error
        failed = None if work.cancelled() else work.exception()
        if interrupted is not None:
            raise interrupted
        if failed is not None and not is_cancelled_exception(failed):
            raise failed

    def _call(self, node: Node, path: str, kind: str, args: list[Json]) -> Call:
        bookkeeping = replace(node, timeout=Timeout(attempt=30.0), output_schema=None, task_queue=None)
        return Call(bookkeeping, path, kind, args, retry=PERSISTENT)

    def _conclude(self, node: Node, path: str, task: HumanTaskConfig, decision: Decision) -> Outcome:
        chosen = decision["decision"]
        if decision["automatic"]:
            return self._expired(node, path, task, decision)
        if chosen == REJECT and task.on_reject != "continue":
            if task.on_reject == "cancel":
                raise RunEnded(None, "cancelled")
            comment = f": {decision['comment']}" if decision.get("comment") else ""
            message = f"{decision.get('by') or 'somebody'} rejected '{node.id}'{comment}"
            raise StepFailed(error_record(node, path, "rejected", message, data=decision))
        return Outcome(decision)

    def _expired(self, node: Node, path: str, task: HumanTaskConfig, decision: Decision) -> Outcome:
        if task.on_deadline == "cancel":
            raise RunEnded(None, "cancelled")
        if task.on_deadline == "fail":
            message = f"nobody decided '{node.id}' before its deadline {decision['due']}"
            raise StepFailed(error_record(node, path, "deadline_exceeded", message))
        chosen = None if isinstance(task.on_deadline, str) else getattr(task.on_deadline, "decide", None)
        return Outcome(decision | {"decision": chosen})


def refuse(task: HumanTaskConfig, message: Json) -> str | None:
    """Why a message cannot decide the task, in words for the person who sent it; None when it can."""
    if not isinstance(message, dict):
        return 'send an object such as {"decision": "approve"}'
    names = task.decision_names()
    chosen = message.get("decision")
    if chosen not in names:
        return f"decision {chosen!r} is not one of {', '.join(names)}"
    if chosen in task.comment_required and not message.get("comment"):
        return f"'{chosen}' needs a comment"
    data = message.get("data")
    if task.form and not (data is None and chosen == REJECT):
        problems = check_json(task.form, {} if data is None else data)
        if problems:
            return "; ".join(f"data.{problem.field}: {problem.message}" for problem in problems)
    return None


async def _until(answer: asyncio.Future[Json], due: datetime | None, summary: str) -> Json:
    """The answer, or None once ``due`` has passed."""
    if due is None:
        return await answer
    seconds = max(0.0, (due - workflow.now()).total_seconds())
    timer = asyncio.create_task(workflow.sleep(seconds, summary=summary))
    try:
        await workflow.wait([answer, timer], return_when=asyncio.FIRST_COMPLETED)
    except CLEANED_UP_AFTER:
        await settle([timer])
        raise
    await settle([timer])
    return answer.result() if answer.done() else None


def _record(message: Json, due: str | None) -> Decision:
    """The output of a human-task step (FLOW_FORMAT §4)."""
    given = message or {}
    return {
        "decision": given.get("decision"),
        "data": given.get("data"),
        "comment": given.get("comment"),
        "by": given.get("by"),
        "at": _text(workflow.now()),
        "automatic": message is None,
        "due": due,
    }


def _closing(decision: Decision) -> dict[str, Json]:
    status = "expired" if decision["automatic"] else "decided"
    return {"status": status} | {key: decision[key] for key in ("decision", "data", "comment", "by", "automatic")}


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")


def _invalid(node: Node, path: str, error: ValidationError) -> StepFailed:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return StepFailed(error_record(node, path, "invalid_config", f"config.{where}: {first['msg']}"))
