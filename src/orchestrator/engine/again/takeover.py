"""One journal being turned into another: what is opened again, what is dropped, what stays. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from orchestrator.engine.again import reopening
from orchestrator.spec.call import AGENT_TURN
from orchestrator.spec.definition import Definition, Json, Node, definition_from_json
from orchestrator.spec.places import HANDLERS, LOOPS, Around, Place, content_hash_of, is_inside, locate, own_hash_of

Record = dict[str, Json]

_KEPT_OF_AGENT = ("type", "name", "started_at", "attempts", "usage", "turns")
_CUT = re.compile(r"[/\[#]")
_FLOW_HANDLERS = ("#fallback/", "#finally/")


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of the steps: paths, in the order they had begun."""

    again: tuple[str, ...]
    kept: tuple[str, ...]
    undone: tuple[str, ...]
    left: tuple[str, ...]


class Takeover:
    """One journal being turned into another. Records form a tree: a step's children are the steps recorded in it."""

    def __init__(self, journal: Mapping[str, Json], definition: Definition) -> None:
        self._definition = definition
        self._rest = dict(journal)
        self._records: dict[str, Record] = {path: dict(record) for path, record in journal["records"]}
        self._states: dict[str, dict[str, Json]] = {
            path: dict(state) for path, state in journal.get("states", {}).items()
        }
        self._generations: dict[str, int] = dict(journal.get("generations", {}))
        self._prefixes: dict[str, int] = dict(journal.get("prefixes", {}))
        self._folded: dict[str, int] = dict(journal.get("folded", {}))
        self._vars: dict[str, Json] = dict(journal.get("vars", {}))
        self._owed: list[dict[str, Json]] = list(journal.get("compensations", []))
        self.computed = _computed(self._states)
        self._old = dict(self._records)
        self._places: dict[str, Place | None] = {}
        self._children: dict[str, list[str]] = {}
        for path in self._records:
            self._children.setdefault(self._outer(path), []).append(path)
        self._forced: dict[str, str] = {}
        """Steps that are opened whatever their record says, with the list that goes on."""
        self._from_pass: dict[str, int] = {}
        """Loops whose passes run one after the other: from which pass on they run again."""
        self._again: dict[str, None] = {}
        self._undone: dict[str, None] = {}
        self._set_again: dict[str, None] = {}

    # -- looking ----------------------------------------------------------------------------------------------

    def record(self, path: str) -> Record | None:
        """The record as it stands now."""
        return self._records.get(path)

    def is_over(self, path: str) -> bool:
        """Whether a step has ended in a way that it will not be run again."""
        record = self._records.get(path)
        return record is not None and record["status"] in ("completed", "skipped", "failed")

    def is_folded(self, around: Around) -> bool:
        """Whether a pass of a loop is over, so that it is kept as its output alone, or may be."""
        record = self._records.get(around.path)
        if record is None or around.index is None:
            return False
        state = self._states.get(around.path, {})
        return record["status"] == "completed" or reopening.is_done(around.node.type, state, around.index)

    def _place(self, path: str) -> Place | None:
        """Where a path is in the definition; None inside computed steps whose list is no longer known."""
        if path not in self._places:
            try:
                self._places[path] = locate(self._definition, path, self.computed)
            except LookupError:
                self._places[path] = None
        return self._places[path]

    def _outer(self, path: str) -> str:
        """The innermost recorded step around a path; empty at the top."""
        cuts = [found.start() for found in _CUT.finditer(path)]
        return next((path[:cut] for cut in reversed(cuts) if path[:cut] in self._records), "")

    def _tree(self, path: str) -> Iterator[str]:
        """A step and every recorded step inside it."""
        yield path
        for child in list(self._children.get(path, ())):
            yield from self._tree(child)

    def _holds_undone(self, path: str) -> bool:
        """Whether something that a completed step relied on was compensated since."""
        record = self._records[path]
        if record.get("undone"):
            return True
        if record["status"] != "completed":
            return False
        return any(self._holds_undone(child) for child in self._children.get(path, ()) if not _is_undoing(child, path))

    # -- opening again ----------------------------------------------------------------------------------------

    def revive_all(self) -> None:
        """Open again what is not over, from the top."""
        for path in [path for path in self._children.get("", ()) if path.startswith(_FLOW_HANDLERS)]:
            self.drop(path, told=False)
        self._revive_list(self._definition.steps, "")
        for path in list(self._records):
            outer = self._outer(path)
            if path in self._records and _is_undoing(path, outer) and not self._has_completed(path):
                # It was tried and failed: due again when its scope fails again.
                self.drop(path, told=False)

    def _revive_list(self, nodes: Sequence[Node], prefix: str) -> None:
        for node in nodes:
            if prefix + node.id in self._records:
                self._revive(node, prefix + node.id)
        open_ids = dict.fromkeys(node.id for node in nodes if not self.is_over(prefix + node.id))
        waiting = True
        while waiting:
            waiting = False
            for index, node in enumerate(nodes):
                record = self._records.get(prefix + node.id)
                if record is None or record["status"] != "skipped":
                    continue
                # What it waited for runs again, so whether it runs is asked again.
                if any(name in open_ids for name in _awaited(nodes, index)):
                    self.drop(prefix + node.id, told=False)
                    open_ids[node.id] = None
                    waiting = True

    def _revive(self, node: Node, path: str) -> None:
        record = self._records[path]
        status = record["status"]
        if record.get("undone"):
            self._undone |= dict.fromkeys([path])
            self.drop(path)
        elif status == "skipped":
            return
        elif status == "completed":
            if path in self._forced or self._holds_undone(path):
                self._begin_again(node, path)
        elif path not in self._forced and status == "failed" and node.on_error == "continue":
            return
        else:
            self._begin_again(node, path)

    def _begin_again(self, node: Node, path: str) -> None:
        if node.type == "agent" and self._records[path]["status"] != "completed":
            self._resume_agent(path)
        elif self._is_leaf(path) and node.type != "run-steps":
            state = self._states.get(path, {})
            self.drop(path)
            if state.get("taken"):
                # What a wait for several events has got so far.
                self._states[path] = reopening.fresh(state)
        else:
            self._reopen(node, path)

    def _resume_agent(self, path: str) -> None:
        """An agent goes on in its conversation: what a tool gave, also that it failed, was or will be told to it."""
        for child in list(self._children.get(path, ())):
            record = self._records[child]
            over = record["status"] in ("completed", "failed")
            if record["type"] == "agent" and not over:
                self._resume_agent(child)
            elif not over or (record["type"] == AGENT_TURN and record["status"] == "failed"):
                self.drop(child, told=False)
        record = self._records[path]
        self._again[path] = None
        self._records[path] = {key: record[key] for key in _KEPT_OF_AGENT if key in record} | {"status": "running"}
        self._states[path] = reopening.fresh(self._states.get(path, {}))

    def _reopen(self, node: Node, path: str) -> None:
        """Let a step that holds others go on."""
        record = self._records[path]
        if node.type == "while" and self._was_undone_before(path):
            # Its passes build on each other, and what it would go on from is gone: it begins again.
            self._undone |= dict.fromkeys(one for one in self._tree(path) if self._records[one].get("undone"))
            self._reopened(path, record)
            return
        self._drop_handlers(path)
        state = self._states.pop(path, {})
        kept = {key: record[key] for key in ("type", "name", "started_at") if key in record}
        self._records[path] = kept | {"status": "running", "attempts": 1}
        match node.type:
            case "for-each" | "while":
                state = self._revive_passes(node, path, state, record)
            case "try":
                state = self._revive_try(node, path, state, record)
            case _:
                for label, nodes in self._inner_lists(node, path):
                    self._revive_list(nodes, self._inner(path, label))
                if node.type == "run-steps" and path not in self.computed:
                    self._revive_unknown(path)
                state = self._state_after(node, path, state, record)
        if state:
            self._states[path] = state

    def _revive_unknown(self, path: str) -> None:
        """Computed steps whose list is gone, because their step had completed: those that were compensated run again,
        and what is around them is walked again."""
        for child in list(self._children.get(path, ())):
            if self._records[child].get("undone"):
                self._undone[child] = None
                self.drop(child)
            elif self._holds_undone(child):
                self._records[child] = self._records[child] | {"status": "running"}
                self._revive_unknown(child)

    def _reopened(self, path: str, record: Record) -> None:
        """A step that begins again from nothing."""
        self.drop(path)
        self._children.setdefault(self._outer(path), []).append(path)
        kept = {key: record[key] for key in ("type", "name", "started_at") if key in record}
        self._records[path] = kept | {"status": "running", "attempts": 1}

    def _state_after(self, node: Node, path: str, state: dict[str, Json], record: Record) -> dict[str, Json]:
        """A block or saga needs no state: its list is walked again and finds its records."""
        match node.type:
            case "condition" | "switch":
                return reopening.branch(state, record)
            case "parallel":
                branches = [node.id for node in node.lists["branches"]]
                completed = [name for name in branches if self._has_completed(f"{path}/{name}")]
                return reopening.race(state, record, completed)
            case "saga" | "block":
                return {}
            case _:
                return reopening.fresh(state)

    def _has_completed(self, path: str) -> bool:
        return path in self._records and self._records[path]["status"] == "completed"

    def _inner_lists(self, node: Node, path: str) -> list[tuple[str, Sequence[Node]]]:
        if path in self.computed:
            return [("steps", self.computed[path])]
        return list(_lists(node).items())

    def _inner(self, path: str, label: str) -> str:
        return f"{path}/" if label in ("steps", "branches") else f"{path}/{label}/"

    # -- try --------------------------------------------------------------------------------------------------

    def _revive_try(self, node: Node, path: str, state: dict[str, Json], record: Record) -> dict[str, Json]:
        label = self._forced.get(path)
        if record["status"] == "completed" and label is None:
            label = "steps"
        if label is None and any(self._holds_undone(child) for child in self._children.get(path, ())):
            label = "steps"
        label, state = reopening.attempt(state, record, label, self._caught(node, path))
        if label != "finally":
            self._drop_lists(node, path, ["finally"])
        if label == "steps":
            self._drop_lists(node, path, [name for name in node.lists if name.startswith("catch[")])
        self._revive_list(node.lists.get(label, ()), self._inner(path, label))
        return state

    def _caught(self, node: Node, path: str) -> Json:
        """The error that ended the body of a try."""
        for child in node.lists["steps"]:
            record = self._records.get(f"{path}/{child.id}")
            if record is not None and record["status"] == "failed" and child.on_error != "continue":
                return record.get("error")
        return None

    def _drop_lists(self, node: Node, path: str, labels: Iterable[str]) -> None:
        for label in labels:
            for child in node.lists.get(label, ()):
                inner = self._inner(path, label) + child.id
                if inner in self._records:
                    self.drop(inner, told=False)

    def _drop_handlers(self, path: str) -> None:
        for child in list(self._children.get(path, ())):
            if _is_handler(child, path):
                self.drop(child, told=False)

    # -- loops ------------------------------------------------------------------------------------------------

    def _revive_passes(self, node: Node, path: str, state: dict[str, Json], record: Record) -> dict[str, Json]:
        if "slices" in state:
            self._generations[path] = self._generations.get(path, 1) + 1
            return reopening.sliced(state)
        failed = record["status"] == "failed"
        errors = [one["index"] for one in (state or record).get("errors", [])]
        again: list[int] = []
        for index in self._passes(path):
            done = record["status"] == "completed" or reopening.is_done(node.type, state, index)
            if (index in errors and not failed) or (
                done and index not in errors and not self._pass_is_open(path, index)
            ):
                continue
            again.append(index)
            self._revive_list(node.lists["steps"], f"{path}[{index}]/")
        if node.type == "while":
            return reopening.fresh(state)
        return reopening.each(state, record, again, start=self._from_pass.get(path), failed=failed)

    def _pass_is_open(self, path: str, index: int) -> bool:
        """Whether something in a pass of a completed loop has to run again."""
        inside = [child for child in self._children.get(path, ()) if child.startswith(f"{path}[{index}]/")]
        return path in self._forced or any(self._holds_undone(child) for child in inside)

    def _was_undone_before(self, path: str) -> bool:
        """Whether a pass of a while that is done was compensated."""
        current = self._states.get(path, {}).get("pass")
        return any(
            self._holds_undone(child)
            for child in self._children.get(path, ())
            if not _is_handler(child, path) and not child.startswith(f"{path}[{current}]/")
        )

    def _passes(self, path: str) -> list[int]:
        """The passes of a loop that have records."""
        found: dict[int, None] = {}
        for child in self._children.get(path, ()):
            rest = child[len(path) :]
            if rest.startswith("["):
                found[int(rest[1 : rest.index("]")])] = None
        return sorted(found)

    # -- dropping ---------------------------------------------------------------------------------------------

    def drop(self, path: str, *, told: bool = True) -> None:
        """Forget a step and everything in it, to be run again. What had completed or was compensated gets a new
        generation; what had failed keeps its idempotency key, because its effect may exist. ``told``: it is listed."""
        self._children.get(self._outer(path), []).remove(path)
        loops = [loop for loop in self._folded if loop == path or is_inside(loop, path)]
        for inner in list(self._tree(path)):
            record = self._records.pop(inner)
            sliced = "slices" in self._states.pop(inner, {})
            passes = self._children.pop(inner, None)
            done = record["status"] == "completed"
            if done or record.get("undone"):
                self._generations[inner] = self._generations.get(inner, 1) + 1
            if done:
                self._keep_owed(inner, record)
            if done and record["type"] == "set":
                self._set_again |= dict.fromkeys(record.get("output") or ())
            if sliced or (done and record["type"] == "for-each" and not passes):
                loops.append(inner)
            told_of = told and "#" not in inner[len(path) :]
            if told_of and record["status"] != "skipped" and self._is_leaf(inner):
                self._again[inner] = None
        self._drop_passes(loop for loop in dict.fromkeys(loops) if not any(is_inside(loop, other) for other in loops))
        for loop in loops:
            self._folded.pop(loop, None)

    def _drop_passes(self, loops: Iterable[str]) -> None:
        """Passes that no record knows run again: everything in these loops gets a new generation."""
        for loop in loops:
            self._folded.pop(loop, None)
            self._prefixes[loop] = self._prefixes.get(loop, 0) + 1
            self._again[loop] = None
            place = self._place(loop)
            if place is not None:
                for node in place.node.walk():
                    self._set_again |= dict.fromkeys(node.config if node.type == "set" else ())

    def _keep_owed(self, path: str, record: Record) -> None:
        """The effect of a step that runs again is still to be undone if the new run fails: as it was."""
        self._owed = [
            entry | {"record": record} if entry["path"] == path and entry.get("record") is None else entry
            for entry in self._owed
        ]

    def _is_leaf(self, path: str) -> bool:
        place = self._place(path)
        return path not in self.computed and (place is None or not _lists(place.node))

    # -- re-run from a step -----------------------------------------------------------------------------------

    def cut(self, place: Place) -> None:
        """Drop a step and everything that comes after it, and open what is around it."""
        self.drop(place.path)
        self._drop_after(self._list_of(place.parents, place.root), place.node.id, place.siblings)
        for depth in range(len(place.parents) - 1, -1, -1):
            around = place.parents[depth]
            self._forced[around.path] = around.label
            if around.index is not None and not _is_concurrent(around.node):
                self._cut_passes(around.path, around.index)
            holder = place.parents[:depth]
            prefix = around.path[: len(around.path) - len(around.node.id)]
            self._drop_after(self._list_of(holder, place.root), around.node.id, prefix)

    def _cut_passes(self, loop: str, first: int) -> None:
        """Passes after ``first`` run again; those of them that are folded have records no more, so that everything in
        the loop gets a new generation."""
        self._from_pass[loop] = first
        low = self._states.get(loop, {}).get("low")
        if loop in self._folded and (low is None or low > first + 1):
            self._prefixes[loop] = self._prefixes.get(loop, 0) + 1
        for index in self._passes(loop):
            if index > first:
                self._drop_pass(loop, index)

    def _list_of(self, parents: Sequence[Around], root: str) -> Sequence[Node]:
        if not parents:
            return self._definition.steps if root == "steps" else self._definition.handlers[root]
        around = parents[-1]
        return self.computed.get(around.path) or around.node.lists[around.label]

    def _drop_after(self, nodes: Sequence[Node], first: str, prefix: str) -> None:
        """Drop the siblings that wait for ``first``, directly or not."""
        after: dict[str, None] = {first: None}
        grown = True
        while grown:
            grown = False
            for index, node in enumerate(nodes):
                if node.id not in after and any(name in after for name in _awaited(nodes, index)):
                    after[node.id] = None
                    grown = True
        for name in after:
            if name != first and prefix + name in self._records:
                self.drop(prefix + name)

    def _drop_pass(self, loop: str, index: int) -> None:
        for child in [child for child in self._children.get(loop, ()) if child.startswith(f"{loop}[{index}]/")]:
            self.drop(child)

    # -- another version --------------------------------------------------------------------------------------

    def move_to(self, new: Definition) -> list[str]:
        """Keep what is the same in ``new``; the paths of what is not."""
        changed: list[str] = []
        for path in list(self._children.get("", ())):
            if not path.startswith(_FLOW_HANDLERS):
                self._move(path, new, changed)
        self._definition = new
        self._places.clear()
        self._vars = {name: value for name, value in self._vars.items() if name in new.vars}
        return changed

    def _move(self, path: str, new: Definition, changed: list[str]) -> None:
        before = self._place(path)
        if before is None:
            return
        try:
            after = locate(new, path, self.computed)
        except LookupError:
            after = None
        if after is None or own_hash_of(before.node) != own_hash_of(after.node):
            self._drop_changed(path, changed)
            return
        completed = self._records[path]["status"] == "completed"
        if not _same_inside(before.node, after.node):
            if completed and before.node.type in LOOPS:
                self._drop_changed(path, changed)
                return
            if completed:
                self._forced[path] = "steps"
            for child in list(self._children.get(path, ())):
                if not _is_handler(child, path):
                    self._move(child, new, changed)
        elif completed and "error" in self._records[path] and not _same_rescue(before.node, after.node):
            self._drop_changed(path, changed)

    def _drop_changed(self, path: str, changed: list[str]) -> None:
        changed += [inner for inner in self._tree(path) if self._is_leaf(inner) or inner in self._folded]
        self.drop(path)

    # -- the result -------------------------------------------------------------------------------------------

    def settle(self, place: Place, output: Json, at: str) -> None:
        """Give a step its result."""
        if place.path in self._records:
            self.drop(place.path, told=False)
        record: Record = {"type": place.node.type, "status": "completed", "attempts": 0, "started_at": at}
        if place.node.name:
            record["name"] = place.node.name
        self._records[place.path] = record | {"finished_at": at, "output": output, "pinned": True}
        self._children.setdefault(self._outer(place.path), []).append(place.path)

    def finish(self) -> Decided:
        """End the changes: a run that goes on has undone nothing, awaits nothing and has a fresh deadline."""
        self._set_back()
        self._rest |= {"compensated": [], "ending": None, "deadline": None, "paused": None, "clock": {}, "continued": 0}
        self._owed = [{name: value for name, value in entry.items() if name != "failed"} for entry in self._owed]
        known = [path for path, record in self._records.items() if record["status"] == "completed"]
        return Decided(
            again=tuple(
                [path for path in self._old if path in self._again]
                + [path for path in self._again if path not in self._old]
            ),
            kept=tuple(path for path in known if self._is_leaf(path) and not self._is_past(path)),
            undone=tuple(self._undone),
            left=tuple(self._forget_unknown()),
        )

    def _forget_unknown(self) -> list[str]:
        """Compensations that the definition does not know (any more)."""
        unknown = [str(entry["path"]) for entry in self._owed if not self._can_undo(str(entry["path"]))]
        self._owed = [entry for entry in self._owed if entry["path"] not in unknown]
        return unknown

    def _can_undo(self, path: str) -> bool:
        place = self._place(path)
        return place is not None and "compensate" in place.node.lists

    def to_json(self) -> dict[str, Json]:
        """The journal as it stands."""
        return self._rest | {
            "records": [[path, record] for path, record in self._records.items()],
            "states": self._states,
            "generations": self._generations,
            "prefixes": self._prefixes,
            "folded": self._folded,
            "vars": self._vars,
            "compensations": self._owed,
            "counts": self._counts(),
        }

    def _counts(self) -> dict[str, int]:
        """Steps by status; those of folded passes are in the old numbers alone."""
        counts: dict[str, int] = dict(self._rest.get("counts", {}))
        for record in self._old.values():
            counts[record["status"]] = counts.get(record["status"], 0) - 1
        for record in self._records.values():
            counts[record["status"]] = counts.get(record["status"], 0) + 1
        return {status: count for status, count in counts.items() if count > 0}

    def _set_back(self) -> None:
        """Vars that a dropped ``set`` had written take the value before it: that of the last ``set`` that is kept, else
        the start value, which the engine gives to vars it does not find."""
        for name in self._set_again:
            self._vars.pop(name, None)
        for record in self._records.values():
            if record["type"] == "set" and record["status"] == "completed":
                written: dict[str, Json] = record.get("output") or {}
                self._vars |= {name: value for name, value in written.items() if name in self._set_again}

    def _is_past(self, path: str) -> bool:
        """Whether a step belongs to something that failed and was handled: its result is history, not taken over."""
        outer = self._outer(path)
        while outer:
            if self._records[outer]["status"] == "failed":
                return True
            outer = self._outer(outer)
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


