"""A case against its flow: names that do not exist, and what can never come true, are found before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.spec.acts.human_task import APPROVE, REJECT
from orchestrator.spec.base import ACTS
from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.findings import Findings, is_template, suggestion
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.places import LOOPS, locate
from orchestrator.spec.reading import step_types
from orchestrator.spec.source import Path

Json = Any

ANSWERED_BY_EVENTS = ("human-task", "wait-for-event")
MOCKABLE = frozenset({*ACTS, "flow", "wait-for-event"})
"""Types a mock can answer for."""
NEEDS_ANSWER = MOCKABLE - set(ANSWERED_BY_EVENTS)
"""Types that must be mocked, or real, in a case that reaches them."""
OPEN = ("flow", "run-steps")
"""Steps that bring steps of their own, whose names this file's flow does not know."""


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps of a flow by id."""

    definition: Definition
    nodes: dict[str, Node]
    looped: frozenset[str]
    open: bool
    """Whether steps may run that only the run itself knows."""

    def find(self, name: str) -> Node | None:
        """The step of an id or a path."""
        if name in self.nodes:
            return self.nodes[name]
        try:
            return locate(self.definition, name).node
        except LookupError:
            return None


def check_case(case: FlowCase, flow: LoadedFlow, findings: Findings) -> None:
    """Add every problem of a case to ``findings``."""
    steps = _steps(flow.definition, case)
    base: Path = ("cases", case.index)
    _check_mocks(case, steps, findings)
    _check_real(case, steps, findings)
    _check_env(case, flow.definition, findings)
    _check_trigger(case, flow, findings)
    for number, happening in enumerate(case.events):
        _check_event(happening.what, (*base, "events", number), steps, findings)
    _check_named(case, steps, findings)
    _check_possible(case, steps, findings)


def _steps(definition: Definition, case: FlowCase) -> _Steps:
    nodes = {node.id: node for node in definition.walk()}
    looped = frozenset(
        inner.id for node in definition.walk() if node.type in LOOPS for inner in node.walk() if inner is not node
    )
    brought = [node for node in nodes.values() if node.type == "run-steps" or _is_real(node, case)]
    return _Steps(definition, nodes, looped, any(node.type in OPEN for node in brought))


def _is_real(node: Node, case: FlowCase) -> bool:
    return bool({"*", node.type, node.id} & case.real)


def _owner(case: FlowCase, key: str, name: str) -> Path:
    """Where an entry that may come from the defaults stands."""
    own = case.source.data["cases"][case.index].get(key) or {}
    return ("cases", case.index, key, name) if name in own else ("defaults", key, name)


def _unknown(name: str, path: Path, steps: _Steps, findings: Findings, *, key: bool = False) -> None:
    if not steps.open:
        flow = steps.definition.flow
        findings.error(path, f"flow `{flow}` has no step `{name}`", suggestion(name, steps.nodes), key=key)


def _check_mocks(case: FlowCase, steps: _Steps, findings: Findings) -> None:
    for name in case.mocks:
        path = _owner(case, "mocks", name)
        node = steps.find(name)
        if node is None:
            _unknown(name, path, steps, findings, key=True)
        elif node.type not in MOCKABLE:
            findings.error(
                path,
                f"`{name}` is a `{node.type}` step, which always runs for real",
                "mock the steps inside it, or what its expressions name",
                key=True,
            )


def _check_real(case: FlowCase, steps: _Steps, findings: Findings) -> None:
    known = {*steps.nodes, *step_types(), "*"}
    own = case.source.data["cases"][case.index].get("real") or []
    for base, listed in ((("cases", case.index), own), (("defaults",), _default_real(case))):
        for number, name in enumerate(listed):
            if name not in known and not steps.open:
                message = f"`{name}` is neither a step of flow `{steps.definition.flow}` nor a step type"
                findings.error((*base, "real", number), message, suggestion(str(name), known - {"*"}))


def _default_real(case: FlowCase) -> list[Json]:
    defaults = case.source.data.get("defaults") or {}
    return list(defaults.get("real") or [])


def _check_env(case: FlowCase, definition: Definition, findings: Findings) -> None:
    for name in case.env:
        if name not in definition.env:
            path = _owner(case, "env", name)
            hint = suggestion(name, definition.env)
            findings.error(path, f"flow `{definition.flow}` declares no env `{name}`", hint, key=True)


def _check_trigger(case: FlowCase, flow: LoadedFlow, findings: Findings) -> None:
    start = case.trigger
    if start is None or start.type == "api":
        return
    path: Path = ("cases", case.index, "trigger")
    if case.source.data["cases"][case.index].get("inputs"):
        message = "a start through a trigger takes its inputs from the trigger"
        findings.error(
            ("cases", case.index, "inputs"), message, "write them into its `body`, or leave them out", key=True
        )
    same = [trigger for trigger in flow.triggers if trigger["type"] == start.type]
    if not same:
        hint = suggestion("", {trigger["type"] for trigger in flow.triggers})
        findings.error((*path, "type"), f"flow `{flow.definition.flow}` declares no `{start.type}` trigger", hint)
    elif start.id is not None and start.id not in [trigger["id"] for trigger in same]:
        hint = suggestion(start.id, [str(trigger["id"]) for trigger in same])
        findings.error((*path, "id"), f"there is no `{start.type}` trigger `{start.id}`", hint)


def _check_event(what: Any, path: Path, steps: _Steps, findings: Findings) -> None:
    if what.on is not None and steps.find(what.on) is None:
        _unknown(what.on, (*path, "on"), steps, findings)
    if what.decide is not None:
        _check_decision(what, path, steps, findings)
    if what.callback is not None:
        node = steps.find(what.callback)
        if node is None:
            _unknown(what.callback, (*path, "callback"), steps, findings)
        elif node.type != "wait-for-event" or not node.config.get("callback"):
            message = f"`{what.callback}` waits for no callback"
            findings.error((*path, "callback"), message, "name a wait-for-event step with `callback: true`")
    if what.signal is not None:
        _check_awaited(what.signal, (*path, "signal"), "signal", steps, findings)
    if what.event is not None:
        _check_awaited(what.event, (*path, "event"), "event", steps, findings)


def _check_decision(what: Any, path: Path, steps: _Steps, findings: Findings) -> None:
    node = steps.find(what.decide)
    if node is None:
        _unknown(what.decide, (*path, "decide"), steps, findings)
        return
    if node.type != "human-task":
        people = [one.id for one in steps.nodes.values() if one.type == "human-task"]
        message = f"`{what.decide}` is a `{node.type}` step, and nobody decides it"
        findings.error((*path, "decide"), message, suggestion(what.decide, people))
        return
    known = _decisions(node)
    if known is not None and what.decision not in known:
        message = f"`{what.decision}` is no decision of `{what.decide}`"
        findings.error((*path, "decision"), message, suggestion(str(what.decision), known))


def _decisions(node: Node) -> list[str] | None:
    """The names of a task's decisions, where the file fixes them."""
    written = node.config.get("decisions", [APPROVE, REJECT])
    names = [one.get("name") if isinstance(one, dict) else one for one in written] if isinstance(written, list) else []
    fixed = bool(names) and all(isinstance(name, str) and not is_template(name) for name in names)
    return [str(name) for name in names] if fixed else None


