"""What people may send to a human task, and why not: every refusal is in words for the person who sent it."""

from __future__ import annotations

import re

from orchestrator.spec.acts.human_task import (
    BARRED,
    DECIDED_ALREADY,
    NOT_ASKED,
    NOT_HELD,
    REJECT,
    HumanTaskConfig,
    folded,
)
from orchestrator.spec.definition import Json
from orchestrator.spec.findings import kind_of
from orchestrator.spec.inputs import check_json

COMMENT = "comment"
DELEGATE = "delegate"
"""What an ``action`` can be; a message with a ``decision`` has none."""
MOST_VALUES = 5_000
"""Members, items and scalars of one answer."""
_HALF = re.compile("[\ud800-\udfff]")


def is_among(name: str, people: list[str]) -> bool:
    """Whether somebody is one of them, however the name is written."""
    return folded(name) in [folded(person) for person in people]


def action_of(message: Json) -> str | None:
    """What a message does instead of deciding; None for a decision."""
    if isinstance(message, dict) and "decision" not in message and "action" in message:
        return str(message["action"])
    return None


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
    if (unfit := unfit_for_store(message)) is not None:
        return unfit
    if (barred := _barred(task, message.get("by"))) is not None:
        return barred
    data = message.get("data")
    if task.form and not (data is None and chosen == REJECT):
        problems = check_json(task.form, {} if data is None else data)
        if problems:
            return "; ".join(f"data.{problem.field}: {problem.message}" for problem in problems)
    return None


def _barred(task: HumanTaskConfig, by: Json) -> str | None:
    if task.is_barred(by):
        return f"{by.strip()} {BARRED}; somebody else has to"
    if not (by or "").strip() and (task.not_by is not None or task.quorum is not None):
        return "say who decides: give `by`"
    return None


def refuse_vote(by: str, people: list[str] | None, votes: list[dict[str, Json]]) -> str | None:
    """Why a person's vote does not count; None when it does. ``people`` is who may vote, None: anybody with a name."""
    given = next((vote for vote in votes if is_among(by, [vote["by"]])), None)
    if given is not None:
        return f"{given['by']} has {DECIDED_ALREADY}: {given['decision']}"
    if people is not None and not is_among(by, people):
        return f"{by.strip()} {NOT_ASKED}; those who are: {', '.join(people)}"
    return None


def refuse_action(
    task: HumanTaskConfig, message: dict[str, Json], people: list[str] | None, votes: list[dict[str, Json]]
) -> str | None:
    """Why a comment or a delegation cannot be taken; None when it can. ``people`` is who has the task, None: nobody
    knows who that name is."""
    action = message["action"]
    if action not in (COMMENT, DELEGATE):
        return f"action {action!r} is not one of {COMMENT}, {DELEGATE}; to decide, send a `decision`"
    wrong = next((key for key in ("comment", "by", "to") if not isinstance(message.get(key), str | None)), None)
    if wrong is not None:
        return f"`{wrong}` is text, and not {kind_of(message[wrong])}"
    if (unfit := unfit_for_store(message)) is not None:
        return unfit
    if action == COMMENT:
        return None if message.get("comment") else "a comment is a text: give `comment`"
    by, to = (message.get("by") or "").strip(), (message.get("to") or "").strip()
    if not by or not to:
        return "to hand a task on, give `by` and `to`"
    if task.is_barred(to):
        return f"{to} {BARRED}; hand it on to somebody else"
    if people is None:
        return None
    if not is_among(by, people):
        return f"{by} {NOT_HELD}, and cannot hand it on; {', '.join(people)} can"
    if is_among(to, people):
        return f"{to} has this task already"
    if any(is_among(vote["by"], [by, to]) for vote in votes):
        return f"{by} or {to} has {DECIDED_ALREADY}"
    return None


def unfit_for_store(message: Json) -> str | None:
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
