"""Undoing: a saga's scope, and the compensations of a run, newest completion first (FLOW_FORMAT §6)."""

from __future__ import annotations

import re

from orchestrator.engine.activities import Outcome
from orchestrator.engine.compensations import Owed
from orchestrator.engine.failures import ErrorRecord, RunEnded, StepFailed
from orchestrator.engine.frame import Frame
from orchestrator.engine.gate import shielded
from orchestrator.engine.journal import Record
from orchestrator.engine.run import Walk
from orchestrator.spec.definition import Json, Node
from orchestrator.spec.places import locate

_PASS = re.compile(r"([\w-]+)\[\d+\]/")


async def saga(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """The steps of a saga. What they owe is settled by ``close_completed`` and ``close_failed``, outside the saga's own
    timeout."""
    known = walk.run.journal.known_state(path)
    if known is not None and "error" in known:
        # It had failed, and continued as new while it was undoing.
        raise StepFailed(known["error"])
    return Outcome(await walk.run_list(node.lists.get("steps", ()), frame.into(node, saga=path)))


def close_completed(walk: Walk, node: Node, frame: Frame, path: str) -> None:
    """A saga has completed: its compensations move to the scope around it, unless it commits."""
    owed = walk.run.compensations
    if node.config.get("commit"):
        owed.commit(path)
    else:
        owed.hand_over(path, frame.saga)


async def close_failed(walk: Walk, frame: Frame, path: str, error: ErrorRecord) -> ErrorRecord:
    """A saga has failed: undo what it did, shielded, and tell so in the error."""
    walk.run.journal.state(path)["error"] = error
    await shielded(undo(walk, error, path), urgent=False)
    walk.run.compensations.hand_over(path, frame.saga)
    done = [told for told in walk.run.compensations.undone if str(told["path"]).startswith(f"{path}/")]
    return error | {"compensations": done} if done else error


async def undo(walk: Walk, error: ErrorRecord | None, scope: str | None = None) -> None:
    """Run the compensations of a scope, or all. One that fails does not stop the others."""
    owing = walk.run.compensations
    while (owed := owing.newest(scope)) is not None:
        record = walk.run.journal.get(owed.path)
        try:
            await _undo_one(walk, owed, error)
        except StepFailed as failure:
            owing.settled(owed, record, failure.error)
        except RunEnded:
            owing.settled(owed, record, None)
        else:
            owing.settled(owed, record, None)
        walk.run.progressed()


async def _undo_one(walk: Walk, owed: Owed, error: ErrorRecord | None) -> None:
    node = owed.node or locate(walk.program.definition, owed.path).node
    frame = owed.frame or _frame_again(walk, owed)
    names: dict[str, Json] = {"error": error}
    prefix = f"{owed.path}#compensate/"
    if owed.record is not None:
        # Undone as it was, not as it became when it was run again.
        if not owed.begun:
            walk.run.journal.reopen((prefix,))
            owed.begun = True
        frame = Frame(
            frame.scope | names, dict(frame.steps) | {node.id: owed.record}, prefix, frame.inside, frame.names
        )
        await walk.run_list(node.lists["compensate"], frame)
    else:
        await walk.run_list(node.lists["compensate"], frame.with_names(prefix, names))


def seen_from(walk: Walk, path: str) -> dict[str, Record]:
    """The records a handler at ``path`` may name, by id, where the run has continued elsewhere since: those outside
    loops and those of its own passes."""
    loops = {node.id for node in walk.program.definition.walk() if node.type in ("for-each", "while")}
    steps: dict[str, Record] = {}
    for other, record in walk.run.journal.records():
        passes = [other[: found.end()] for found in _PASS.finditer(other) if found[1] in loops]
        if all(path.startswith(prefix) for prefix in passes):
            steps[other.rpartition("/")[2]] = record
    return steps


def _frame_again(walk: Walk, owed: Owed) -> Frame:
    """What a step saw, after the run has continued elsewhere; beside the records the items of its passes."""
    root = walk.run.frame
    prefix = owed.path.rpartition("/")[0]
    return Frame(
        root.scope | owed.names,
        seen_from(walk, owed.path),
        f"{prefix}/" if prefix else "",
        root.inside,
        owed.names,
        owed.scope,
    )
