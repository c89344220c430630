"""Telling people about their tasks: reminders, escalations and delegations go to the contact's own channels."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from orchestrator.errors import StepError
from orchestrator.steps.context import StepContext
from orchestrator.steps.tasks.links import ANY, TOPIC, make_links
from orchestrator.store.audit import Entry
from orchestrator.store.database import Store
from orchestrator.store.tasks import Task

Json = Any
Tell = Callable[[dict[str, Json], StepContext], Awaitable[Json]]
"""Sends a ``notification`` with this config. Raises StepError."""

_CHANNELS = ("email", "slack", "webhook", "members")
_ATTEMPTS = 3
"""How often a channel is tried: a task goes on whether somebody could be told or not."""


async def tell_people(
    store: Store,
    task: Task,
    news: str,
    people: list[str],
    message: str,
    context: StepContext,
    tell: Tell,
) -> None:
    """Tell everybody who has a channel, once; that it was done, or could not be, is audited. ``news`` is the name of
    what happened. Raises StepError where another attempt may help, and Unavailable."""
    for person in people:
        name = f"{news} told to {person}"
        if not _has_channel(context, person) or await store.audit.find(TOPIC, task.id, name) is not None:
            continue
        config = {"target": person, "message": message, "data": await _about(store, task, person, context)}
        alone = replace(context, idempotency_key=f"{context.idempotency_key}/{news}/{person}")
        entry = Entry(name, "notified", details={"to": [person]})
        try:
            await tell(config, alone)
        except StepError as error:
            if error.retryable and context.attempt < _ATTEMPTS:
                raise
            why = f"{error.type}: {context.secrets.mask_text(error.message)}"
            entry = Entry(name, "not_notified", details={"to": [person], "error": why})
        await store.audit.add(TOPIC, task.id, entry)


def _has_channel(context: StepContext, person: str) -> bool:
    contact = context.project.contacts.get(person)
    return isinstance(contact, dict) and any(contact.get(channel) for channel in _CHANNELS)


async def _about(store: Store, task: Task, person: str, context: StepContext) -> dict[str, Json]:
    """What goes with the message: for a person also the link behind which they decide. A group's channel gets none,
    because a link decides in the name of one person."""
    about: dict[str, Json] = {"task": task.id, "instructions": task.instructions, "deadline": _shown(task.deadline)}
    if person != task.group:
        links = await make_links(store, context.settings, task, person)
        about["link"] = next(link.url for link in links if (link.decision or ANY) == ANY)
    return {key: value for key, value in about.items() if value is not None}


def _shown(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
