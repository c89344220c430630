"""What a new run takes over from an old one: a retry, a re-run from a step, a restart on another version (ENGINE §1).

Everything here is a pure function from one journal to another, as JSON (what ``Journal.to_json`` writes and the
``journal`` query answers). A journal is never changed in place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.engine.again.cut import Cut
from orchestrator.engine.again.move import Move
from orchestrator.engine.again.revival import Revival
from orchestrator.engine.again.tree import Tree
from orchestrator.errors import FieldProblem, InputsInvalid, Refused
from orchestrator.spec.definition import Definition, Json, Node
from orchestrator.spec.inputs import check_json
from orchestrator.spec.places import HANDLERS, Place, is_inside, locate, path_of

_NO_ID = re.compile(r"[/\[#]")


@dataclass(frozen=True, slots=True)
class Carried:
    """A journal to start with, and what was decided about it: paths, in the order their steps had begun."""

    journal: dict[str, Json]
    again: tuple[str, ...] = ()
    """Begun before and run again; what was never reached is not listed."""
    kept: tuple[str, ...] = ()
    """Completed steps (those that hold no others) whose results are taken over."""
    undone: tuple[str, ...] = ()
    """Those of ``again`` that had been compensated: they run under a new idempotency key."""
    changed: tuple[str, ...] = ()
    """Results that another version does not take over, because the step is another one there or gone."""
    left: tuple[str, ...] = ()
    """Steps with an effect to compensate that the new version knows no compensation for: it stays."""
    pinned: tuple[str, ...] = ()


def retry(journal: Mapping[str, Json], definition: Definition) -> Carried:
    """Go on where a run failed or was stopped.

    Steps that failed or were cancelled run again under their old idempotency key, because their effect may exist;
    steps that were compensated run again under a new one; what else completed is kept. Failures that the author
    handled (``on_error``, ``catch``, a tolerated pass) stay as they are.
    """
    tree = Tree(journal, definition)
    Revival(tree).revive_all()
    return _carried(tree)


def rerun(journal: Mapping[str, Json], definition: Definition, path: str) -> Carried:
    """Run a step and everything that comes after it again; what stands before it or beside it is kept.

    ``path`` may be the id of a step outside loops. Steps that completed get a new idempotency key. What failed or was
    compensated elsewhere runs again as in ``retry``. Raises Refused for a path that cannot be run again, naming what
    to choose instead.
    """
    tree = Tree(journal, definition)
    Cut(tree).at(_target(tree, definition, path))
    Revival(tree).revive_all()
    return _carried(tree)


def upgrade(journal: Mapping[str, Json], old: Definition, new: Definition) -> Carried:
    """``retry`` on another version of the flow. A result is taken over by path where the step's content is the same; a
    step whose inside alone changed is opened again and keeps what is the same in it; the rest is ``changed``."""
    tree = Tree(journal, old)
    changed = Move(tree).to(new)
    Revival(tree).revive_all()
    return _carried(tree, changed)


def pin(carried: Carried, definition: Definition, pins: Mapping[str, Json], at: str) -> Carried:
    """Give steps the results of somebody's choice: their records are completed and ``pinned``, they do not run.

    ``pins`` is output by path, or by id for steps outside loops; ``at`` is the instant to record. Raises Refused for a
    step that does not exist or lies in a part that is over, InputsInvalid for an output that its schema refuses.
    """
    tree = Tree(carried.journal, definition)
    paths: list[str] = []
    for name, output in pins.items():
        place = _placed(definition, name, tree.computed)
        closed = next((one.path for one in place.parents if tree.is_over(one.path)), None)
        if closed is not None:
            raise Refused(f"`{place.path}` cannot be pinned: `{closed}` around it is over and will not be run again")
        _check_output(definition, place, output)
        tree.settle(place, output, at)
        paths.append(place.path)
    pinned = (*carried.pinned, *paths)
    gone = dict.fromkeys(path for path in carried.again for one in paths if path == one or is_inside(path, one))
    return Carried(
        tree.to_json(),
        tuple(path for path in carried.again if path not in gone),
        carried.kept,
        tuple(path for path in carried.undone if path not in gone),
        carried.changed,
        carried.left,
        tuple(dict.fromkeys(pinned)),
    )


def _carried(tree: Tree, changed: Iterable[str] = ()) -> Carried:
    decided = tree.finish()
    return Carried(tree.to_json(), decided.again, decided.kept, decided.undone, tuple(changed), decided.left)


def _target(tree: Tree, definition: Definition, name: str) -> Place:
    """The step to run again from. Raises Refused."""
    place = _placed(definition, name, tree.computed)
    path = place.path
    if place.root != "steps":
        raise Refused(f"`{path}` belongs to `{place.root}`, which runs by itself when a run ends; choose another step")
    handler = next((around for around in place.parents if around.label in HANDLERS), None)
    if handler is not None:
        raise Refused(f"`{path}` runs only for `{handler.path}`; choose `{handler.path}`")
    outer = next(
        (around for around in place.parents if (tree.record(around.path) or {}).get("status") == "skipped"), None
    )
    if outer is not None:
        raise Refused(f"`{path}` was skipped with `{outer.path}`; choose that or a step before it")
    closed = next((one for one in place.parents if one.index is not None and tree.is_folded(one)), None)
    if closed is not None and (closed.node.type == "while" or tree.record(path) is None):
        raise Refused(
            f"pass {closed.index} of `{closed.path}` cannot be run again by itself; choose `{closed.path}` to run all "
            "its passes again"
        )
    record = tree.record(path)
    if record is None:
        raise Refused(f"the run never reached `{path}`; choose a step it has begun")
    if record["status"] == "skipped" and place.parents and place.parents[-1].node.type in ("condition", "switch"):
        around = place.parents[-1]
        raise Refused(f"`{path}` is in a branch that was not taken; choose `{around.path}` to decide again")
    return place


def _placed(definition: Definition, name: str, computed: Mapping[str, Sequence[Node]]) -> Place:
    """The step of a path or id. Raises Refused."""
    try:
        return locate(definition, name, computed)
    except LookupError as no_path:
        if _NO_ID.search(name):
            raise Refused(str(no_path)) from no_path
        try:
            return locate(definition, path_of(definition, name), computed)
        except LookupError as no_id:
            raise Refused(str(no_id)) from no_id


def _check_output(definition: Definition, place: Place, output: Json) -> None:
    if place.node.output_schema is None:
        return
    problems = check_json(place.node.output_schema, output)
    if problems:
        listed = [FieldProblem(f"pins.{place.path}.{one.field}", one.message) for one in problems]
        raise InputsInvalid(definition.flow, listed)
