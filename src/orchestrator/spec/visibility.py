"""Every expression of a flow checked: syntax, names, and whether a step it names is over by then (FLOW_FORMAT §3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.expressions import Names, Reference
from orchestrator.spec.control import ControlConfig
from orchestrator.spec.findings import Findings, is_template, suggestion
from orchestrator.spec.flow import Flow
from orchestrator.spec.order import Order, check_sets
from orchestrator.spec.reading import Placed
from orchestrator.spec.sight import EVERYWHERE, Checker, Sight
from orchestrator.spec.source import Path
from orchestrator.spec.triggers import WebhookTrigger
from orchestrator.spec.webhooks import Reply

Json = Any

_BODIES: dict[str, tuple[str, ...]] = {"schedule": (), "file": ("file",)}
"""What the bodies of triggers hold that always have the same members."""
_HANDLERS = ("on_error", "compensate", "finally", "catch", "fallback")
RACES = ("all", "any", "majority")
_RESERVED = (*EVERYWHERE, "loop", "error", "event", "secrets", "step", "callback")


@dataclass(frozen=True, slots=True)
class _Around:
    """What the place of a list gives to the steps in it."""

    over: frozenset[str] = frozenset()
    roots: tuple[str, ...] = EVERYWHERE
    in_pass: frozenset[str] = frozenset()
    """Steps of the passes around: handlers inside a loop may name these."""


@dataclass(slots=True)
class Visibility:
    """One check of one flow."""

    flow: Flow
    findings: Findings
    ids: dict[str, Placed]
    project_env: dict[str, Json]
    order: Order = field(default_factory=Order)
    checker: Checker = field(init=False)
    _outside_loops: frozenset[str] = frozenset()
    _conditions: dict[int, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        callbacks = frozenset(
            name for name, step in self.ids.items() if step.type == "wait-for-event" and step.config.get("callback")
        )
        names = Names(
            steps=frozenset(self.ids),
            inputs=frozenset(self.flow.inputs),
            vars=frozenset(self.flow.vars),
            env=frozenset(self.flow.env) | frozenset(self.project_env),
            callbacks=frozenset(self.ids),
        )
        self.checker = Checker(self.findings, names, self.ids, callbacks, self._why_hidden, self._lint)

    def check(self, steps: list[Placed], handlers: dict[str, list[Placed]]) -> None:
        """Check the whole flow; problems and warnings go to the findings."""
        lists = [steps, *handlers.values()]
        for placed_list in lists:
            self._order(placed_list)
        everything = [step for placed_list in lists for step in placed_list]
        check_sets(everything, self.order, self.findings)
        self._outside_loops = frozenset(name for step in steps for name in _names_in(step))
        self._top()
        self._list(steps, _Around())
        for placed_list in handlers.values():
            self._list(placed_list, _Around(self._outside_loops, (*EVERYWHERE, "error")))
        if "output" in self.flow.model_fields_set:
            self.checker.value(self.flow.output, ("output",), Sight("the flow's output", over=self._outside_loops))

    def check_inner(self, steps: list[Placed], over: frozenset[str], roots: tuple[str, ...]) -> None:
        """Check a list that a flow which is known already runs inside of it: ``over`` are the steps of the flow it may
        name, ``roots`` what its place adds to the names known everywhere."""
        self._order(steps)
        check_sets(steps, self.order, self.findings)
        self._outside_loops = over | frozenset(name for step in steps for name in _names_in(step))
        self._list(steps, _Around(over, (*EVERYWHERE, *roots)))

    @property
    def env(self) -> dict[str, Json]:
        """Declared env, and what the project declares and this flow reads."""
        used = {name: value for name, value in self.project_env.items() if name in self.checker.env_used}
        return used | dict(self.flow.env)

    def _order(self, steps: list[Placed]) -> None:
        self.order.add(steps, self.findings, self.ids)
        for step in steps:
            for children in step.lists.values():
                self._order(children)

    def _top(self) -> None:
        start = Sight("a var's start value", ("trigger", "inputs", "env", "run"))
        self.checker.value(self.flow.vars, ("vars",), start)
        if self.flow.concurrency and self.flow.concurrency.key:
            sight = Sight("the concurrency key", ("trigger", "inputs", "env"))
            self.checker.value(self.flow.concurrency.key, ("concurrency", "key"), sight)
        for index, trigger in enumerate(self.flow.triggers):
            path: Path = ("triggers", index)
            sight = Sight("a trigger", ("trigger",))
            if trigger.inputs is not None:
                self.checker.value(trigger.inputs, (*path, "inputs"), sight)
                for name in trigger.inputs:
                    if name not in self.flow.inputs:
                        at = (*path, "inputs", name)
                        hint = suggestion(name, self.flow.inputs)
                        self.findings.error(at, f"the flow has no input `{name}`", hint, key=True)
            if trigger.idempotency_key is not None:
                self.checker.value(trigger.idempotency_key, (*path, "idempotency_key"), sight)
            for gathers in ("batch", "debounce"):
                rule = getattr(trigger, gathers, None)
                if rule is not None and rule.key is not None:
                    self.checker.value(rule.key, (*path, gathers, "key"), sight)
            if isinstance(trigger, WebhookTrigger) and isinstance(trigger.respond, Reply):
                self._reply(trigger.respond, (*path, "respond"))
            if trigger.if_ is not None:
                roots = ("trigger", "event") if trigger.type == "event" else ("trigger",)
                self.checker.expression(trigger.if_, (*path, "if"), replace(sight, roots=roots))
            if trigger.enabled:
                self._unfed_inputs(trigger.type, trigger.inputs, path)

    def _reply(self, reply: Reply, path: Path) -> None:
        sight = Sight("a webhook's answer", ("trigger", "run"))
        for key, value in (("headers", reply.headers), ("body", reply.body)):
            self.checker.value(value, (*path, key), sight)

    def _unfed_inputs(self, type_: str, mapped: dict[str, Json] | None, path: Path) -> None:
        """A required input that a trigger cannot supply is a warning: a schedule's body is empty, a file trigger's has
        the file alone, and a mapping that leaves an input out leaves it out every time."""
        if mapped is None and type_ not in _BODIES:
            return
        supplied = _BODIES.get(type_, ()) if mapped is None else mapped
        for name, schema in self.flow.inputs.items():
            optional = isinstance(schema, dict) and ("default" in schema or schema.get("required") is False)
            if not optional and name not in supplied:
                self.findings.warn(
                    path,
                    f"this {type_} trigger never supplies the required input `{name}`: its starts will fail",
                    "give the input a `default`, or map it under the trigger's `inputs`",
                )

    def _list(self, steps: list[Placed], around: _Around) -> None:
        seen: frozenset[str] = frozenset()
        known: dict[int, frozenset[str]] = {}
        for step in steps:
            known[step.number] = frozenset(_names_in(step))
        sequential = all(step.step.needs is None and step.list_name != "branches" for step in steps)
        for step in steps:
            if sequential:
                over = seen
                seen = seen | known[step.number]
            else:
                over = frozenset(name for other in self.order.waits(step) for name in known[other.number])
            self._step(step, replace(around, over=around.over | over))

    def _step(self, step: Placed, around: _Around) -> None:
        sight = Sight(f"step `{step.id}`", around.roots, around.over, reader=step)
        if step.step.if_ is not None:
            read = self.checker.expression(step.step.if_, (*step.path, "if"), sight)
            self._conditions[step.number] = _steps_in(read)
        if step.step.cache is not None:
            self.checker.value(step.step.cache.key, (*step.path, "cache", "key"), sight)
        self._config(step, sight)
        for name, children in step.lists.items():
            self._list(children, self._inside(step, name, around))

    def _inside(self, step: Placed, name: str, around: _Around) -> _Around:
        """What the list ``name`` of ``step`` gives to its steps."""
        base = name.partition("[")[0]
        if step.is_loop and base == "steps":
            body = frozenset(inner for child in step.lists["steps"] for inner in _names_in(child))
            return _Around(around.over, _loop_roots(step, around.roots), around.in_pass | body)
        if base in _HANDLERS:
            roots = around.roots if "error" in around.roots else (*around.roots, "error")
            own = frozenset({step.id}) if step.named else frozenset()
            return replace(around, over=around.over | self._outside_loops | around.in_pass | own, roots=roots)
        return around

    def _config(self, step: Placed, sight: Sight) -> None:
        expressions = step.model.expressions if issubclass(step.model, ControlConfig) else frozenset()
        late = replace(sight, late=True) if step.is_act else sight
        for key, value in step.config.items():
            path = step.config_paths[key]
            if key in expressions:
                self._expression_field(step, key, value, path, sight)
            elif key == "cases" and step.type == "switch":
                self._cases(value, path, sight)
            elif key == "as" and step.type == "for-each":
                if value in _RESERVED:
                    self.findings.error(path, f"`{value}` is taken: expressions know it already", "choose another name")
            else:
                if step.type == "set" and key not in self.flow.vars:
                    hint = suggestion(key, self.flow.vars) or f"declare it at the top: `vars: {{{key}: null}}`"
                    self.findings.error(path, f"`{key}` is no var of this flow", hint, key=True)
                self.checker.value(value, path, late)

    def _expression_field(self, step: Placed, key: str, value: Json, path: Path, sight: Sight) -> None:
        if key == "wait_for" and isinstance(value, str) and value.isidentifier() and value not in sight.roots:
            if value not in RACES:
                hint = f"{suggestion(value, RACES)}, or give a number or an expression"
                self.findings.error(path, f"`{value}` is nothing to wait for", hint)
            return
        if step.is_loop and key in ("while", "until"):
            roots = _loop_roots(step, sight.roots)
            over = sight.over
            if key == "until":
                # Checked after a pass, so it sees the body.
                over |= frozenset(name for child in step.lists.get("steps", []) for name in _names_in(child))
            sight = replace(sight, roots=roots, over=over)
        if step.type == "wait-for-event":
            sight = replace(sight, roots=(*sight.roots, "event"))
        if isinstance(value, list | dict):
            self.checker.value(value, path, sight)
            return
        read = self.checker.expression(value, path, sight)
        if step.type in ("condition", "switch"):
            self._conditions[step.number] = self._conditions.get(step.number, frozenset()) | _steps_in(read)

    def _cases(self, cases: Json, path: Path, sight: Sight) -> None:
        for index, case in enumerate(cases if isinstance(cases, list) else []):
            if isinstance(case, dict):
                step = sight.reader
                if "if" in case:
                    read = self.checker.expression(case["if"], (*path, index, "if"), sight)
                    if step is not None:
                        self._conditions[step.number] = self._conditions.get(step.number, frozenset()) | _steps_in(read)
                if "equals" in case:
                    self.checker.value(case["equals"], (*path, index, "equals"), sight)

    def _why_hidden(self, step: Placed, sight: Sight) -> tuple[str, str | None]:
        reader = sight.reader
        name = step.id
        if reader is step:
            return f"step `{name}` cannot read itself: it is not over while it runs", None
        if reader is not None and step in reader.ancestors():
            return f"`{name}` is the step around `{reader.id}` and not over before it", None
        if reader is not None and reader in step.ancestors():
            hint = "`until` is checked after a pass and sees its steps" if reader.is_loop else None
            return f"step `{name}` lies inside `{reader.id}` and has not run when {sight.place} reads it", hint
        inside = {around.number for around in (reader, *reader.ancestors())} if reader else set()
        loop = next((around for around in step.ancestors() if around.is_loop and around.number not in inside), None)
        if loop is not None:
            named = f"`steps.{loop.id}.output`" if loop.named else "the loop's output (give the loop an id)"
            return (
                f"step `{name}` lies inside the loop `{loop.id}` and is visible only in the same pass",
                f"use {named}",
            )
        if "steps" in sight.roots and reader is None:
            return f"step `{name}` cannot be read in {sight.place}", None
        return self._not_over(step, reader, sight)

    def _not_over(self, step: Placed, reader: Placed | None, sight: Sight) -> tuple[str, str | None]:
        message = f"step `{step.id}` is not over when {sight.place} reads it"
        if reader is None:
            return message, None
        mine = {(around.parent, around.list_name): around for around in (reader, *reader.ancestors())}
        theirs = next(
            (around for around in (step, *step.ancestors()) if (around.parent, around.list_name) in mine), None
        )
        if theirs is None:
            return message, "it runs in another branch or handler"
        beside = mine[(theirs.parent, theirs.list_name)]
        if beside is theirs:
            return message, f"they are in different branches of `{theirs.id}`"
        if theirs.list_name == "branches" and beside.step.needs is None:
            return message, f"branches start together; give `{beside.id}` `needs: [{theirs.id}]`"
        if beside.step.needs is not None:
            return message, f"add `{theirs.id}` to the `needs` of `{beside.id}`"
        return message, f"`{theirs.id}` stands below `{beside.id}`; move it up"

    def _lint(self, reference: Reference, step: Placed, sight: Sight, path: Path) -> None:
        """Warn where the output of a step that may be skipped is read without a guard."""
        if reference.guarded or len(reference.path) < 2 or reference.path[1] in ("status", "attempts", "type", "name"):
            return
        reason = self._may_lack_output(step, sight.reader)
        if reason is None or self._is_asked_before(step, sight.reader):
            return
        self.findings.warn(
            path,
            f"`steps.{step.id}.{reference.path[1]}` may not be there: {reason}",
            f"write `steps.{step.id}.output | default(none)` or test `steps.{step.id}.status`",
        )

    def _may_lack_output(self, step: Placed, reader: Placed | None) -> str | None:
        lists = {(around.parent, around.list_name) for around in (reader, *reader.ancestors())} if reader else set()
        for around in (step, *step.ancestors()):
            if reader is not None and (around is reader or around in reader.ancestors()):
                return None
            if around.step.if_ is not None and not (reader and reader.step.if_ == around.step.if_):
                return f"`{around.id}` has an `if`"
            if around.step.on_error == "continue":
                return f"`{around.id}` may fail and the run goes on"
            if (around.parent, around.list_name) in lists:
                return None
            if around.parent is None:
                if around.list_name in ("fallback", "finally"):
                    return f"`{around.id}` is part of `{around.list_name}`"
                return None
            if around.parent.type in ("condition", "switch") and around.list_name not in ("on_error", "compensate"):
                return f"`{around.id}` runs only in the branch `{around.list_name}` of `{around.parent.id}`"
            if around.list_name.partition("[")[0] in ("catch", "on_error", "compensate"):
                return f"`{around.id}` runs only after an error"
            if (
                around.parent.type == "try"
                and around.list_name == "steps"
                and around.parent.lists.keys() - {"steps", "finally"}
            ):
                return f"`{around.parent.id}` catches errors"
            if around.list_name == "branches" and around.parent.config.get("wait_for", "all") != "all":
                return f"`{around.parent.id}` may end before its branch `{around.id}` does"
        return None

    def _is_asked_before(self, step: Placed, reader: Placed | None) -> bool:
        """Whether an ``if`` around the reader looks at the step, or the reader is skipped together with it."""
        if reader is None:
            return False
        if reader.step.needs == [step.id]:
            return True
        return any(step.id in self._conditions.get(around.number, ()) for around in (reader, *reader.ancestors()))


def _steps_in(references: tuple[Reference, ...]) -> frozenset[str]:
    return frozenset(str(reference.path[0]) for reference in references if reference.root == "steps" and reference.path)


def _names_in(step: Placed) -> Iterator[str]:
    """The ids that are visible once ``step`` is over: its own and those inside it, loops and compensations aside."""
    if step.named:
        yield step.id
    if step.is_loop:
        yield from (name for child in step.lists.get("on_error", ()) for name in _names_in(child))
        return
    for name, children in step.lists.items():
        if name != "compensate":
            for child in children:
                yield from _names_in(child)


def _loop_roots(step: Placed, roots: tuple[str, ...]) -> tuple[str, ...]:
    added = ["loop"]
    if step.type == "for-each":
        named = step.config.get("as", "item")
        if isinstance(named, str) and not is_template(named):
            added.append(named)
    return (*roots, *(root for root in added if root not in roots))
