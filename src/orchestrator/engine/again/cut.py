"""Running again from a step: it and everything after it is dropped. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engine.again.tree import Tree, awaited
from orchestrator.spec.definition import Node
from orchestrator.spec.places import Place


class Cut:
    """One tree in which a step and what comes after it is dropped."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def at(self, place: Place) -> None:
        """Drop a step and everything that comes after it, and open what is around it."""
        self._tree.drop(place.path)
        self._drop_after(self._tree.list_of(place.parents, place.root), place.node.id, place.siblings)
        for depth in range(len(place.parents) - 1, -1, -1):
            around = place.parents[depth]
            self._tree.forced[around.path] = around.label
            if around.index is not None:
                self._tree.cut_passes.add((around.path, around.index))
                if not _is_concurrent(around.node):
                    self._cut_passes(around.path, around.index)
            holder = place.parents[:depth]
            prefix = around.path[: len(around.path) - len(around.node.id)]
            self._drop_after(self._tree.list_of(holder, place.root), around.node.id, prefix)

    def _cut_passes(self, loop: str, first: int) -> None:
        """Passes after ``first`` run again; those of them that are folded have records no more."""
        self._tree.from_pass[loop] = first
        low = self._tree.states.get(loop, {}).get("low")
        if loop in self._tree.folded and (low is None or low > first + 1):
            self._tree.repeat_passes(loop)
        for index in self._tree.passes(loop):
            if index > first:
                self._drop_pass(loop, index)

    def _drop_after(self, nodes: Sequence[Node], first: str, prefix: str) -> None:
        """Drop the siblings that wait for ``first``, directly or not."""
        after: dict[str, None] = {first: None}
        grown = True
        while grown:
            grown = False
            for index, node in enumerate(nodes):
                if node.id not in after and any(name in after for name in awaited(nodes, index)):
                    after[node.id] = None
                    grown = True
        for name in after:
            if name != first and prefix + name in self._tree.records:
                self._tree.drop(prefix + name)

    def _drop_pass(self, loop: str, index: int) -> None:
        for child in [child for child in self._tree.children.get(loop, ()) if child.startswith(f"{loop}[{index}]/")]:
            self._tree.drop(child)


def _is_concurrent(node: Node) -> bool:
    return node.type == "for-each" and node.config.get("concurrency", 1) != 1
