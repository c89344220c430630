"""What expressions see at one place of a run, and where in the journal that place is."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from orchestrator.engine.journal import Record
from orchestrator.spec.definition import Json, Node


@dataclass(slots=True)
class Frame:
    """The scope (FLOW_FORMAT §2) plus the path prefix. Blocks share their frame's names and extend the path; a
    handler opens a child frame with names of its own, a pass of a loop one with its own steps."""

    scope: dict[str, Json]
    steps: MutableMapping[str, Record] = field(default_factory=dict)
    prefix: str = ""
    inside: str = ""
    """Prefix of the innermost pass around; empty outside loops."""
    names: dict[str, Json] = field(default_factory=dict)
    """``loop`` and the items of the passes around."""
    saga: str = ""
    """Path of the innermost saga around; empty outside sagas."""

    def __post_init__(self) -> None:
        self.scope["steps"] = self.steps

    def path(self, node: Node) -> str:
        """The journal key of a step reached in this frame."""
        return f"{self.prefix}{node.id}"

    def into(self, node: Node, label: str | None = None, saga: str | None = None) -> Frame:
        """The frame of a list inside ``node``: same names, longer path (``risk-check/then/``)."""
        prefix = f"{self.path(node)}/" if label is None else f"{self.path(node)}/{label}/"
        return Frame(self.scope, self.steps, prefix, self.inside, self.names, self.saga if saga is None else saga)

    def with_names(self, prefix: str, names: dict[str, Json]) -> Frame:
        """A child frame with names of its own, such as ``error`` in a handler; records made in it are seen outside."""
        return Frame(self.scope | names, self.steps, prefix, self.inside, self.names, self.saga)

    def in_pass(self, prefix: str, names: dict[str, Json]) -> Frame:
        """The frame of one pass of a loop: its steps are seen in this pass only."""
        steps: ChainMap[str, Record] = ChainMap({}, self.steps)
        return Frame(self.scope | names, steps, prefix, prefix, self.names | names, self.saga)

    def remember(self, node: Node, record: Record) -> None:
        """Make a step's record visible to expressions under its id."""
        if node.named:
            self.steps[node.id] = record
