"""Human tasks: the task is opened and closed in the store by activities; the waiting is one future and one timer."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

from pydantic import ValidationError
from temporalio.exceptions import ActivityError, is_cancelled_exception

from orchestrator.engine.activities import Call, Outcome
from orchestrator.engine.clock import now_text
from orchestrator.engine.constructs.made import is_made
from orchestrator.engine.failures import RunEnded, StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.gate import shielded
from orchestrator.engine.inbox import Receiver, new_future
from orchestrator.engine.run import Walk
from orchestrator.engine.waits import Wait
from orchestrator.spec.acts.human_task import REJECT, HumanTaskConfig
from orchestrator.spec.call import CLOSE_TASK
from orchestrator.spec.definition import Json, Node, Retry, Timeout
from orchestrator.spec.findings import kind_of
from orchestrator.spec.inputs import check_json, check_schema

Decision = dict[str, Json]

PERSISTENT = Retry(max_attempts=1000, max_interval=60.0, on=("*",))
"""Opening and closing a task outlives an outage of the store."""
MOST_VALUES = 5_000
"""Members, items and scalars of one answer."""
_HALF = re.compile("[\ud800-\udfff]")


async def human_task(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Open the task, wait for a decision or the deadline, close it. Raises StepFailed ``rejected`` or
    ``deadline_exceeded`` and RunEnded as the author chose."""
    rendered = walk.render(walk.program.code(node).config, node, frame)
    if is_made(frame) and not walk.run.journal.state(path).get("opened"):
        # An author's tasks are known before they open, and early decisions count; nobody knows what an agent will ask.
        walk.run.inbox.forget(node.id, path)
    return await _Task(walk, node, path, rendered.value).run()


class _Task:
    """One task. What is decided stands in its state, so that it survives continue-as-new."""

    def __init__(self, walk: Walk, node: Node, path: str, config: dict[str, Json]) -> None:
        self._run = walk.run
        self._plans = walk.program.plans
        self._node = node
        self._path = path
        self._config = config
        self._task = _checked(node, path, config)
        self._state = walk.run.journal.state(path)
        self._answer = new_future()

    async def run(self) -> Outcome:
        """The step's output."""
        state, clock = self._state, self._run.clock
        if "due" not in state:
            state["due"] = None if self._task.deadline is None else clock.after(self._task.deadline)
        due = None if state["due"] is None else clock.text(state["due"])
        try:
            decision = await self._decision(due)
        except asyncio.CancelledError:
            await shielded(self._close({"status": "cancelled"}))
            raise
        await shielded(self._close(_closing(decision)))
        return self._conclude(decision)

    async def _decision(self, due: str | None) -> Decision:
        """Who decides before the task is written decides too: it may be seen a moment before we know of it."""
        assignee = self._task.assignee or self._task.group
        receiver = Receiver(self._refusal, self._take, lambda: "message" in self._state)
        if "message" not in self._state:
            self._run.inbox.open(self._node.id, self._path, receiver)
        try:
            if not self._state.get("opened"):
                await self._run.activities.run(self._call(self._path, "human-task", [self._config, due]))
                self._state["opened"] = True
            with self._run.waits.open(Wait(self._path, self._node.id, "human-task", due, assignee)):
                await self._decided()
        finally:
            self._run.inbox.close(self._node.id, self._path)
        return _record(self._state.get("message"), self._state.get("at") or now_text(), due)

    async def _decided(self) -> None:
        if "message" in self._state:
            return
        if self._state["due"] is None:
            await self._answer
        else:
            await self._run.clock.first(self._answer, self._state["due"], f"deadline of {self._node.id}")

    def _refusal(self, message: Json) -> str | None:
        return "the task is decided already" if "message" in self._state else refuse(self._task, message)

    def _take(self, message: Json) -> None:
        self._state.update(message=message, at=now_text())
        self._answer.set_result(message)

    async def _close(self, closing: dict[str, Json]) -> None:
        """Write the end of the task, also while the run is being cancelled."""
        arguments = [closing | {"path": self._path, "at": now_text()}]
        try:
            await self._run.activities.run(self._call(f"{self._path}#close", CLOSE_TASK, arguments))
        except ActivityError as failed:
            if not is_cancelled_exception(failed):
                raise

    def _call(self, path: str, kind: str, args: list[Json]) -> Call:
        bookkeeping = replace(self._node, timeout=Timeout(attempt=30.0), output_schema=None, task_queue=None)
        return Call(bookkeeping, path, kind, args, retry=PERSISTENT, plans=self._plans)

    def _conclude(self, decision: Decision) -> Outcome:
        chosen = decision["decision"]
        if decision["automatic"]:
            return self._expired(decision)
        if chosen == REJECT and self._task.on_reject != "continue":
            if self._task.on_reject == "cancel":
                raise RunEnded(None, "cancelled")
            comment = f": {decision['comment']}" if decision.get("comment") else ""
            message = f"{decision.get('by') or 'somebody'} rejected '{self._node.id}'{comment}"
            raise StepFailed(error_record(self._node, self._path, "rejected", message, data=decision))
        return Outcome(decision)

    def _expired(self, decision: Decision) -> Outcome:
        on_deadline = self._task.on_deadline
        if on_deadline == "cancel":
            raise RunEnded(None, "cancelled")
        if on_deadline == "fail":
            message = f"nobody decided '{self._node.id}' before its deadline {decision['due']}"
            raise StepFailed(error_record(self._node, self._path, "deadline_exceeded", message))
        chosen = None if isinstance(on_deadline, str) else getattr(on_deadline, "decide", None)
        return Outcome(decision | {"decision": chosen})