def _check_awaited(name: str, path: Path, key: str, steps: _Steps, findings: Findings) -> None:
    """Whether any step waits for it, as far as the file fixes what they wait for."""
    if steps.open:
        return
    awaited = list(_awaited(steps, key))
    if any(is_template(one) or "*" in one for one in awaited) or name in awaited:
        return
    what = "signal" if key == "signal" else "event of type"
    message = f"no step of flow `{steps.definition.flow}` waits for the {what} `{name}`"
    findings.error(path, message, suggestion(name, awaited))


def _awaited(steps: _Steps, key: str) -> Iterator[str]:
    for node in steps.nodes.values():
        if node.type == "wait-for-event" and (given := node.config.get(key)) is not None:
            yield from [str(one) for one in given] if isinstance(given, list | tuple) else [str(given)]


# -- expectations -------------------------------------------------------------------------------------------------

_LISTS = ("ran", "skipped", "not_reached", "failed", "compensated", "order")
_COUNTED = ("calls", "called_with")


def _check_named(case: FlowCase, steps: _Steps, findings: Findings) -> None:
    base: Path = ("cases", case.index, "expect")
    for key in _LISTS:
        for number, name in enumerate(getattr(case.expect, key) or ()):
            if steps.find(name) is None:
                _unknown(name, (*base, key, number), steps, findings)
    for key in _COUNTED:
        for name in getattr(case.expect, key):
            node = steps.find(name)
            if node is None:
                _unknown(name, (*base, key, name), steps, findings, key=True)
            elif node.type not in MOCKABLE:
                message = f"`{name}` is a `{node.type}` step, which calls nothing"
                findings.error((*base, key, name), message, key=True)
    for name in case.expect.vars:
        if name not in steps.definition.vars:
            message = f"flow `{steps.definition.flow}` declares no var `{name}`"
            findings.error((*base, "vars", name), message, suggestion(name, steps.definition.vars), key=True)
    wanted = case.expect.error.step if case.expect.error else None
    if wanted is not None and steps.find(wanted) is None:
        _unknown(wanted, (*base, "error", "step"), steps, findings)


def _check_possible(case: FlowCase, steps: _Steps, findings: Findings) -> None:
    base: Path = ("cases", case.index, "expect")
    expect = case.expect
    given = expect.model_fields_set
    if expect.status != "completed":
        for key in sorted({"output", "output_has"} & given):
            findings.error((*base, key), f"a run that ends as {expect.status} has no output", key=True)
    if expect.status in ("completed", "not_started") and expect.error is not None:
        findings.error(
            (*base, "error"), f"a run that is {expect.status} has no error", "add `status: failed`", key=True
        )
    groups = {key: set(getattr(expect, key)) for key in ("ran", "skipped", "not_reached")}
    for one, other in (("ran", "skipped"), ("ran", "not_reached"), ("skipped", "not_reached")):
        for number, name in enumerate(getattr(expect, other)):
            # A step in a loop may run in one pass and be skipped in another.
            if name in groups[one] and not (name in steps.looped and other == "skipped"):
                findings.error((*base, other, number), f"`{name}` cannot be both in `{one}` and in `{other}`")
    for number, name in enumerate(expect.compensated or ()):
        node = steps.find(name)
        if node is not None and "compensate" not in node.lists:
            have = [one.id for one in steps.nodes.values() if "compensate" in one.lists]
            message = f"`{name}` has no `compensate`, so it is never undone"
            findings.error((*base, "compensated", number), message, suggestion(name, have))
