"""Config of the ``human-task`` step (FLOW_FORMAT §5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.spec.base import ActConfig, Duration, Spec, act
from orchestrator.spec.quorum import Quorum

APPROVE = "approve"
REJECT = "reject"
"""The decision that ``on_reject`` is about, and of which one is a veto."""
BARRED = "may not decide this task"
NOT_ASKED = "is not asked"
NOT_HELD = "does not have this task"
DECIDED_ALREADY = "decided already"
"""What a refused answer says: doors tell by it what kind of refusal it is."""
ORDER = "x-order"
"""Member of a form that lists its fields as the author ordered them."""
SHORTEST_REMINDER = 1.0
"""Seconds."""


def _form_schema(value: Any) -> Any:
    """``name: type`` and ``name: JSON Schema``, as in ``inputs``, become one object schema; a schema stays
    one."""
    if not isinstance(value, dict) or value.get("type") == "object" or isinstance(value.get("properties"), dict):
        return value
    properties: dict[str, Any] = {}
    required = []
    for name, member in value.items():
        schema = {"type": member} if isinstance(member, str) else member
        if not isinstance(schema, dict):
            raise ValueError(f"'{name}' in a form is a type such as string, or a JSON Schema")
        optional = "default" in schema or schema.get("required") is False
        if isinstance(schema.get("required"), bool):
            schema = {key: item for key, item in schema.items() if key != "required"}
        properties[name] = schema
        if not optional:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def ordered_form(form: dict[str, Any]) -> dict[str, Any]:
    """A form with its fields' order in ``x-order``: JSON objects lose theirs on the way through Temporal."""
    schema: dict[str, Any] = _form_schema(form)
    fields = schema.get("properties")
    return schema | {ORDER: list(fields)} if isinstance(fields, dict) and len(fields) > 1 else schema


def fields_of(form: dict[str, Any] | None) -> dict[str, Any]:
    """The fields of a form, in the author's order as far as it is known."""
    fields = (form or {}).get("properties")
    if not isinstance(fields, dict):
        return {}
    given = (form or {}).get(ORDER)
    order = [name for name in given if isinstance(name, str) and name in fields] if isinstance(given, list) else []
    return {name: fields[name] for name in dict.fromkeys([*order, *fields])}


Form = Annotated[dict[str, Any], BeforeValidator(_form_schema)]
"""What the answer's ``data`` must hold; in memory always a JSON Schema."""


class Decision(Spec):
    """One possible answer: ``name`` is what flows see, ``label`` what people see."""

    name: str = Field(min_length=1)
    label: str | None = None


class Escalation(Spec):
    """Who has the task next, and for how long."""

    assignee: str | None = Field(default=None, min_length=1)
    group: str | None = Field(default=None, min_length=1)
    deadline: Duration | None = None

    @model_validator(mode="after")
    def _one_holder(self) -> Escalation:
        _exactly_one(self.assignee, self.group)
        return self


class AtDeadline(Spec):
    """What happens at the deadline: others get the task, one after the other, or it decides itself. ``decide`` and
    ``then`` are about the end of the chain where there is one."""

    decide: str | None = Field(default=None, min_length=1)
    escalate: list[Escalation] | None = Field(default=None, min_length=1)
    then: Literal["fail", "cancel", "continue"] | None = None

    @model_validator(mode="after")
    def _one_end(self) -> AtDeadline:
        if self.decide is None and self.escalate is None:
            raise ValueError("write 'decide', 'escalate', or one of fail, cancel and continue")
        if self.then is not None and (self.escalate is None or self.decide is not None):
            raise ValueError("'then' is what comes after 'escalate', instead of 'decide'")
        endless = next((one for one in (self.escalate or [])[:-1] if one.deadline is None), None)
        if endless is not None:
            raise ValueError(f"'{endless.assignee or endless.group}' has no deadline, so nobody after it is ever asked")
        return self


class Attachment(Spec):
    """Something that is shown with the task: any value of the scope, the record of a file included."""

    name: str = Field(min_length=1)
    value: Any = None


def _attachments(value: Any) -> Any:
    """``{name: value}`` as ``[{name, value}]``."""
    return [{"name": name, "value": item} for name, item in value.items()] if isinstance(value, dict) else value


