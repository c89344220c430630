"""What a declared trigger says about a delivery: whether it applies, the inputs, what makes two of them the same."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from orchestrator.client.triggers import Declared
from orchestrator.errors import FieldProblem, InputsInvalid, Refused
from orchestrator.expressions import (
    CompiledValue,
    Expression,
    ExpressionError,
    Meter,
    Names,
    compile_expression,
    compile_value,
)
from orchestrator.spec.definition import Json


@dataclass(frozen=True)
class Rules:
    """The expressions of one trigger, compiled once."""

    declared: Declared

    def applies(self, scope: Mapping[str, Json]) -> bool:
        """What its ``if`` says. Raises Refused where that cannot be told."""
        if self._condition is None:
            return True
        try:
            return self._condition.evaluate_bool(scope, _meter())
        except ExpressionError as error:
            raise Refused(f"the `if` of trigger '{self.declared.id}': {error}") from error

    def inputs(self, trigger: Mapping[str, Json]) -> dict[str, Json]:
        """The run's inputs: as ``inputs`` maps them, else the body's members. Raises InputsInvalid."""
        if self._inputs is None:
            body = trigger["body"]
            return body if isinstance(body, dict) else {}
        inputs: dict[str, Json] = {}
        for name, template in self._inputs.items():
            try:
                inputs[name] = template.render({"trigger": trigger}, _meter()).value
            except ExpressionError as error:
                raise InputsInvalid(self.declared.flow, [FieldProblem(name, str(error))]) from error
        return inputs

    def key(self, trigger: Mapping[str, Json]) -> str | None:
        """Its ``idempotency_key``; None where there is none. Raises Refused where that cannot be told."""
        value = self._rendered(self._key, trigger, "idempotency_key")
        return None if value in (None, "") else str(value)

    def batch_key(self, trigger: Mapping[str, Json]) -> Json:
        """The value of its ``batch.key``; None where there is none. Raises Refused where that cannot be told."""
        return self._rendered(self._batch_key, trigger, "batch.key")

    def debounce_key(self, trigger: Mapping[str, Json]) -> Json:
        """The value of its ``debounce.key``; None where there is none. Raises Refused where that cannot be told."""
        return self._rendered(self._debounce_key, trigger, "debounce.key")

    def _rendered(self, template: CompiledValue | None, trigger: Mapping[str, Json], what: str) -> Json:
        """A template of the trigger over ``trigger``. Raises Refused naming ``what``."""
        if template is None:
            return None
        try:
            return template.render({"trigger": trigger}, _meter()).value
        except ExpressionError as error:
            raise Refused(f"the `{what}` of trigger '{self.declared.id}': {error}") from error

    @cached_property
    def _condition(self) -> Expression | None:
        written = self.declared.trigger.get("if")
        if written is None:
            return None
        return compile_expression(str(written).lower() if isinstance(written, bool) else str(written), Names())

    @cached_property
    def _inputs(self) -> dict[str, CompiledValue] | None:
        given = self.declared.trigger.get("inputs")
        return None if given is None else {name: compile_value(value, Names()) for name, value in given.items()}

    @cached_property
    def _key(self) -> CompiledValue | None:
        written = self.declared.trigger.get("idempotency_key")
        return None if written is None else compile_value(written, Names())

    @cached_property
    def _batch_key(self) -> CompiledValue | None:
        written = (self.declared.trigger.get("batch") or {}).get("key")
        return None if written is None else compile_value(written, Names())

    @cached_property
    def _debounce_key(self) -> CompiledValue | None:
        written = (self.declared.trigger.get("debounce") or {}).get("key")
        return None if written is None else compile_value(written, Names())


def _meter() -> Meter:
    return Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
