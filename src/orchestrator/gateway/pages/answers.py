"""What a person answers to a task by form: read, and everything that is wrong with it found at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo

from orchestrator.errors import FieldProblem
from orchestrator.gateway.pages.fields import Given, data_of, is_untouched
from orchestrator.spec.acts.human_task import REJECT
from orchestrator.spec.definition import Json
from orchestrator.spec.inputs import check_json
from orchestrator.store.tasks import Task

DATA = "data."
"""What a problem's field begins with where it is a part of the data."""


@dataclass(slots=True)
class Answer:
    """A decision with its data. ``problems`` are about ``decision``, ``comment`` or a part of the data, as in
    ``data.score``; with any of them it cannot be given."""

    decision: str
    data: Json = None
    comment: str | None = None
    problems: list[FieldProblem] = field(default_factory=list)


def answer_of(task: Task, given: Given, zone: tzinfo, decision: str | None = None) -> Answer:
    """What was answered. ``decision`` is one that the form did not ask for. Raises nothing."""
    chosen = decision or text_of(given.get("decision")) or ""
    answer = Answer(chosen, comment=text_of(given.get("comment")))
    if task.form and not (chosen == REJECT and is_untouched(task.form, given, zone)):
        answer.data, problems = data_of(task.form, given, zone)
        unread = {problem.field for problem in problems}
        problems += [one for one in check_json(task.form, answer.data) if one.field not in unread]
        answer.problems = [replace(one, field=f"{DATA}{one.field}") for one in problems]
    if chosen not in task.decision_names:
        answer.problems.append(FieldProblem("decision", "choose one"))
    elif chosen in (task.comment_required or []) and answer.comment is None:
        answer.problems.append(FieldProblem("comment", f"'{chosen}' needs a comment"))
    return answer


def about_data(problems: Sequence[FieldProblem]) -> list[FieldProblem]:
    """Those that are about the data, by their place in it."""
    return [replace(one, field=one.field.removeprefix(DATA)) for one in problems if one.field.startswith(DATA)]


def text_of(value: Json) -> str | None:
    """A text of a form; None where there is none."""
    text = value.replace("\r\n", "\n").strip() if isinstance(value, str) else ""
    return text or None