Attachments = Annotated[
    list[Attachment],
    BeforeValidator(_attachments, json_schema_input_type=dict[str, Any] | list[Attachment]),
]
"""In memory always a list; one that is written as a list keeps its order."""


@act("human-task")
class HumanTaskConfig(ActConfig):
    """A question to a person or a group; the run waits for the answer."""

    assignee: str | None = Field(default=None, min_length=1)
    group: str | None = Field(default=None, min_length=1)
    title: str | None = None
    instructions: str | None = None
    form: Form | None = None
    attachments: Attachments | None = None
    """Values and files that are shown with the task."""
    decisions: list[str | Decision] = Field(default=[APPROVE, REJECT], min_length=1)
    deadline: Duration | None = None
    on_deadline: Literal["fail", "cancel", "continue"] | AtDeadline = "fail"
    on_reject: Literal["fail", "cancel", "continue"] = "fail"
    comment_required: list[str] = Field(default=[])
    """Decisions that need a comment."""
    remind: Duration | list[Duration] | None = None
    """Again and again after so long, or once after each; counted from when somebody got the task."""
    quorum: Quorum | None = None
    """How many have to agree."""
    not_by: str | list[str | None] | None = None
    """Who may not decide, such as the person who asked."""

    def barred(self) -> list[str]:
        """Who may not decide."""
        given = self.not_by if isinstance(self.not_by, list) else [self.not_by]
        return [name for name in given if name is not None]

    def is_barred(self, person: Any) -> bool:
        """Whether that person may not decide, however the name is written."""
        return isinstance(person, str) and folded(person) in [folded(name) for name in self.barred()]

    def escalations(self) -> list[Escalation]:
        """Who gets the task after its deadlines, in order."""
        return (self.on_deadline.escalate or []) if isinstance(self.on_deadline, AtDeadline) else []

    def at_the_end(self) -> str:
        """What the last deadline does: fail, cancel, continue or decide."""
        if isinstance(self.on_deadline, str):
            return self.on_deadline
        return "decide" if self.on_deadline.decide is not None else self.on_deadline.then or "fail"

    def decision_names(self) -> tuple[str, ...]:
        """The names of the decisions, in the author's order."""
        return tuple(choice if isinstance(choice, str) else choice.name for choice in self.decisions)

    def labelled(self) -> list[dict[str, str]]:
        """The decisions as ``{name, label}``; a decision without a label is its own."""
        choices = [Decision(name=choice) if isinstance(choice, str) else choice for choice in self.decisions]
        return [{"name": choice.name, "label": choice.label or choice.name} for choice in choices]

    @model_validator(mode="after")
    def _consistent(self) -> HumanTaskConfig:
        _exactly_one(self.assignee, self.group)
        names = self.decision_names()
        if len(set(names)) != len(names):
            raise ValueError("each decision is listed once")
        unknown = [name for name in self.comment_required if name not in names]
        if unknown:
            raise ValueError(f"comment_required names '{unknown[0]}', which is not one of: {', '.join(names)}")
        decide = self.on_deadline.decide if isinstance(self.on_deadline, AtDeadline) else None
        if decide is not None and decide not in names:
            raise ValueError(f"on_deadline decides '{decide}', which is not one of: {', '.join(names)}")
        if self.deadline is None and self.on_deadline != "fail":
            raise ValueError("on_deadline needs a 'deadline'")
        self._check_quorum(names)
        return self

    def _check_quorum(self, names: tuple[str, ...]) -> None:
        if isinstance(self.quorum, dict):
            unknown = [name for name in self.quorum if name not in names]
            if unknown:
                raise ValueError(f"quorum names '{unknown[0]}', which is not one of: {', '.join(names)}")
        lengths = self.remind if isinstance(self.remind, list) else [self.remind]
        if any(length is not None and length < SHORTEST_REMINDER for length in lengths):
            raise ValueError(f"remind is at least {SHORTEST_REMINDER:g} second")


def _exactly_one(assignee: str | None, group: str | None) -> None:
    if (assignee is None) == (group is None):
        raise ValueError("write exactly one of 'assignee' and 'group'")


def folded(name: str) -> str:
    """A person's name as names are compared."""
    return name.strip().casefold()
