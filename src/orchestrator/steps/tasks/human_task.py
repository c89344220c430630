"""The ``human-task`` step's part outside the workflow: the task that people see is opened, kept up to date and closed
in the store, and everything that happens to it is audited. The waiting itself is the engine's."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from orchestrator.errors import NotFound, StepError, TerminalError, Unavailable
from orchestrator.spec.acts.human_task import REJECT, HumanTaskConfig, folded
from orchestrator.spec.base import Spec
from orchestrator.spec.people import people_behind
from orchestrator.spec.project import Project
from orchestrator.spec.quorum import needs
from orchestrator.steps.context import STORE, StepContext
from orchestrator.steps.tasks.links import TOPIC
from orchestrator.steps.tasks.news import Tell, tell_people
from orchestrator.store.audit import Entry
from orchestrator.store.database import Store
from orchestrator.store.tasks import NewTask, Task

Json = Any

TYPE = "human-task"
CONFIG = HumanTaskConfig


class Note(Spec):
    """Something that has happened to an open task: what its history keeps, once by ``number``."""

    number: int
    action: Literal["commented", "delegated", "escalated", "reminded", "voted"]
    at: str
    by: str | None = None
    comment: str | None = None
    decision: str | None = None
    to: list[str] = Field(default=[])
    before: str | None = Field(default=None, alias="from")


class Now(Spec):
    """How a task stands."""

    assignee: str | None = None
    group: str | None = None
    deadline: str | None = None
    votes: list[dict[str, Json]] = Field(default=[])


class Noting(Spec):
    """What has happened to the task at ``path`` since it was told last."""

    path: str = Field(min_length=1)
    notes: list[Note] = Field(default=[])
    now: Now | None = None


class Closing(Noting):
    """How a task ended. ``path`` is the task's own path."""

    status: Literal["decided", "expired", "cancelled"]
    decision: str | None = None
    data: Json = None
    comment: str | None = None
    by: str | None = None
    automatic: bool = False
    at: str | None = None
    """ISO instant."""


async def open_task(config: HumanTaskConfig, context: StepContext, deadline: str | None = None) -> Json:
    """Put the task where people find it, and return its row as JSON. Doing it twice leaves one task.

    ``deadline`` is the ISO instant the engine computed. A task that nobody could ever decide is not opened:
    ``{"refused": why}``. Raises StepError ``store_unavailable``.
    """
    people = people_of(context.project, config)
    if config.quorum is not None:
        try:
            needs(config.quorum, config.decision_names(), None if people is None else len(people), REJECT)
        except ValueError as error:
            return {"refused": f"config.quorum: {error}"}
    elif people == [] and config.not_by is not None:
        return {"refused": "config.not_by: everybody who is asked may not decide"}
    task = NewTask(
        run_id=context.run_id,
        flow=context.flow,
        step=context.step_id,
        path=context.path,
        title=config.title or context.step_id,
        instructions=config.instructions,
        assignee=config.assignee,
        group=config.group,
        form=config.form,
        decisions=list(config.labelled()),
        deadline=_moment(deadline),
        attachments=[one.model_dump() for one in config.attachments] if config.attachments is not None else None,
        comment_required=config.comment_required or None,
        quorum=config.quorum,
        not_by=config.barred() or None,
        people=people,
    )
    store = _store(context)
    about = {"assignee": task.assignee, "group": task.group, "deadline": deadline, "people": people}
    entry = Entry("opened", "opened", details={key: value for key, value in about.items() if value is not None})
    try:
        opened = await store.tasks.open(task)
        await store.audit.add(TOPIC, opened.id, entry)
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    return _shown(opened) | ({} if people is None else {"people": people})


run = open_task


