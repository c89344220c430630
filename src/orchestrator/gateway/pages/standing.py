"""How a task stands: for the reader, between those who vote, and in its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.gateway.pages.language import Language
from orchestrator.spec.acts.human_task import REJECT, folded
from orchestrator.spec.definition import Json
from orchestrator.spec.quorum import needs
from orchestrator.store.audit import Audited
from orchestrator.store.tasks import Task

Standing = Literal["may", "nobody", "barred", "voted", "not_asked", "closed"]
"""What the reader is to a task: ``nobody`` where they have not said who they are."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One decision of a quorum: who is for it, and how many are missing."""

    name: str
    label: str
    needed: int
    people: list[str]

    @property
    def missing(self) -> int:
        return max(0, self.needed - len(self.people))


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a task's history."""

    entry: Audited
    text: str
    comment: str | None


def standing(task: Task, person: str | None, votes: bool) -> Standing:
    """What ``person`` is to the task. ``votes``: whether several have to agree."""
    if task.status != "open":
        return "closed"
    if person is None:
        return "nobody"
    if _is_among(person, task.not_by or []):
        return "barred"
    if not votes:
        return "may"
    if _is_among(person, [str(vote["by"]) for vote in task.votes or []]):
        return "voted"
    return "may" if task.people is None or _is_among(person, task.people) else "not_asked"


def tallies(task: Task, history: Sequence[Audited], t: Language) -> list[Tally] | None:
    """How the votes stand; None where one person decides, as after an escalation."""
    if task.quorum is None or any(entry.action == "escalated" for entry in history):
        return None
    try:
        needed = needs(task.quorum, task.decision_names, None if task.people is None else len(task.people), REJECT)
    except ValueError:
        return None
    votes, labels = task.votes or [], dict(choices(task, t))
    return [
        Tally(name, labels[name], number, [str(vote["by"]) for vote in votes if vote["decision"] == name])
        for name, number in needed.items()
    ]


def not_yet(task: Task) -> list[str]:
    """Who is asked and has not voted."""
    voted = [str(vote["by"]) for vote in task.votes or []]
    return [person for person in task.people or [] if not _is_among(person, voted)]


def label_in(t: Language) -> Callable[[Task, str], str]:
    """What people see of a decision: the author's word, or the reader's for one of the usual names."""

    def label_of(task: Task, decision: str) -> str:
        return dict(choices(task, t)).get(decision, decision)

    return label_of


def choices(task: Task, t: Language) -> list[tuple[str, str]]:
    """Names of the decisions with what buttons say."""
    found = []
    for one in task.decisions:
        name = str(one["name"] if isinstance(one, Mapping) else one)
        label = str(one.get("label") or name) if isinstance(one, Mapping) else name
        own = f"inbox.decide_{name}"
        found.append((name, t(own) if label == name and t.has(own) else label))
    return found


def comment_needed(task: Task) -> Literal["all", "some", "none"]:
    """For how many of the decisions a comment is needed."""
    needed = [name for name in task.decision_names if name in (task.comment_required or [])]
    return "none" if not needed else "all" if len(needed) == len(task.decision_names) else "some"


def events(task: Task, history: Sequence[Audited], t: Language) -> list[Event]:
    """The history in words, newest first."""
    words = dict(choices(task, t))
    return [_event(entry, words, t) for entry in reversed(history)]


def _event(entry: Audited, words: Mapping[str, str], t: Language) -> Event:
    details: Mapping[str, Json] = entry.details if isinstance(entry.details, Mapping) else {}
    to = details.get("to") or details.get("people") or details.get("assignee") or details.get("group") or ""
    decision = str(details.get("decision") or "")
    about = {
        "by": entry.by or t("inbox.somebody"),
        "to": ", ".join(str(one) for one in to) if isinstance(to, list) else str(to),
        "before": str(details.get("from") or ""),
        "decision": words.get(decision, decision),
    }
    key = f"inbox.did_{entry.action}"
    if entry.action == "decided" and details.get("automatic"):
        key = "inbox.did_decided_itself"
    elif entry.action == "expired" and decision:
        key = "inbox.did_expired_decided"
    said = details.get("comment") or details.get("error")
    return Event(entry, t(key, **about) if t.has(key) else entry.action, None if said is None else str(said))


def _is_among(name: str, people: Sequence[str]) -> bool:
    return folded(name) in [folded(person) for person in people]
