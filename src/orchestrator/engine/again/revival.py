"""Opening again what has not ended well, so that a run goes on where it failed or was stopped. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.engine.again import reopening
from orchestrator.engine.again.tree import Record, Tree, awaited, is_handler, is_undoing, lists
from orchestrator.spec.call import AGENT_TURN
from orchestrator.spec.definition import Json, Node

_KEPT_OF_AGENT = ("type", "name", "started_at", "attempts", "usage", "turns")
_FLOW_HANDLERS = ("#fallback/", "#finally/")


class Revival:
    """One tree whose open steps are opened again, from the top."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def revive_all(self) -> None:
        """Open again what is not over, from the top."""
        for path in [path for path in self._tree.children.get("", ()) if path.startswith(_FLOW_HANDLERS)]:
            self._tree.drop(path, told=False)
        self._revive_list(self._tree.definition.steps, "")
        for path in list(self._tree.records):
            outer = self._tree.outer(path)
            if path in self._tree.records and is_undoing(path, outer) and not self._tree.has_completed(path):
                # It was tried and failed: due again when its scope fails again.
                self._tree.drop(path, told=False)

    def _revive_list(self, nodes: Sequence[Node], prefix: str) -> None:
        for node in nodes:
            if prefix + node.id in self._tree.records:
                self._revive(node, prefix + node.id)
        open_ids = dict.fromkeys(node.id for node in nodes if not self._tree.is_over(prefix + node.id))
        waiting = True
        while waiting:
            waiting = False
            for index, node in enumerate(nodes):
                record = self._tree.records.get(prefix + node.id)
                if record is None or record["status"] != "skipped":
                    continue
                # What it waited for runs again, so whether it runs is asked again.
                if any(name in open_ids for name in awaited(nodes, index)):
                    self._tree.drop(prefix + node.id, told=False)
                    open_ids[node.id] = None
                    waiting = True

    def _revive(self, node: Node, path: str) -> None:
        record = self._tree.records[path]
        status = record["status"]
        if record.get("undone"):
            self._tree.undone |= dict.fromkeys([path])
            self._tree.drop(path)
        elif status == "skipped":
            return
        elif status == "completed":
            if path in self._tree.forced or self._tree.holds_undone(path):
                self._begin_again(node, path)
        elif path not in self._tree.forced and status == "failed" and node.on_error == "continue":
            return
        else:
            self._begin_again(node, path)

    def _begin_again(self, node: Node, path: str) -> None:
        if node.type == "agent" and self._tree.records[path]["status"] != "completed":
            self._resume_agent(path)
        elif self._tree.is_leaf(path) and node.type != "run-steps":
            state = self._tree.states.get(path, {})
            self._tree.drop(path)
            if state.get("taken"):
                # What a wait for several events has got so far.
                self._tree.states[path] = reopening.fresh(state)
        else:
            self._reopen(node, path)

    def _resume_agent(self, path: str) -> None:
        """An agent goes on in its conversation: what a tool gave, also that it failed, was or will be told to it."""
        for child in list(self._tree.children.get(path, ())):
            record = self._tree.records[child]
            over = record["status"] in ("completed", "failed")
            if record["type"] == "agent" and not over:
                self._resume_agent(child)
            elif not over or (record["type"] == AGENT_TURN and record["status"] == "failed"):
                self._tree.drop(child, told=False)
        record = self._tree.records[path]
        self._tree.again[path] = None
        self._tree.records[path] = {key: record[key] for key in _KEPT_OF_AGENT if key in record} | {"status": "running"}
        self._tree.states[path] = reopening.fresh(self._tree.states.get(path, {}))

    def _reopen(self, node: Node, path: str) -> None:
        """Let a step that holds others go on."""
        record = self._tree.records[path]
        if node.type == "while" and self._was_undone_before(path):
            # Its passes build on each other, and what it would go on from is gone: it begins again.
            self._tree.undone |= dict.fromkeys(
                one for one in self._tree.inside(path) if self._tree.records[one].get("undone")
            )
            self._reopened(path, record)
            return
        self._drop_handlers(path)
        state = self._tree.states.pop(path, {})
        kept = {key: record[key] for key in ("type", "name", "started_at") if key in record}
        self._tree.records[path] = kept | {"status": "running", "attempts": 1}
        match node.type:
            case "for-each" | "while":
                state = self._revive_passes(node, path, state, record)
            case "try":
                state = self._revive_try(node, path, state, record)
            case _:
                for label, nodes in self._inner_lists(node, path):
                    self._revive_list(nodes, self._inner(path, label))
                if node.type == "run-steps" and path not in self._tree.computed:
                    self._revive_unknown(path)
                state = self._state_after(node, path, state, record)
        if state:
            self._tree.states[path] = state

    def _revive_unknown(self, path: str) -> None:
        """Computed steps whose list is gone, because their step had completed: those that were compensated run again,
        and what is around them is walked again."""
        for child in list(self._tree.children.get(path, ())):
            if self._tree.records[child].get("undone"):
                self._tree.undone[child] = None
                self._tree.drop(child)
            elif self._tree.holds_undone(child):
                self._tree.records[child] = self._tree.records[child] | {"status": "running"}
                self._revive_unknown(child)

    def _reopened(self, path: str, record: Record) -> None:
        """A step that begins again from nothing."""
        self._tree.drop(path)
        self._tree.children.setdefault(self._tree.outer(path), []).append(path)
        kept = {key: record[key] for key in ("type", "name", "started_at") if key in record}
        self._tree.records[path] = kept | {"status": "running", "attempts": 1}

    def _state_after(self, node: Node, path: str, state: dict[str, Json], record: Record) -> dict[str, Json]:
        """A block or saga needs no state: its list is walked again and finds its records."""
        match node.type:
            case "condition" | "switch":
                return reopening.branch(state, record)
            case "parallel":
                branches = [node.id for node in node.lists["branches"]]
                completed = [name for name in branches if self._tree.has_completed(f"{path}/{name}")]
                return reopening.race(state, record, completed)
            case "saga" | "block":
                return {}
            case _:
                return reopening.fresh(state)

    def _inner_lists(self, node: Node, path: str) -> list[tuple[str, Sequence[Node]]]:
        if path in self._tree.computed:
            return [("steps", self._tree.computed[path])]
        return list(lists(node).items())

    def _inner(self, path: str, label: str) -> str:
        return f"{path}/" if label in ("steps", "branches") else f"{path}/{label}/"

    # -- try --------------------------------------------------------------------------------------------------

    def _revive_try(self, node: Node, path: str, state: dict[str, Json], record: Record) -> dict[str, Json]:
        label = self._tree.forced.get(path)
        if record["status"] == "completed" and label is None:
            label = "steps"
        if label is None and any(self._tree.holds_undone(child) for child in self._tree.children.get(path, ())):
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
            record = self._tree.records.get(f"{path}/{child.id}")
            if record is not None and record["status"] == "failed" and child.on_error != "continue":
                return record.get("error")
        return None

    def _drop_lists(self, node: Node, path: str, labels: Iterable[str]) -> None:
        for label in labels:
            for child in node.lists.get(label, ()):
                inner = self._inner(path, label) + child.id
                if inner in self._tree.records:
                    self._tree.drop(inner, told=False)

    def _drop_handlers(self, path: str) -> None:
        for child in list(self._tree.children.get(path, ())):
            if is_handler(child, path):
                self._tree.drop(child, told=False)

    # -- loops ------------------------------------------------------------------------------------------------

    def _revive_passes(self, node: Node, path: str, state: dict[str, Json], record: Record) -> dict[str, Json]:
        if "slices" in state:
            self._tree.generations[path] = self._tree.generations.get(path, 1) + 1
            return reopening.sliced(state)
        failed = record["status"] == "failed"
        errors = [one["index"] for one in (state or record).get("errors", [])]
        again: list[int] = []
        for index in self._tree.passes(path):
            done = record["status"] == "completed" or reopening.is_done(node.type, state, index)
            tolerated = index in errors and not failed and (path, index) not in self._tree.cut_passes
            if tolerated or (done and index not in errors and not self._pass_is_open(path, index)):
                continue
            again.append(index)
            self._revive_list(node.lists["steps"], f"{path}[{index}]/")
        if node.type == "while":
            return reopening.fresh(state)
        return reopening.each(state, record, again, start=self._tree.from_pass.get(path), failed=failed)

    def _pass_is_open(self, path: str, index: int) -> bool:
        """Whether something in a pass of a completed loop has to run again."""
        inside = [child for child in self._tree.children.get(path, ()) if child.startswith(f"{path}[{index}]/")]
        return path in self._tree.forced or any(self._tree.holds_undone(child) for child in inside)

    def _was_undone_before(self, path: str) -> bool:
        """Whether a pass of a while that is done was compensated."""
        current = self._tree.states.get(path, {}).get("pass")
        return any(
            self._tree.holds_undone(child)
            for child in self._tree.children.get(path, ())
            if not is_handler(child, path) and not child.startswith(f"{path}[{current}]/")
        )
