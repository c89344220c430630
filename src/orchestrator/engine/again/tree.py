"""A run's journal as a tree of records, to be turned into another journal. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from orchestrator.engine.again import reopening
from orchestrator.spec.definition import Definition, Json, Node, definition_from_json
from orchestrator.spec.places import HANDLERS, Around, Place, is_inside, locate

Record = dict[str, Json]

_CUT = re.compile(r"[/\[#]")


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of the steps: paths, in the order they had begun."""

    again: tuple[str, ...]
    kept: tuple[str, ...]
    undone: tuple[str, ...]
    left: tuple[str, ...]


class Tree:
    """One journal being turned into another. A step's children are the steps recorded in it."""

    def __init__(self, journal: Mapping[str, Json], definition: Definition) -> None:
        self.definition = definition
        self._rest = dict(journal)
        self.records: dict[str, Record] = {path: dict(record) for path, record in journal["records"]}
        self.states: dict[str, dict[str, Json]] = {
            path: dict(state) for path, state in journal.get("states", {}).items()
        }
        self.generations: dict[str, int] = dict(journal.get("generations", {}))
        self.prefixes: dict[str, int] = dict(journal.get("prefixes", {}))
        self.folded: dict[str, int] = dict(journal.get("folded", {}))
        self.vars: dict[str, Json] = dict(journal.get("vars", {}))
        self._owed: list[dict[str, Json]] = list(journal.get("compensations", []))
        self.computed = _computed(self.states)
        self._old = dict(self.records)
        self._places: dict[str, Place | None] = {}
        self.children: dict[str, list[str]] = {}
        for path in self.records:
            self.children.setdefault(self.outer(path), []).append(path)
        self.forced: dict[str, str] = {}
        """Steps that are opened whatever their record says, with the list that goes on."""
        self.from_pass: dict[str, int] = {}
        """Loops whose passes run one after the other: from which pass on they run again."""
        self.cut_passes: set[tuple[str, int]] = set()
        """Passes in which a step runs again because somebody wants it."""
        self.again: dict[str, None] = {}
        self.undone: dict[str, None] = {}
        self.set_again: dict[str, None] = {}

    # -- looking ----------------------------------------------------------------------------------------------

    def record(self, path: str) -> Record | None:
        """The record as it stands now."""
        return self.records.get(path)

    def is_over(self, path: str) -> bool:
        """Whether a step has ended in a way that it will not be run again."""
        record = self.records.get(path)
        return record is not None and record["status"] in ("completed", "skipped", "failed")

    def is_folded(self, around: Around) -> bool:
        """Whether a pass of a loop is over, so that it is kept as its output alone, or may be."""
        record = self.records.get(around.path)
        if record is None or around.index is None:
            return False
        state = self.states.get(around.path, {})
        return record["status"] == "completed" or reopening.is_done(around.node.type, state, around.index)

    def place(self, path: str) -> Place | None:
        """Where a path is in the definition; None inside computed steps whose list is no longer known."""
        if path not in self._places:
            try:
                self._places[path] = locate(self.definition, path, self.computed)
            except LookupError:
                self._places[path] = None
        return self._places[path]

    def outer(self, path: str) -> str:
        """The innermost recorded step around a path; empty at the top."""
        cuts = [found.start() for found in _CUT.finditer(path)]
        return next((path[:cut] for cut in reversed(cuts) if path[:cut] in self.records), "")

    def inside(self, path: str) -> Iterator[str]:
        """A step and every recorded step inside it."""
        yield path
        for child in list(self.children.get(path, ())):
            yield from self.inside(child)

    def holds_undone(self, path: str) -> bool:
        """Whether something that a completed step relied on was compensated since."""
        record = self.records[path]
        if record.get("undone"):
            return True
        if record["status"] != "completed":
            return False
        return any(self.holds_undone(child) for child in self.children.get(path, ()) if not is_undoing(child, path))

    def has_completed(self, path: str) -> bool:
        """Whether a step has a result."""
        return path in self.records and self.records[path]["status"] == "completed"

    def passes(self, path: str) -> list[int]:
        """The passes of a loop that have records, and those in which a step is wanted again."""
        found: dict[int, None] = {index: None for loop, index in self.cut_passes if loop == path}
        for child in self.children.get(path, ()):
            rest = child[len(path) :]
            if rest.startswith("["):
                found[int(rest[1 : rest.index("]")])] = None
        return sorted(found)

    def list_of(self, parents: Sequence[Around], root: str) -> Sequence[Node]:
        """The steps that stand side by side at a place."""
        if not parents:
            return self.definition.steps if root == "steps" else self.definition.handlers[root]
        around = parents[-1]
        return self.computed.get(around.path) or around.node.lists[around.label]

    # -- dropping ---------------------------------------------------------------------------------------------

    def drop(self, path: str, *, told: bool = True) -> None:
        """Forget a step and everything in it, to be run again. What had completed or was compensated gets a new
        generation; what had failed keeps its idempotency key, because its effect may exist. ``told``: it is listed."""
        self.children.get(self.outer(path), []).remove(path)
        loops = [loop for loop in self.folded if loop == path or is_inside(loop, path)]
        for inner in list(self.inside(path)):
            record = self.records.pop(inner)
            sliced = "slices" in self.states.pop(inner, {})
            passes = self.children.pop(inner, None)
            done = record["status"] == "completed"
            if done or record.get("undone"):
                self.generations[inner] = self.generations.get(inner, 1) + 1
            if done:
                self._keep_owed(inner, record)
            if done and record["type"] == "set":
                self.set_again |= dict.fromkeys(record.get("output") or ())
            if sliced or (done and record["type"] == "for-each" and not passes):
                loops.append(inner)
            told_of = told and "#" not in inner[len(path) :]
            if told_of and record["status"] != "skipped" and self.is_leaf(inner):
                self.again[inner] = None
        for loop in dict.fromkeys(loops):
            self.folded.pop(loop, None)
            if not any(is_inside(loop, other) for other in loops):
                self.repeat_passes(loop)

    def repeat_passes(self, loop: str) -> None:
        """Passes that no record knows run again: everything in the loop gets a new generation."""
        self.prefixes[loop] = self.prefixes.get(loop, 0) + 1
        self.again[loop] = None
        place = self.place(loop)
        if place is not None:
            for node in place.node.walk():
                self.set_again |= dict.fromkeys(node.config if node.type == "set" else ())

    def _keep_owed(self, path: str, record: Record) -> None:
        """The effect of a step that runs again is still to be undone if the new run fails: as it was."""
        self._owed = [
            entry | {"record": record} if entry["path"] == path and entry.get("record") is None else entry
            for entry in self._owed
        ]

    def is_leaf(self, path: str) -> bool:
        place = self.place(path)
        return path not in self.computed and (place is None or not lists(place.node))

    # -- the result -------------------------------------------------------------------------------------------

    def become(self, new: Definition) -> None:
        """From now on the records are those of another version."""
        self.definition = new
        self._places.clear()
        self.vars = {name: value for name, value in self.vars.items() if name in new.vars}

    def settle(self, place: Place, output: Json, at: str) -> None:
        """Give a step its result."""
        if place.path in self.records:
            self.drop(place.path, told=False)
        record: Record = {"type": place.node.type, "status": "completed", "attempts": 0, "started_at": at}
        if place.node.name:
            record["name"] = place.node.name
        self.records[place.path] = record | {"finished_at": at, "output": output, "pinned": True}
        self.children.setdefault(self.outer(place.path), []).append(place.path)

    def finish(self) -> Decided:
        """End the changes: a run that goes on has undone nothing, awaits nothing and has a fresh deadline."""
        self._set_back()
        self._rest |= {"compensated": [], "ending": None, "deadline": None, "paused": None, "clock": {}, "continued": 0}
        self._owed = [{name: value for name, value in entry.items() if name != "failed"} for entry in self._owed]
        known = [path for path, record in self.records.items() if record["status"] == "completed"]
        return Decided(
            again=tuple(
                [path for path in self._old if path in self.again]
                + [path for path in self.again if path not in self._old]
            ),
            kept=tuple(path for path in known if self.is_leaf(path) and not self._is_past(path)),
            undone=tuple(self.undone),
            left=tuple(self._forget_unknown()),
        )

    def _forget_unknown(self) -> list[str]:
        """Compensations that the definition does not know (any more)."""
        unknown = [str(entry["path"]) for entry in self._owed if not self._can_undo(str(entry["path"]))]
        self._owed = [entry for entry in self._owed if entry["path"] not in unknown]
        return unknown

    def _can_undo(self, path: str) -> bool:
        place = self.place(path)
        return place is not None and "compensate" in place.node.lists

    def to_json(self) -> dict[str, Json]:
        """The journal as it stands."""
        return self._rest | {
            "records": [[path, record] for path, record in self.records.items()],
            "states": self.states,
            "generations": self.generations,
            "prefixes": self.prefixes,
            "folded": self.folded,
            "vars": self.vars,
            "compensations": self._owed,
            "counts": self._counts(),
        }

    def _counts(self) -> dict[str, int]:
        """Steps by status; those of folded passes are in the old numbers alone."""
        counts: dict[str, int] = dict(self._rest.get("counts", {}))
        for record in self._old.values():
            counts[record["status"]] = counts.get(record["status"], 0) - 1
        for record in self.records.values():
            counts[record["status"]] = counts.get(record["status"], 0) + 1
        return {status: count for status, count in counts.items() if count > 0}

    def _set_back(self) -> None:
        """Vars that a dropped ``set`` had written take the value before it: that of the last ``set`` that is kept, else
        the start value, which the engine gives to vars it does not find."""
        for name in self.set_again:
            self.vars.pop(name, None)
        for record in self.records.values():
            if record["type"] == "set" and record["status"] == "completed":
                written: dict[str, Json] = record.get("output") or {}
                self.vars |= {name: value for name, value in written.items() if name in self.set_again}

    def _is_past(self, path: str) -> bool:
        """Whether a step belongs to something that failed and was handled: its result is history, not taken over."""
        outer = self.outer(path)
        while outer:
            if self.records[outer]["status"] == "failed":
                return True
            outer = self.outer(outer)
        return False


def _computed(states: Mapping[str, Mapping[str, Json]]) -> dict[str, tuple[Node, ...]]:
    """Steps that were computed at run time, by path, as far as a ``run-steps`` step has them in its state."""
    found: dict[str, tuple[Node, ...]] = {}
    for path, state in states.items():
        if "definition" in state:
            try:
                found[path] = definition_from_json(state["definition"]).steps
            except ValidationError:
                continue
    return found


def lists(node: Node) -> dict[str, tuple[Node, ...]]:
    """The lists that are part of a step, its handlers aside."""
    return {label: nodes for label, nodes in node.lists.items() if label not in HANDLERS}


def awaited(nodes: Sequence[Node], index: int) -> list[str]:
    """The siblings a step waits for (FLOW_FORMAT §3)."""
    needs = nodes[index].needs
    return [node.id for node in nodes[:index]] if needs is None else list(needs)


def is_handler(child: str, path: str) -> bool:
    return child[len(path) :].startswith("#")


def is_undoing(child: str, path: str) -> bool:
    return child[len(path) :].startswith("#compensate/")
