"""Config of the ``human-task`` step (FLOW_FORMAT §5)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.spec.base import ActConfig, Duration, Spec, act
from orchestrator.spec.later import Later

APPROVE = "approve"
REJECT = "reject"
"""The decision that ``on_reject`` is about."""


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


Form = Annotated[dict[str, Any], BeforeValidator(_form_schema)]
"""What the answer's ``data`` must hold; in memory always a JSON Schema."""


class Decision(Spec):
    """One possible answer: ``name`` is what flows see, ``label`` what people see."""

    name: str = Field(min_length=1)
    label: str | None = None


class AtDeadline(Spec):
    """At the deadline the task decides itself."""

    decide: str = Field(min_length=1)
    escalate: Later = None


@act("human-task")
class HumanTaskConfig(ActConfig):
    """A question to a person or a group; the run waits for the answer."""

    assignee: str | None = Field(default=None, min_length=1)
    group: str | None = Field(default=None, min_length=1)
    title: str | None = None
    instructions: str | None = None
    form: Form | None = None
    decisions: list[str | Decision] = Field(default=[APPROVE, REJECT], min_length=1)
    deadline: Duration | None = None
    on_deadline: Literal["fail", "cancel", "continue"] | AtDeadline = "fail"
    on_reject: Literal["fail", "cancel", "continue"] = "fail"
    comment_required: list[str] = Field(default=[])
    """Decisions that need a comment."""
    remind: Later = None
    quorum: Later = None

    def decision_names(self) -> tuple[str, ...]:
        """The names of the decisions, in the author's order."""
        return tuple(choice if isinstance(choice, str) else choice.name for choice in self.decisions)

    def labelled(self) -> list[dict[str, str]]:
        """The decisions as ``{name, label}``; a decision without a label is its own."""
        choices = [Decision(name=choice) if isinstance(choice, str) else choice for choice in self.decisions]
        return [{"name": choice.name, "label": choice.label or choice.name} for choice in choices]

    @model_validator(mode="after")
    def _consistent(self) -> HumanTaskConfig:
        if (self.assignee is None) == (self.group is None):
            raise ValueError("write exactly one of 'assignee' and 'group'")
        names = self.decision_names()
        if len(set(names)) != len(names):
            raise ValueError("each decision is listed once")
        unknown = [name for name in self.comment_required if name not in names]
        if unknown:
            raise ValueError(f"comment_required names '{unknown[0]}', which is not one of: {', '.join(names)}")
        if isinstance(self.on_deadline, AtDeadline) and self.on_deadline.decide not in names:
            listed = ", ".join(names)
            raise ValueError(f"on_deadline decides '{self.on_deadline.decide}', which is not one of: {listed}")
        if self.deadline is None and self.on_deadline != "fail":
            raise ValueError("on_deadline needs a 'deadline'")
        return self
