"""Which steps and branches of a flow its tests reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from orchestrator.flowtests.results import CaseResult, Coverage, Ran, Unreached
from orchestrator.spec.definition import Definition, Node

_HANDLERS = {
    "on_error": "its `on_error` steps",
    "compensate": "its compensation",
    "finally": "its `finally`",
}


def coverage_of(definition: Definition, cases: Sequence[CaseResult]) -> Coverage:
    """What the cases reach of a flow: also where it ran as a sub-flow."""
    ran = [one for case in cases for one in case.steps if one.flow == definition.flow and one.status != "skipped"]
    reached = {one.step for one in ran}
    found = Coverage(definition.flow, definition.file)
    for node in definition.walk():
        found.steps += 1
        if node.id in reached:
            found.steps_run += 1
        else:
            found.unreached.append(Unreached(f"step `{node.id}` ({node.type}) never runs", node.source))
        for name, taken in _branches(node, ran, reached):
            found.branches += 1
            if taken:
                found.branches_taken += 1
            elif node.id in reached:
                found.unreached.append(Unreached(f"`{node.id}`: no test takes {name}", node.source))
    return found


def _branches(node: Node, ran: Iterable[Ran], reached: set[str]) -> Iterator[tuple[str, bool]]:
    """The ways a step can go, in words, and whether one of the cases went there."""
    taken = {_label(one.branch) for one in ran if one.step == node.id}
    # A branch in which a step failed leaves no word of itself in its condition's record.
    taken |= {label for label, children in node.lists.items() if any(child.id in reached for child in children)}
    if node.type == "condition":
        yield "`then`", "then" in taken
        yield ("`else`", "else" in taken) if "else" in node.lists else ("the way past `then`", "none" in taken)
    elif node.type == "switch":
        for number in range(len(node.config.get("cases", ()))):
            yield f"case {number}", f"case[{number}]" in taken
        yield (
            ("`default`", "default" in taken)
            if "default" in node.lists
            else ("the way past its cases", "none" in taken)
        )
    for label, children in node.lists.items():
        if label in _HANDLERS or label.startswith("catch["):
            yield _HANDLERS.get(label, f"`{label}`"), any(child.id in reached for child in children)


def _label(branch: str | int | None) -> str:
    """The list that a record's ``branch`` names."""
    return f"case[{branch}]" if isinstance(branch, int) else str(branch)
