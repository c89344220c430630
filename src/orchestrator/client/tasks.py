"""Human tasks from outside: decided, commented, handed on, and what happened to them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import temporalio.client
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError

from orchestrator.client.connection import temporal_errors
from orchestrator.client.run import Run
from orchestrator.errors import Conflict, FieldProblem, InputsInvalid, NotFound, Refused, Unavailable
from orchestrator.settings import Settings
from orchestrator.spec.acts.human_task import BARRED, DECIDED_ALREADY, NOT_ASKED, NOT_HELD
from orchestrator.spec.definition import Json
from orchestrator.spec.inputs import check_json
from orchestrator.steps.tasks.links import TOPIC, MadeLink, TaskLink, make_links, read_link
from orchestrator.store.audit import Audited, Entry
from orchestrator.store.database import Store
from orchestrator.store.tasks import Task

_TIMEOUT = timedelta(seconds=10)
_TRIES = 20
_PAUSE = 0.15
"""How often, and after how many seconds, a run is asked again that is about to continue as new."""
_NOT_READY = "is waiting now"


@dataclass(frozen=True, slots=True)
class LinkedTask:
    """What a link leads to."""

    link: TaskLink
    task: Task


class TaskDesk:
    """What people do with tasks. Every answer goes through the task's run, which takes or refuses it at once."""

    def __init__(self, temporal: temporalio.client.Client, store: Store, settings: Settings) -> None:
        self._temporal = temporal
        self._store = store
        self._settings = settings

    async def decide(
        self, task_id: str, decision: str, data: Json = None, comment: str | None = None, by: str | None = None
    ) -> dict[str, Json]:
        """Decide an open task, or vote on one that needs several.

        Raises NotFound, InputsInvalid for a decision or data the task does not know, Refused where this person may not
        decide, Conflict when it is closed or this person has decided, Unavailable when no worker answers.
        """
        task = await self._open_task(task_id)
        _check_decision(task, decision, data)
        message = {"decision": decision, "data": data, "comment": comment, "by": by}
        return await self._tell(task, message, "decision")

    async def comment(self, task_id: str, comment: str, by: str | None = None) -> dict[str, Json]:
        """Say something about an open task without deciding it. Raises as ``decide`` does."""
        task = await self._open_task(task_id)
        return await self._tell(task, {"action": "comment", "comment": comment, "by": by}, "comment")

    async def delegate(self, task_id: str, to: str, by: str, comment: str | None = None) -> dict[str, Json]:
        """Hand an open task on to somebody else. Raises as ``decide`` does."""
        task = await self._open_task(task_id)
        message = {"action": "delegate", "to": to, "by": by, "comment": comment}
        return await self._tell(task, message, "to")

    async def history(self, task_id: str) -> list[Audited]:
        """What has happened to a task, oldest first. Raises NotFound."""
        await self._store.tasks.get(task_id)
        return await self._store.audit.of(TOPIC, task_id)

    async def links(
        self, task_id: str, person: str, lasts: timedelta | None = None, by: str | None = None
    ) -> list[MadeLink]:
        """Links with which ``person`` can decide an open task, once. Raises NotFound, Conflict."""
        task = await self._open_task(task_id)
        return await make_links(self._store, self._settings, task, person, lasts=lasts, by=by)

    async def linked(self, token: str) -> LinkedTask:
        """What the link of this token leads to. Raises NotFound for a token that is none of ours, Conflict where it
        has expired, was used, or the task is closed."""
        link = await read_link(self._store, token)
        if link is None:
            raise NotFound("this is no link of ours: it was cut off, changed, or signed by another store")
        if link.expires_at <= datetime.now(UTC):
            raise Conflict(f"this link has expired at {link.expires_at:%Y-%m-%d %H:%M} UTC; ask for a new one")
        used = await self._store.audit.find(TOPIC, link.task_id, link.name)
        if used is not None:
            raise Conflict(f"this link was used at {used.at:%Y-%m-%d %H:%M} UTC, and it can be used once")
        return LinkedTask(link, await self._open_task(link.task_id))

    async def decide_linked(
        self, token: str, decision: str | None = None, data: Json = None, comment: str | None = None
    ) -> dict[str, Json]:
        """Decide with a link, as the person it was made for; it counts once. ``decision`` is for links that leave it
        open. Raises as ``linked`` and ``decide`` do."""
        found = await self.linked(token)
        link = found.link
        chosen = link.decision or decision
        if chosen is None:
            raise InputsInvalid(found.task.flow, [FieldProblem("decision", "choose one")])
        # Whoever comes second meanwhile is refused by the run: the task is decided, or this person has voted.
        answer = await self.decide(link.task_id, chosen, data, comment, link.person)
        await self._store.audit.add(
            TOPIC, link.task_id, Entry(link.name, "link_used", link.person, details={"decision": chosen})
        )
        return answer

    async def _open_task(self, task_id: str) -> Task:
        task = await self._store.tasks.get(task_id)
        if task.status != "open":
            who = f" by {task.by}" if task.by else ""
            when = f" at {task.decided_at:%Y-%m-%d %H:%M} UTC" if task.decided_at else ""
            raise Conflict(f"the task '{task_id}' is {task.status} already{who}{when}")
        return task

    async def _tell(self, task: Task, message: dict[str, Json], field: str) -> dict[str, Json]:
        run = Run(self._temporal, task.run_id)
        try:
            return await self._update(run, task, message | {"task": task.id})
        except WorkflowUpdateFailedError as error:
            reason = str(error.cause).removeprefix("refused: ")
            if any(words in reason for words in (BARRED, NOT_ASKED, NOT_HELD)):
                raise Refused(f"the task '{task.id}': {reason}") from error
            if DECIDED_ALREADY not in reason and await _still_waits(run, task):
                raise InputsInvalid(task.flow, [FieldProblem(field, reason)]) from error
            raise Conflict(f"the task '{task.id}' cannot be decided now: {reason}") from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise Unavailable(
                f"no worker answers for run '{task.run_id}': start one with `orchestrator worker`; "
                "the answer may still be taken when one comes"
            ) from error
        except NotFound as error:
            raise Conflict(f"the run of task '{task.id}' is over") from error

    async def _update(self, run: Run, task: Task, message: dict[str, Json]) -> dict[str, Json]:
        """Tell the run; again after a moment where it does not wait yet, or begins its next execution."""
        for left in reversed(range(_TRIES)):
            try:
                with temporal_errors(self._temporal, run_id=task.run_id):
                    answer: Any = await run.handle.execute_update(task.step, message, rpc_timeout=_TIMEOUT)
                return answer if isinstance(answer, dict) else {"accepted": True}
            except WorkflowUpdateFailedError as error:
                if not left or _NOT_READY not in str(error.cause) or not await self._is_open(task.id):
                    raise
            await asyncio.sleep(_PAUSE)
        raise AssertionError("the last try returns or raises")

    async def _is_open(self, task_id: str) -> bool:
        return (await self._store.tasks.get(task_id)).status == "open"


async def _still_waits(run: Run, task: Task) -> bool:
    try:
        state = await run.state()
    except (Unavailable, NotFound, TimeoutError):
        return False
    return any(wait.get("path") == task.path for wait in state["waits"])


def _check_decision(task: Task, decision: str, data: Json) -> None:
    problems: list[FieldProblem] = []
    if decision not in task.decision_names:
        names = ", ".join(task.decision_names)
        problems.append(FieldProblem("decision", f"'{decision}' is not one of {names}"))
    if task.form and data is not None:
        problems += [FieldProblem(f"data.{p.field}", p.message) for p in check_json(task.form, data)]
    if problems:
        raise InputsInvalid(task.flow, problems)
