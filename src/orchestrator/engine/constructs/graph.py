"""A list whose steps have ``needs``: a step starts the moment the last of its needs is done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from orchestrator.engine.frame import Frame
from orchestrator.engine.inbox import new_future
from orchestrator.engine.journal import Record
from orchestrator.engine.run import Walk
from orchestrator.spec.definition import Node

BLOCKED: Record = {"status": "blocked"}
"""What stands for a step that could not start because one it needs failed: it is never reached and has no record."""


def members(walk: Walk, nodes: Sequence[Node], frame: Frame) -> list[Coroutine[Any, Any, Record]]:
    """One coroutine per sibling, to be run side by side; each waits for its needs first."""
    over = {node.id: new_future() for node in nodes}

    async def run(index: int, node: Node) -> Record:
        awaited = [above.id for above in nodes[:index]] if node.needs is None else list(node.needs)
        record: Record | None = None
        try:
            before = [await asyncio.shield(over[name]) for name in awaited]
            if any(one is None or one is BLOCKED for one in before):
                record = BLOCKED
            elif node.explicit_needs and all(one["status"] == "skipped" for one in before):
                record = walk.skip(node, frame)
            else:
                record = await walk.run_step(node, frame)
            return record
        finally:
            over[node.id].set_result(record)

    return [run(index, node) for index, node in enumerate(nodes)]
