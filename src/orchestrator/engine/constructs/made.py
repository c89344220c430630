"""Steps that the engine itself makes while a run goes on: an agent's tool calls, the questions around them.

What they are given is data and never looked at as a template: their config names it, and it stands in the scope.
"""

from __future__ import annotations

from orchestrator.engine.frame import Frame
from orchestrator.engine.journal import Record
from orchestrator.engine.program import Program
from orchestrator.engine.run import Walk
from orchestrator.spec.definition import Definition, Json, Node, Timeout

GIVEN = "given"
"""Root under which the scope of such a step holds its config."""


def is_made(frame: Frame) -> bool:
    """Whether a step in this frame is the engine's own, not the author's."""
    return GIVEN in frame.scope


async def run_made(
    walk: Walk, like: Node, kind: str, step: str, config: dict[str, Json], frame: Frame, *, title: str | None = None
) -> Record:
    """Run one step of type ``kind`` under the id ``step`` in ``frame``, to its record. Policy, queue and catalogue are
    those of the step ``like`` for which it is made. Raises what ``run_step`` raises."""
    acts = kind not in ("human-task", "flow")
    node = Node(
        id=step,
        type=kind,
        source=like.source,
        named=False,
        name=title,
        config={key: f"{{{{ {GIVEN}.{key} }}}}" for key in config},
        retry=like.retry if acts else None,
        timeout=like.timeout if acts else Timeout(),
        task_queue=like.task_queue,
        priority=like.priority,
        at_most_once=like.at_most_once,
        bindings=like.bindings,
    )
    flow = walk.program.definition
    made = Definition(flow.flow, flow.version, flow.hash, flow.file, (node,), task_queue=flow.task_queue)
    program = Program(made, walk.program)
    inner = frame.with_names(frame.prefix, {GIVEN: config})
    return await walk.over(program).run_step(node, inner)
