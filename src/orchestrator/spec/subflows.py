"""Which flows a flow runs inside of it, and which of them would never end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import Problem
from orchestrator.spec.agents import agent_flows
from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.findings import is_template

_MAYBE = frozenset({"condition", "switch", "for-each", "while"})
"""Types whose lists may not run."""
_AFTER = frozenset({"on_error", "compensate"})
"""Lists that run only after an error, as every ``catch`` does."""
_LEAVES = frozenset({"return", "fail", "human-task", "wait-for-event"})
"""Steps after which a run may not go on."""


@dataclass(frozen=True, slots=True)
class SubflowCall:
    """A ``flow`` step, or a tool of an agent, whose flow is written down, not computed."""

    step: str
    flow: str
    version: str | None
    source: str
    """``file:line:column``."""
    always: bool
    """Whether every run that goes well reaches it."""


def subflow_calls(definition: Definition) -> list[SubflowCall]:
    """Every flow that a definition names, in the order of the file."""
    # A run that may end or be held somewhere may not reach its sub-flows: then it cannot be told.
    leaves = any(node.type in _LEAVES for node in definition.walk())
    calls = list(_calls(definition.steps, not leaves))
    for nodes in definition.handlers.values():
        calls.extend(_calls(nodes, False))
    return calls


def _calls(nodes: Sequence[Node], always: bool) -> Iterator[SubflowCall]:
    for node in nodes:
        here = always and node.condition is None and not node.explicit_needs
        name = node.config.get("flow")
        if node.type == "flow" and isinstance(name, str) and not is_template(name):
            version = node.config.get("version")
            yield SubflowCall(node.id, name, None if version is None else str(version), node.source, here)
        if node.type == "agent":
            yield from (SubflowCall(node.id, tool, None, node.source, False) for tool in agent_flows(node))
        for label, children in node.lists.items():
            sure = here and node.type not in _MAYBE and label not in _AFTER and not label.startswith("catch[")
            yield from _calls(children, sure and not _races(node))


def _races(node: Node) -> bool:
    """Whether a parallel may end before all its branches do."""
    return node.type == "parallel" and node.config.get("wait_for", "all") != "all"


def endless(definition: Definition) -> list[Problem]:
    """A problem for every step that would start its own flow again in every run."""
    return [
        problem_at(
            call,
            f"every run of `{definition.flow}` would start `{definition.flow}` again, without end",
            "put the step under an `if` or a `condition` that is false at some depth",
        )
        for call in subflow_calls(definition)
        if call.always and call.flow == definition.flow and call.version in (None, definition.version)
    ]


def problem_at(call: SubflowCall, message: str, hint: str | None = None) -> Problem:
    """A problem at the place of a sub-flow's step."""
    file, line, column = call.source.rsplit(":", 2)
    return Problem(f"step `{call.step}`: {message}", file, int(line), int(column), hint)


def cycles(flows: Mapping[str, Definition]) -> dict[str, tuple[SubflowCall, str]]:
    """Of flows that start each other in every run, endlessly: by flow, its step and the way round in words. A flow
    that merely starts one of these is not listed."""
    calls = {
        name: [call for call in subflow_calls(one) if call.always and call.version is None]
        for name, one in flows.items()
    }
    found: dict[str, tuple[SubflowCall, str]] = {}
    for name in flows:
        for call in calls[name]:
            way = _way(call.flow, name, calls) if call.flow != name else None
            if way is not None:
                found.setdefault(name, (call, " → ".join((name, *way))))
    return found


def _way(start: str, goal: str, calls: Mapping[str, Sequence[SubflowCall]]) -> tuple[str, ...] | None:
    """The shortest way from one flow to another, both named in it."""
    ways: dict[str, tuple[str, ...]] = {start: (start,)}
    for name in (queue := [start]):
        if name == goal:
            return ways[name]
        for call in calls.get(name, ()):
            if call.flow not in ways:
                ways[call.flow] = (*ways[name], call.flow)
                queue.append(call.flow)
    return None
