"""Which steps of a definition a test answers for, though the engine would carry them out in several activities."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from temporalio.common import RawValue
from temporalio.converter import PayloadConverter

from orchestrator.spec.definition import Definition, Node, definition_from_json, definition_to_json
from orchestrator.spec.flowtests.cases import FlowCase

Json = Any

_ALWAYS = ("agent", "flow")
"""Mocked or real: never anything else."""
_WHERE_MOCKED = ("human-task", "wait-for-event")
"""Answered by events where no mock answers."""
_MARK = " in a test "


class Marking:
    """Definitions with the marks of cases, kept: those of one file are marked alike, as a rule."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, frozenset[str]], tuple[str, Definition]] = {}

    def marked(
        self, args: list[RawValue], case: FlowCase, converter: PayloadConverter
    ) -> tuple[list[RawValue], Definition]:
        """A run's arguments with its definition's marks, and the definition."""
        envelope = converter.from_payload(args[1].payload)
        written = converter.from_payload(args[2].payload)
        key = str(envelope["definition"]).partition(_MARK)[0]
        case_key = frozenset([*case.mocks, *(f"real {name}" for name in case.real)])
        if (key, case_key) not in self._known:
            definition = definition_from_json(written)
            ids = {node.id for node in definition.walk() if _is_answered(node, case)}
            digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:12]
            self._known[key, case_key] = (f"{key}{_MARK}{digest}", _with_marks(definition, ids))
        new_key, definition = self._known[key, case_key]
        envelope = envelope | {"definition": new_key}
        payloads = converter.to_payloads([envelope, definition_to_json(definition)])
        return [args[0], *(RawValue(payload) for payload in payloads), *args[3:]], definition


def _is_answered(node: Node, case: FlowCase) -> bool:
    if node.type in _ALWAYS:
        return not {"*", node.id, node.type} & case.real
    if node.type not in _WHERE_MOCKED:
        return False
    return any(name == node.id or name.endswith(f"/{node.id}") for name in case.mocks)


def _with_marks(definition: Definition, ids: set[str]) -> Definition:
    handlers = {name: tuple(_marked(node, ids) for node in nodes) for name, nodes in definition.handlers.items()}
    return replace(definition, steps=tuple(_marked(node, ids) for node in definition.steps), handlers=handlers)


def _marked(node: Node, ids: set[str]) -> Node:
    lists = {name: tuple(_marked(child, ids) for child in children) for name, children in node.lists.items()}
    return replace(node, lists=lists, mocked=node.id in ids)
