"""What an expression may name in one place, and the check of a single expression against it (FLOW_FORMAT §2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.expressions import (
    ExpressionError,
    Names,
    Reference,
    compile_expression,
    compile_value,
)
from orchestrator.spec.findings import Findings, suggestion
from orchestrator.spec.reading import Placed
from orchestrator.spec.source import Path

Json = Any

EVERYWHERE = ("trigger", "inputs", "env", "run", "vars", "steps")
LOOP = ("index", "count", "first", "previous", "parent")
RUN = ("id", "flow", "version", "started_at", "attempt", "retry_of", "parent", "test")
RECORD = ("status", "output", "error", "attempts", "started_at", "finished_at", "usage", "type", "name", "cached")
RECORD_OF = {
    "condition": ("branch",), "switch": ("branch",), "parallel": ("finished", "winner"), "for-each": ("errors",),
    "while": ("passes",),
}  # fmt: skip
ERROR = (
    "type", "message", "step", "attempts", "status", "data", "retryable", "cause", "errors", "source",
    "compensations",
)  # fmt: skip
_ELSEWHERE = {
    "item": "`item` is known inside the body of a `for-each`",
    "loop": "`loop` is known inside the body of a loop",
    "error": "`error` is known in `catch`, `on_error`, `compensate`, `fallback` and `finally`",
    "event": "`event` is known in the `if` of a `wait-for-event` and of an event trigger",
    "secrets": "secrets are known only in the config of steps that act",
    "step": "`step.attempt` and `step.idempotency_key` are known only in the config of steps that act",
    "callback": "callback addresses are known only in the config of steps that act",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What can be seen from one place."""

    place: str
    """In words: ``step `charge```."""
    roots: tuple[str, ...] = EVERYWHERE
    over: frozenset[str] = frozenset()
    """Ids of steps that are over."""
    late: bool = False
    reader: Placed | None = None


@dataclass(slots=True)
class Checker:
    """Compiles expressions and checks every name in them; problems go to ``findings``."""

    findings: Findings
    names: Names
    ids: dict[str, Placed]
    callbacks: frozenset[str]
    explain: Callable[[Placed, Sight], tuple[str, str | None]]
    """Why a step cannot be seen from a place, and what to do."""
    lint: Callable[[Reference, Placed, Sight, Path], None]
    """Called for every reference to a step that can be seen."""
    env_used: set[str] = field(default_factory=set)
    late_refused: str | None = None
    """Why late names may not be used anywhere; None: they may, in the config of steps that act."""

    def expression(self, source: Json, path: Path, sight: Sight) -> tuple[Reference, ...]:
        """Check an expression field. A bare literal has nothing to check."""
        if not isinstance(source, str):
            return ()
        try:
            compiled = compile_expression(source, self.names)
        except ExpressionError as error:
            self.findings.error(path, str(error))
            return ()
        self._references(compiled.references, path, sight)
        return compiled.references

    def value(self, value: Json, path: Path, sight: Sight) -> None:
        """Check every template in a JSON value."""
        if isinstance(value, str):
            self._template(value, path, sight)
        elif isinstance(value, dict):
            for key, member in value.items():
                if "{{" in key:
                    self.findings.error((*path, key), "keys take no templates", "use the template as a value", key=True)
                self.value(member, (*path, key), sight)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.value(item, (*path, index), sight)

    def _template(self, text: str, path: Path, sight: Sight) -> None:
        if "{{" not in text and "{%" not in text:
            return
        try:
            compiled = compile_value(text, self.names)
        except ExpressionError as error:
            self.findings.error(path, str(error))
            return
        self._references(compiled.references, path, sight)
        for name in compiled.late_names:
            self._late(name, path, sight)

    def _late(self, name: str, path: Path, sight: Sight) -> None:
        root, _, rest = name.partition(".")
        if self.late_refused is not None:
            self.findings.error(path, f"`{name}` cannot be used in {sight.place}", self.late_refused)
        elif not sight.late:
            self.findings.error(path, f"`{name}` cannot be used in {sight.place}", _ELSEWHERE[root])
        elif root == "callback":
            step = rest.removesuffix(".url")
            if step not in self.callbacks:
                self.findings.error(
                    path,
                    f"`{step}` is no `wait-for-event` step with `callback: true`",
                    suggestion(step, self.callbacks) if self.callbacks else None,
                )

    def _references(self, references: tuple[Reference, ...], path: Path, sight: Sight) -> None:
        for reference in references:
            problem = self._problem(reference, sight, path)
            if problem is not None:
                message, hint = problem
                self.findings.error(path, message, hint)

    def _problem(self, reference: Reference, sight: Sight, path: Path) -> tuple[str, str | None] | None:
        root = reference.root
        if root not in sight.roots:
            known = _ELSEWHERE.get(root)
            if root in EVERYWHERE or known:
                return f"`{root}` cannot be used in {sight.place}", known or _sees(sight)
            return f"`{root}` is no name", suggestion(root, sight.roots)
        if root == "steps":
            return self._step(reference, sight, path)
        declared = {"inputs": self.names.inputs, "vars": self.names.vars, "env": self.names.env}.get(root)
        member = reference.path[0] if reference.path else None
        if declared is not None and isinstance(member, str):
            if member not in declared:
                return f"`{root}.{member}` is not declared", _declare(root, member, declared)
            if root == "env":
                self.env_used.add(member)
        known_members = {"run": RUN, "loop": LOOP, "error": ERROR}.get(root)
        if known_members and isinstance(member, str) and member not in known_members:
            return f"`{root}` has no `{member}`", suggestion(member, known_members)
        return None

    def _step(self, reference: Reference, sight: Sight, path: Path) -> tuple[str, str | None] | None:
        if not reference.path or not isinstance(reference.path[0], str):
            return "`steps` needs the name of a step", "write `steps.<id>.output`, so that it can be checked"
        name = reference.path[0]
        step = self.ids.get(name)
        if step is None:
            return f"there is no step `{name}`", suggestion(name, self.ids)
        if name not in sight.over:
            return self.explain(step, sight)
        if len(reference.path) > 1:
            members = (*RECORD, *RECORD_OF.get(step.type, ()))
            member = reference.path[1]
            if member not in members:
                near = suggestion(str(member), members)
                hint = near if near and near.startswith("did") else f"did you mean `steps.{name}.output.{member}`?"
                return f"`steps.{name}` has no `{member}`", hint
        self.lint(reference, step, sight, path)
        return None


def _sees(sight: Sight) -> str:
    return "known here: " + ", ".join(f"`{root}`" for root in sight.roots)


def _declare(root: str, member: str, declared: frozenset[str]) -> str:
    near = suggestion(member, declared)
    if near and near.startswith("did"):
        return near
    example = {"inputs": "string", "vars": "null", "env": '""'}[root]
    return f"declare it at the top of the flow: `{root}: {{{member}: {example}}}`"
