"""Moving what a run has done to another version of its flow. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engine.again.tree import Tree, is_handler, lists
from orchestrator.spec.definition import Definition, Node
from orchestrator.spec.places import LOOPS, content_hash_of, locate, own_hash_of

_FLOW_HANDLERS = ("#fallback/", "#finally/")


class Move:
    """One tree whose records are kept where the new version has the same step."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def to(self, new: Definition) -> list[str]:
        """Keep what is the same in ``new``; the paths of what is not."""
        changed: list[str] = []
        for path in list(self._tree.children.get("", ())):
            if not path.startswith(_FLOW_HANDLERS):
                self._move(path, new, changed)
        self._tree.become(new)
        return changed

    def _move(self, path: str, new: Definition, changed: list[str]) -> None:
        before = self._tree.place(path)
        if before is None:
            return
        try:
            after = locate(new, path, self._tree.computed)
        except LookupError:
            after = None
        if after is None or own_hash_of(before.node) != own_hash_of(after.node):
            self._drop_changed(path, changed)
            return
        completed = self._tree.records[path]["status"] == "completed"
        if not _same_inside(before.node, after.node):
            if completed and before.node.type in LOOPS:
                self._drop_changed(path, changed)
                return
            if completed:
                self._tree.forced[path] = "steps"
            for child in list(self._tree.children.get(path, ())):
                if not is_handler(child, path):
                    self._move(child, new, changed)
        elif completed and "error" in self._tree.records[path] and not _same_rescue(before.node, after.node):
            self._drop_changed(path, changed)

    def _drop_changed(self, path: str, changed: list[str]) -> None:
        changed += [
            inner for inner in self._tree.inside(path) if self._tree.is_leaf(inner) or inner in self._tree.folded
        ]
        self._tree.drop(path)


def _same_inside(before: Node, after: Node) -> bool:
    left, right = lists(before), lists(after)
    return list(left) == list(right) and all(_same_list(left[label], right[label]) for label in left)


def _same_rescue(before: Node, after: Node) -> bool:
    return _same_list(before.lists.get("on_error", ()), after.lists.get("on_error", ()))


def _same_list(left: Sequence[Node], right: Sequence[Node]) -> bool:
    return [content_hash_of(node) for node in left] == [content_hash_of(node) for node in right]
