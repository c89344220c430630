"""What is well formed and could never do what it says: refused when the flow is loaded (FLOW_FORMAT §5, §6)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from orchestrator.expressions import ExpressionError, Meter, Names, compile_expression
from orchestrator.spec.agents import check_agent_step
from orchestrator.spec.findings import Findings, is_template, kind_of, suggestion
from orchestrator.spec.reading import WAITING, Placed, step_types
from orchestrator.spec.source import Path

Json = Any

EVENT = ("id", "type", "source", "subject", "time", "data")
"""Members of an event."""

_UNKNOWN = object()


def check_rules(steps: list[Placed], findings: Findings) -> None:
    """Report every step that could never work. ``steps`` are all top-level lists together."""
    everything = [placed for step in steps for placed in step.walk()]
    for placed in everything:
        check = _BY_TYPE.get(placed.type)
        if check is not None:
            check(placed, findings)
        _compensation(placed, findings)
    _signals(everything, findings)


def _event(placed: Placed, findings: Findings) -> None:
    """A wait for an event that nobody can name never ends."""
    if "event" in placed.config:
        path = placed.config_paths["event"]
        event = placed.config["event"]
        if event == []:
            findings.error(path, "the list of events is empty: nothing could end this wait", "name an event type")
        for at, name in _numbered(event, path):
            if isinstance(name, str) and not name.strip():
                findings.error(at, "the event has no name: nothing could end this wait", "for example `order.paid`")
    correlate = placed.config.get("correlate")
    if not isinstance(correlate, dict):
        return
    path = placed.config_paths["correlate"]
    for key in correlate:
        first, *rest = key.split(".")
        if not all(part.strip() and not set(part) & set("[]'\"{}") for part in (first, *rest)):
            hint = "names joined by dots, for example `data.order_id`"
            findings.error((*path, key), f"`{key}` names no member of an event", hint, key=True)
        elif first not in EVENT:
            near = suggestion(first, EVENT)
            hint = near if near and near.startswith("did") else f"what was sent with it is under `data`: `data.{key}`"
            findings.error((*path, key), f"an event has no `{first}`", hint, key=True)


def _numbered(value: Json, path: Path) -> Iterator[tuple[Path, Json]]:
    if isinstance(value, list):
        yield from (((*path, index), item) for index, item in enumerate(value))
    else:
        yield path, value


def _items(placed: Placed, findings: Findings) -> None:
    if "items" not in placed.config:
        return
    value = _constant(placed.config["items"])
    if value is _UNKNOWN or isinstance(value, list | dict):
        return
    path = placed.config_paths["items"]
    hint = "give a list, an object, or how many passes there are"
    if isinstance(value, bool) or not isinstance(value, int | float):
        findings.error(path, f"`items` is {kind_of(value)}, which has no elements", hint)
    elif value < 0 or value != int(value):
        findings.error(path, f"`items` is {value:g}, which is no number of passes", hint)


def _wait_for(placed: Placed, findings: Findings) -> None:
    """A race that nothing can end, or that needs more branches than there are."""
    branches = placed.lists.get("branches", [])
    counting = sum(branch.step.counts for branch in branches)
    if branches and not counting:
        findings.error(
            placed.path, f"no branch of `{placed.id}` counts, so none can end it", "remove a `counts: false`"
        )
        return
    if "wait_for" not in placed.config:
        return
    path = placed.config_paths["wait_for"]
    written = placed.config["wait_for"]
    value = _UNKNOWN if written in ("all", "any", "majority") else _constant(written)
    if value is _UNKNOWN:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        shown = f"{value:g}" if isinstance(value, float) else kind_of(value)
        findings.error(path, f"`wait_for` is {shown}", "give `all`, `any`, `majority` or a whole number of branches")
    elif value > counting:
        findings.error(
            path,
            f"`wait_for` is {value}, but {counting} of the branches can count: it could never be reached",
            "lower it, or add branches",
        )


def _constant(value: Json) -> Json:
    """What an expression field always is, or ``_UNKNOWN``."""
    if isinstance(value, list | dict) or not isinstance(value, str):
        return value
    try:
        compiled = compile_expression(value, Names())
        return _UNKNOWN if compiled.references else compiled.evaluate({}, Meter(_no_time, _no_chance))
    except (ExpressionError, LookupError):
        # Wrong syntax is reported where expressions are checked; what needs a run is no constant.
        return _UNKNOWN


def _no_time() -> datetime:
    raise LookupError("the time is known only in a run")


def _no_chance() -> str:
    raise LookupError("an id is made only in a run")


def _allow(placed: Placed, findings: Findings) -> None:
    allow = placed.config.get("allow")
    for index, name in enumerate(allow if isinstance(allow, list) else []):
        path = (*placed.config_paths["allow"], index)
        if name == "run-steps":
            findings.error(path, "computed steps cannot compute further steps", "remove `run-steps` from `allow`")
        elif isinstance(name, str) and not is_template(name) and name not in step_types():
            findings.error(path, f"unknown step type `{name}`", suggestion(name, step_types()))


_BY_TYPE = {
    "wait-for-event": _event,
    "for-each": _items,
    "parallel": _wait_for,
    "run-steps": _allow,
    "agent": check_agent_step,
}


def _compensation(placed: Placed, findings: Findings) -> None:
    compensates = "compensate" in placed.lists
    if placed.step.compensate_on is not None and not compensates:
        findings.error(
            (*placed.path, "compensate_on"),
            f"`compensate_on` does nothing on `{placed.id}`: it has no `compensate`",
            "for all steps of a saga it belongs into the saga's config" if placed.type == "saga" else None,
            key=True,
        )
    if not compensates:
        return
    outer = next((step for step in (placed, *placed.ancestors()) if step.list_name == "compensate"), None)
    if outer is not None and outer.parent is not None:
        findings.error(
            (*placed.path, "compensate"),
            f"`{placed.id}` is part of the compensation of `{outer.parent.id}`, and what undoes is not undone itself",
            "give it a `retry` if it may fail",
            key=True,
        )


def _signals(steps: list[Placed], findings: Findings) -> None:
    """A signal named like a human task would decide the task."""
    tasks = {step.id: step for step in steps if step.type == WAITING}
    for step in steps:
        name = step.config.get("signal") if step.type == "wait-for-event" else None
        if isinstance(name, str) and name in tasks:
            line = findings.source.value_at(tasks[name].path)[0]
            findings.error(
                step.config_paths["signal"],
                f"the signal `{name}` is the name under which the human task at line {line} is decided",
                "give the signal another name",
            )
