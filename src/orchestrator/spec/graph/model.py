"""A flow as a graph: vertices are its steps, boxes the lists inside them, edges who waits for whom in a list."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.spec.definition import Definition, Json, Node

HANDLERS = ("on_error", "compensate")
"""Lists that any step may have and that run only when something went wrong: drawn beside it."""
_LOOPS = ("for-each", "while")
_PLAIN = ("steps", "branches")
"""Lists whose name is no part of a journal path."""
_ORDER = ("steps", "branches", "then", "else", "case", "default", "catch", "finally")
_NUMBER = re.compile(r"\[\d+\]")
_BRACES = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_DETAILS: dict[str, tuple[str, ...]] = {
    "http": ("method", "url"),
    "api": ("service", "method"),
    "claude": ("model",),
    "agent": ("agent", "model"),
    "mcp": ("server", "tool", "resource", "prompt"),
    "function": ("handler",),
    "sql": ("database",),
    "file": ("operation", "path"),
    "email": ("to",),
    "slack": ("channel",),
    "notification": ("target",),
    "queue": ("queue",),
    "emit": ("event",),
    "state": ("get", "put", "increment", "delete"),
    "human-task": ("assignee", "group"),
    "condition": ("if",),
    "switch": ("value",),
    "for-each": ("items",),
    "while": ("while", "until"),
    "parallel": ("wait_for",),
    "wait-for-event": ("event", "signal"),
    "flow": ("flow",),
    "fail": ("type",),
}
"""What tells most about a step, by type: members of its config."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """A step and the lists inside it."""

    node: Node
    boxes: tuple[Box, ...] = ()

    @property
    def inner(self) -> tuple[Box, ...]:
        """The lists that are what the step does."""
        return tuple(box for box in self.boxes if box.label not in HANDLERS)

    @property
    def asides(self) -> tuple[Box, ...]:
        """The lists that run when something went wrong."""
        return tuple(box for box in self.boxes if box.label in HANDLERS)


@dataclass(frozen=True, slots=True)
class Box:
    """A list of steps. ``edges`` are pairs of positions: the second waits for the first, and for nothing between."""

    label: str
    title: str
    vertices: tuple[Vertex, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole flow: its list of steps, and those of ``error_handling``."""

    flow: str
    title: str
    version: str
    steps: Box
    handlers: tuple[Box, ...]

    def walk(self) -> Iterator[Vertex]:
        """Every vertex, in the order of the file."""
        for box in (self.steps, *self.handlers):
            yield from _walk(box)


def graph_of(definition: Definition) -> Graph:
    """How the flow looks."""
    return Graph(
        flow=definition.flow,
        title=definition.name or definition.flow,
        version=definition.version,
        steps=_box("steps", "", definition.steps),
        handlers=tuple(_box(name, name, nodes) for name, nodes in definition.handlers.items() if nodes),
    )


def detail_of(node: Node) -> str:
    """One line about what the step does, from what the author wrote; empty where nothing short tells it."""
    if node.type == "wait":
        return _text(node.config.get("until")) or _seconds(node.config.get("duration"))
    if node.type == "parallel" and node.config.get("wait_for", "all") == "all":
        return ""
    found = [_bare(_text(node.config.get(key))) for key in _DETAILS.get(node.type, ())]
    return " ".join(part for part in found if part)


def condition_of(node: Node) -> str:
    """The step's own ``if``, in one line; empty where it has none."""
    return f"if {_bare(_text(node.condition))}" if node.condition else ""


def static_paths(definition: Definition) -> dict[str, Node]:
    """Every step by its place: a journal path with the numbers of cases and passes left out (``place_of``)."""
    found: dict[str, Node] = {}
    _add_paths(found, definition.steps, "")
    for name, nodes in definition.handlers.items():
        _add_paths(found, nodes, f"#{name}/")
    return found


def place_of(path: str) -> str:
    """The place in the flow that a journal path belongs to: the same for every pass of a loop."""
    return _NUMBER.sub("[]", path)


def _walk(box: Box) -> Iterator[Vertex]:
    for vertex in box.vertices:
        yield vertex
        for inner in vertex.boxes:
            yield from _walk(inner)


def _box(label: str, title: str, nodes: Sequence[Node]) -> Box:
    vertices = tuple(
        Vertex(
            node,
            tuple(
                _box(name, _title(node, name), node.lists[name])
                for name in sorted(node.lists, key=_rank)
                if node.lists[name]
            ),
        )
        for node in nodes
    )
    return Box(label, title, vertices, tuple(_edges(nodes, ordered=label != "branches")))


def _edges(nodes: Sequence[Node], *, ordered: bool) -> Iterator[tuple[int, int]]:
    """Who waits for whom at once: a step that waits for all above it waits for the last ones of them."""
    positions = {node.id: index for index, node in enumerate(nodes)}
    # Steps above that no step above waits for, in their order.
    last: dict[int, None] = {}
    waited_for: dict[int, None] = {}
    for index, node in enumerate(nodes):
        if node.needs is not None:
            waits = [positions[name] for name in node.needs if name in positions]
        else:
            waits = list(last) if ordered else []
        for before in waits:
            waited_for[before] = None
            last.pop(before, None)
            yield before, index
        if index not in waited_for:
            last[index] = None


def _rank(label: str) -> tuple[int, int]:
    """Where a list stands among those of its step: JSON does not keep their order."""
    name, _, number = label.partition("[")
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), int(number.rstrip("]") or 0)


def _title(node: Node, label: str) -> str:
    """What stands above a list: its name, and when it runs."""
    name, _, at = label.rstrip("]").partition("[")
    number = int(at or 0)
    if name == "catch":
        errors = _entry(node, "catch", number).get("on")
        return f"catch: {_text(errors)}" if errors and errors != ["*"] else "catch"
    if name == "case":
        given = _entry(node, "cases", number)
        meant = f"= {_bare(_text(given['equals']))}" if "equals" in given else _bare(_text(given.get("if")))
        return f"case {number + 1}: {meant}" if meant else f"case {number + 1}"
    return label


def _entry(node: Node, key: str, number: int) -> dict[str, Json]:
    """What the author wrote beside a numbered list."""
    entries = node.config.get(key)
    entry = entries[number] if isinstance(entries, list) and number < len(entries) else None
    return entry if isinstance(entry, dict) else {}


def _add_paths(found: dict[str, Node], nodes: Sequence[Node], prefix: str) -> None:
    for node in nodes:
        path = f"{prefix}{node.id}"
        found[path] = node
        for label, children in node.lists.items():
            _add_paths(found, children, _inner(node, path, label))


def _inner(node: Node, path: str, label: str) -> str:
    if label in HANDLERS:
        return f"{path}#{label}/"
    if node.type in _LOOPS:
        return f"{path}[]/"
    return f"{path}/" if label in _PLAIN else f"{path}/{place_of(label)}/"


def _seconds(value: Json) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _text(value)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if value >= size and value % size == 0:
            return f"{value / size:g}{unit}"
    return f"{value:g}s"


def _bare(text: str) -> str:
    """The text without the braces of its templates, which mean nothing where there is no other text."""
    return _BRACES.sub(r"\1", text)


def _text(value: Json) -> str:
    """The value as one line; empty for nothing."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    return " ".join(str(value).split())
