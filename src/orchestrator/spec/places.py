"""Where a journal path leads in a definition, and what makes a step there the same step. Pure.

The grammar of paths: ids from the root. What holds one list goes on with the child's id (``outer/id``), a loop with
the pass between (``each[17]/x``), the rest with the list's name: ``cond/then/x``, ``sw/case[0]/x``, ``sw/default/x``,
``try/catch[0]/x``, ``try/finally/x`` (the body of a try is ``try/x``), handlers of any step ``x#on_error/y`` and
``x#compensate/y``, the flow's own ``#fallback/y`` and ``#finally/y``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.spec.definition import Definition, Json, Node

LOOPS = frozenset({"for-each", "while"})
"""Types whose body has passes: ``[n]`` follows their id."""

HANDLERS = ("on_error", "compensate")
"""Lists that any step may have; in a path they follow ``#``."""

_BODY = {"block": "steps", "saga": "steps", "for-each": "steps", "while": "steps", "try": "steps",
         "parallel": "branches", "run-steps": "steps"}  # fmt: skip
"""The list whose name does not appear in a path, by type."""

_SEGMENT = re.compile(r"(?P<id>[\w-]+)(?:\[(?P<index>\d{1,9})\])?")
_LABEL = re.compile(r"(?P<label>then|else|default|finally|(?:case|catch)\[\d{1,9}\])/")
_HANDLER = re.compile(r"#(?P<label>on_error|compensate)/")
_FLOW_HANDLER = re.compile(r"#(?P<label>fallback|finally)/")


@dataclass(frozen=True, slots=True)
class Around:
    """One step around a place."""

    node: Node
    path: str
    label: str
    """The list of ``node.lists`` that leads on: ``steps``, ``then``, ``case[0]``, ``on_error`` …"""
    index: int | None = None
    """The pass, where the node is a loop and the list its body."""

    @property
    def inner(self) -> str:
        """What the paths inside this list start with, the next id aside."""
        return _prefix(self.node, self.path, self.label, self.index)


@dataclass(frozen=True, slots=True)
class Place:
    """A step of a definition, met on a path."""

    node: Node
    path: str
    parents: tuple[Around, ...] = ()
    """The steps around it, the outermost first."""
    root: str = "steps"
    """The flow's list that everything hangs on: ``steps``, ``fallback`` or ``finally``."""

    @property
    def list_name(self) -> str:
        """The list that holds the step."""
        return self.parents[-1].label if self.parents else self.root

    @property
    def siblings(self) -> str:
        """What the paths of the steps beside this one start with."""
        return self.path[: len(self.path) - len(self.node.id)]


Computed = Mapping[str, Sequence[Node]]
"""Steps that were computed at run time, by the path of their ``run-steps`` step."""


def locate(definition: Definition, path: str, computed: Computed | None = None) -> Place:
    """The step a path leads to. Raises LookupError saying how far the path could be followed.

    A path may name the run of a step, never a pass alone (``each[17]``). Steps inside a ``run-steps`` step are found
    only where ``computed`` holds them.
    """
    handler = _FLOW_HANDLER.match(path)
    root = handler["label"] if handler else "steps"
    nodes = definition.handlers.get(root, ()) if handler else definition.steps
    walk = _Walk(path, root, computed or {})
    place = walk.descend(nodes, handler.end() if handler else 0, ())
    if place is None:
        reason = f"it can be followed to `{walk.reached}`" if walk.reached else "it begins with no step"
        raise LookupError(f"`{path}` is no step of flow `{definition.flow}`: {reason}")
    return place


def path_of(definition: Definition, step: str) -> str:
    """The path of the step with this id. Raises LookupError where there is none, and where it lies inside a loop and so
    has a path for every pass."""
    for place in places(definition):
        if place.node.id == step:
            loop = next((around for around in reversed(place.parents) if around.index is not None), None)
            if loop is None:
                return place.path
            raise LookupError(
                f"`{step}` lies inside the loop `{loop.node.id}` and has a path for every pass, such as `{place.path}`"
            )
    raise LookupError(f"flow `{definition.flow}` has no step `{step}`")


def places(definition: Definition) -> Iterator[Place]:
    """Every step of a definition, handlers included, in the order of the file; of a loop the pass 0."""
    yield from _walk(definition.steps, "", (), "steps")
    for name, nodes in definition.handlers.items():
        yield from _walk(nodes, f"#{name}/", (), name)


