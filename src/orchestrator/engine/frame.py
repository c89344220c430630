"""What expressions see at one place of a run, and where in the journal that place is."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from orchestrator.engine.journal import Record
from orchestrator.spec.definition import Json, Node


@dataclass(slots=True)
class Frame:
    """The scope (FLOW_FORMAT §2) plus the path prefix. Blocks share their frame's names and extend the path; a
    handler opens a child frame with names of its own."""

    scope: dict[str, Json]
    steps: MutableMapping[str, Record] = field(default_factory=dict)
    prefix: str = ""

    def __post_init__(self) -> None:
        self.scope["steps"] = self.steps

    def path(self, node: Node) -> str:
        """The journal key of a step reached in this frame."""
        return f"{self.prefix}{node.id}"

    def inside(self, node: Node, label: str | None = None) -> Frame:
        """The frame of a list inside ``node``: same names, longer path (``risk-check/then/``)."""
        prefix = f"{self.path(node)}/" if label is None else f"{self.path(node)}/{label}/"
        return Frame(self.scope, self.steps, prefix)

    def with_names(self, prefix: str, names: dict[str, Json]) -> Frame:
        """A child frame with names of its own, such as ``error`` in a handler; records made in it are seen outside."""
        return Frame(self.scope | names, self.steps, prefix)

    def remember(self, node: Node, record: Record) -> None:
        """Make a step's record visible to expressions under its id."""
        if node.named:
            self.steps[node.id] = record