def _lists(node: Node) -> dict[str, tuple[Node, ...]]:
    """The lists that are part of a step, its handlers aside."""
    return {label: nodes for label, nodes in node.lists.items() if label not in HANDLERS}


def _awaited(nodes: Sequence[Node], index: int) -> list[str]:
    """The siblings a step waits for (FLOW_FORMAT §3)."""
    needs = nodes[index].needs
    return [node.id for node in nodes[:index]] if needs is None else list(needs)


def _is_concurrent(node: Node) -> bool:
    return node.type == "for-each" and node.config.get("concurrency", 1) != 1


def _same_inside(before: Node, after: Node) -> bool:
    left, right = _lists(before), _lists(after)
    return list(left) == list(right) and all(_same_list(left[label], right[label]) for label in left)


def _same_rescue(before: Node, after: Node) -> bool:
    return _same_list(before.lists.get("on_error", ()), after.lists.get("on_error", ()))


def _same_list(left: Sequence[Node], right: Sequence[Node]) -> bool:
    return [content_hash_of(node) for node in left] == [content_hash_of(node) for node in right]


def _is_handler(child: str, path: str) -> bool:
    return child[len(path) :].startswith("#")


def _is_undoing(child: str, path: str) -> bool:
    return child[len(path) :].startswith("#compensate/")