def loop_prefix(place: Place) -> str:
    """What every path in the same pass of the nearest loop starts with (``each[17]/``); empty outside loops."""
    return next((around.inner for around in reversed(place.parents) if around.index is not None), "")


def is_inside(path: str, outer: str) -> bool:
    """Whether ``path`` lies inside ``outer``, the path of a step or of one pass of a loop; no path lies in itself."""
    return path.startswith(outer) and path[len(outer) : len(outer) + 1] in ("/", "[", "#")


def paths_inside(outer: str, paths: Iterable[str]) -> list[str]:
    """Those of ``paths`` that lie inside ``outer``, in their order."""
    return [path for path in paths if is_inside(path, outer)]


def content_hash_of(node: Node) -> str:
    """What makes a step the same step in two versions of a flow: its own content and that of every step in it.

    How often it is tried, how long it may take, where in the file it stands, what it waits for and how it would be
    undone can change without making a recorded result another one, and are left out.
    """
    lists = {
        name: [content_hash_of(child) for child in nodes] for name, nodes in node.lists.items() if name != "compensate"
    }
    return _digest(_own(node) | {"lists": lists})


def own_hash_of(node: Node) -> str:
    """``content_hash_of`` without the steps inside."""
    return _digest(_own(node))


def _own(node: Node) -> dict[str, Json]:
    return {
        "id": node.id,
        "type": node.type,
        "config": {key: value for key, value in node.config.items() if key != "defaults"},
        "condition": node.condition,
        "on_error": node.on_error,
        "output_schema": node.output_schema,
        "counts": node.counts,
        "bindings": node.bindings,
        "task_queue": node.task_queue if node.type == "function" else None,
    }


def _digest(content: Json) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _prefix(node: Node, path: str, label: str, index: int | None) -> str:
    if label in HANDLERS:
        return f"{path}#{label}/"
    if label == _BODY.get(node.type):
        return f"{path}/" if index is None else f"{path}[{index}]/"
    return f"{path}/{label}/"


def _walk(nodes: Sequence[Node], prefix: str, parents: tuple[Around, ...], root: str) -> Iterator[Place]:
    for node in nodes:
        path = prefix + node.id
        yield Place(node, path, parents, root)
        for label, children in node.lists.items():
            index = 0 if node.type in LOOPS and label == "steps" else None
            around = Around(node, path, label, index)
            yield from _walk(children, around.inner, (*parents, around), root)


@dataclass(slots=True)
class _Walk:
    """One path being followed."""

    path: str
    root: str
    computed: Computed
    reached: str = ""
    """The longest beginning of the path that is a step."""

    def descend(self, nodes: Sequence[Node], at: int, parents: tuple[Around, ...]) -> Place | None:
        """The place that the path leads to from position ``at`` on, below ``nodes``."""
        segment = _SEGMENT.match(self.path, at)
        node = next((one for one in nodes if one.id == segment["id"]), None) if segment else None
        if segment is None or node is None:
            return None
        here, end = self.path[: segment.end("id")], segment.end()
        self.reached = max(self.reached, here, key=len)
        if end == len(self.path):
            return Place(node, self.path, parents, self.root) if segment["index"] is None else None
        for label, index, rest in _ways(node, self.path, segment):
            children = node.lists.get(label) or (self.computed.get(here, ()) if node.type == "run-steps" else ())
            found = self.descend(children, rest, (*parents, Around(node, here, label, index)))
            if found is not None:
                return found
        return None


def _ways(node: Node, path: str, segment: re.Match[str]) -> Iterator[tuple[str, int | None, int]]:
    """The lists of ``node`` that may hold the next step: name, pass, and where the next id begins. In a try
    ``finally/x`` may be its list or a step of its body; ids are unique, so that only one of them holds ``x``."""
    end = segment.end()
    if segment["index"] is None:
        handler = _HANDLER.match(path, end)
        if handler:
            yield handler["label"], None, handler.end()
            return
    if path[end : end + 1] != "/":
        return
    body = _BODY.get(node.type)
    if (segment["index"] is not None) != (node.type in LOOPS):
        return
    if body is not None:
        yield body, None if segment["index"] is None else int(segment["index"]), end + 1
    label = _LABEL.match(path, end + 1)
    if label and label["label"] in node.lists and label["label"] != body:
        yield label["label"], None, label.end()