def _checked(node: Node, path: str, config: dict[str, Json]) -> HumanTaskConfig:
    try:
        task = HumanTaskConfig.model_validate(config)
    except ValidationError as error:
        raise _invalid(node, path, error) from error
    if (unfit := _unfit(config)) is not None:
        raise StepFailed(error_record(node, path, "invalid_config", f"the task cannot be written: {unfit}"))
    wrong = check_schema(task.form) if task.form else None
    if wrong is not None:
        # Found now and not when somebody answers: an error inside a message would stick the run.
        raise StepFailed(error_record(node, path, "invalid_config", f"config.form cannot be used: {wrong[1]}"))
    return task


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
    wrong = next((key for key in ("comment", "by") if not isinstance(message.get(key), str | None)), None)
    if wrong is not None:
        return f"`{wrong}` is text, and not {kind_of(message[wrong])}"
    if (unfit := _unfit(message)) is not None:
        return unfit
    data = message.get("data")
    if task.form and not (data is None and chosen == REJECT):
        problems = check_json(task.form, {} if data is None else data)
        if problems:
            return "; ".join(f"data.{problem.field}: {problem.message}" for problem in problems)
    return None


def _unfit(message: Json) -> str | None:
    """Why an answer cannot be kept or checked: more than can be looked at while a message is handled, or text that no
    database takes."""
    rest, seen = [message], 0
    while rest:
        value = rest.pop()
        seen += 1
        if seen > MOST_VALUES:
            return f"it holds more than {MOST_VALUES} values; keep large data elsewhere and answer with a reference"
        if isinstance(value, dict):
            rest += [*value, *value.values()]
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, str) and not _is_storable(value):
            return "its text holds a NUL or half a character (\\ud800 to \\udfff without its pair)"
    return None


def _is_storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not _HALF.search(text))


def _record(message: Json, at: str, due: str | None) -> Decision:
    """The output of a human-task step (FLOW_FORMAT §4)."""
    given = message or {}
    return {
        "decision": given.get("decision"),
        "data": given.get("data"),
        "comment": given.get("comment"),
        "by": given.get("by"),
        "at": at,
        "automatic": message is None,
        "due": due,
    }


def _closing(decision: Decision) -> dict[str, Json]:
    status = "expired" if decision["automatic"] else "decided"
    return {"status": status} | {key: decision[key] for key in ("decision", "data", "comment", "by", "automatic")}


def _invalid(node: Node, path: str, error: ValidationError) -> StepFailed:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return StepFailed(error_record(node, path, "invalid_config", f"config.{where}: {first['msg']}"))