async def close_task(closing: dict[str, Json], context: StepContext) -> Json:
    """Write how the task ended, as ``Closing`` says; a task that is closed keeps its first end. A task that
    was never opened (the run was cancelled before) is left alone and None is returned. Raises StepError
    ``store_unavailable``."""
    end = Closing.model_validate(closing)
    store = _store(context)
    task_id = f"{context.run_id}:{end.path}"
    about = {"decision": end.decision, "comment": end.comment, "automatic": end.automatic or None}
    entry = Entry("closed", end.status, end.by, _moment(end.at), {k: v for k, v in about.items() if v is not None})
    try:
        await _kept(store, task_id, end)
        closed = await store.tasks.close(
            task_id,
            status=end.status,
            decision=end.decision,
            data=end.data,
            comment=end.comment,
            by=end.by,
            automatic=end.automatic,
            decided_at=_moment(end.at),
        )
        await store.audit.add(TOPIC, task_id, entry)
    except NotFound:
        return None
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    return _shown(closed)


async def note_task(noting: dict[str, Json], context: StepContext, tell: Tell | None = None) -> Json:
    """Write what has happened to an open task, as ``Noting`` says, and tell the people it concerns with ``tell``.
    Doing it twice writes it once. Raises StepError ``store_unavailable``, and what ``tell`` raises at first."""
    told = Noting.model_validate(noting)
    store = _store(context)
    try:
        task = await _kept(store, f"{context.run_id}:{told.path}", told)
        for note in told.notes:
            words = _news(note, task) if task is not None and task.status == "open" else None
            if task is not None and words is not None and tell is not None:
                await tell_people(store, task, f"note-{note.number}", note.to, words, context, tell)
    except NotFound:
        return None
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    return {"noted": len(told.notes)}


def _news(note: Note, task: Task) -> str | None:
    """What the people are told to whom a note is addressed; None where it is only kept."""
    title = f"'{task.title or task.step}'"
    until = "" if task.deadline is None else f" until {task.deadline:%Y-%m-%d %H:%M} UTC"
    match note.action:
        case "reminded":
            return f"{title} still waits for your decision{until}"
        case "escalated":
            return f"{title} is yours to decide{until}: {note.before} did not in time"
        case "delegated":
            why = f": {note.comment}" if note.comment else ""
            return f"{note.by} has handed {title} on to you{until}{why}"
    return None


async def _kept(store: Store, task_id: str, told: Noting) -> Task | None:
    """The task as it is now, where that was told."""
    task = None
    if told.now is not None:
        now = told.now
        task = await store.tasks.update(
            task_id,
            assignee=now.assignee,
            group=now.group,
            deadline=_moment(now.deadline),
            votes=now.votes or None,
            people=_asked_now(await store.tasks.get(task_id), told.notes),
        )
    if told.notes:
        await store.audit.add(TOPIC, task_id, *(_entry(note) for note in told.notes))
    return task


def _asked_now(task: Task, notes: list[Note]) -> list[str] | None:
    """Who is asked after all that has happened. Counting the same notes twice changes nothing."""
    people = task.people
    for note in notes:
        if note.action == "escalated":
            people = None
        elif note.action == "delegated" and people is not None and task.quorum is not None:
            people = [note.to[0] if folded(person) == folded(note.by or "") else person for person in people]
        elif note.action == "delegated":
            people = note.to
    return people


def _entry(note: Note) -> Entry:
    about = {"comment": note.comment, "decision": note.decision, "from": note.before, "to": note.to or None}
    details = {key: value for key, value in about.items() if value is not None}
    return Entry(f"note-{note.number}", note.action, note.by, _moment(note.at), details)


def people_of(project: Project, config: HumanTaskConfig) -> list[str] | None:
    """Who is asked, without those who may not decide: the members of a declared group and of groups among them, or the
    declared contact itself. None where the name is free text."""
    people = people_behind(project.contacts, config.assignee or config.group or "")
    return None if people is None else [person for person in people if not config.is_barred(person)]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _store(context: StepContext) -> Store:
    found: Store | None = context.resources.lent(STORE)
    if found is None:
        raise TerminalError("store_missing", "this worker has no store, so it cannot keep human tasks")
    return found


def _shown(task: Task) -> Json:
    return {
        "task_id": task.id,
        "status": task.status,
        "title": task.title,
        "assignee": task.assignee or task.group,
    }
