"""Addresses at which one person can decide one task, once, until they expire: for mail and chat."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from orchestrator.security import tokens
from orchestrator.settings import Settings
from orchestrator.store.audit import Entry
from orchestrator.store.database import Store
from orchestrator.store.tasks import Task

PURPOSE = "task-link"
"""Name of the signing key."""
LINKS = "/v1/task-links"
"""Where the gateway takes them."""
ANY = ""
"""The decision of a link behind which the person chooses."""
TOPIC = "task"
"""What the audit calls tasks."""
LONGEST = timedelta(days=90)
_WITHOUT_DEADLINE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class TaskLink:
    """What a link's token says. Without ``decision`` the person chooses."""

    task_id: str
    decision: str | None
    person: str
    expires_at: datetime
    name: str
    """Of the audit's entry that it was used."""


@dataclass(frozen=True, slots=True)
class MadeLink:
    """A link for one decision; for None the person chooses behind it."""

    decision: str | None
    label: str
    url: str
    expires_at: datetime


async def make_links(
    store: Store,
    settings: Settings,
    task: Task,
    person: str,
    *,
    lasts: timedelta | None = None,
    by: str | None = None,
) -> list[MadeLink]:
    """A link for every decision of the task, and one behind which ``person`` chooses. They last until the task's
    deadline, or a week. That they were given out is audited. Raises Unavailable."""
    key = await store.keys.get(PURPOSE)
    now = datetime.now(UTC)
    until = now + lasts if lasts else task.deadline or now + _WITHOUT_DEADLINE
    expires = min(until, now + LONGEST).replace(microsecond=0) + timedelta(seconds=1)
    base = f"{settings.gateway_url}{LINKS}"
    made = []
    for decision, label in [*_labelled(task.decisions), (ANY, task.title or task.step)]:
        token = tokens.sign(key, [task.id, decision, person, str(int(expires.timestamp()))])
        made.append(MadeLink(decision or None, label, f"{base}/{token}", expires))
    about = {"to": [person], "expires_at": expires.isoformat()}
    name = f"links for {person} until {int(expires.timestamp())}"
    await store.audit.add(TOPIC, task.id, Entry(name, "links_given", by, details=about))
    return made


async def read_link(store: Store, token: str) -> TaskLink | None:
    """What a token says, expired or not; None where we did not make it. Raises Unavailable."""
    parts = tokens.read(await store.keys.get(PURPOSE), token)
    if parts is None or len(parts) != 4 or not re.fullmatch(r"\d{1,11}", parts[3]):
        return None
    task_id, decision, person, expires = parts
    name = f"link {hashlib.sha256(token.encode()).hexdigest()}"
    return TaskLink(task_id, decision or None, person, datetime.fromtimestamp(int(expires), UTC), name)


def _labelled(decisions: Sequence[object]) -> list[tuple[str, str]]:
    return [
        (str(one["name"]), str(one.get("label") or one["name"])) if isinstance(one, dict) else (str(one), str(one))
        for one in decisions
    ]
