"""Random flows fail at random places, are retried and re-run until they complete: what had an effect that stands never
runs again, and no idempotency key is used for two effects.

``Sim`` is a walk of a hundred lines over a definition and a journal: what the engine does, without Temporal.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings
from tests.unit.engine.test_carry import of, step

from orchestrator.engine.again import carry
from orchestrator.errors import Refused
from orchestrator.spec.definition import Definition, Node

Json = Any
AT = "2026-01-01T00:00:00.000Z"


class Failed(Exception):
    """A step failed."""


class World:
    """What the steps did, over all runs of a chain."""

    def __init__(self, fails: Callable[[str], bool]) -> None:
        self.fails = fails
        self.keys: set[tuple[str, int]] = set()
        """Keys under which a step succeeded."""
        self.stands: set[str] = set()
        """Steps with an effect that was not undone."""
        self.again_allowed: set[str] = set()

    def call(self, path: str, generation: int) -> None:
        handler = re.search(r"#|/catch\[|/finally/", path) is not None
        assert handler or path not in self.stands or path in self.again_allowed, f"{path} ran again"
        assert (path, generation) not in self.keys, f"{path}#{generation} had succeeded"
        if self.fails(path):
            raise Failed(path)
        self.keys.add((path, generation))
        self.stands.add(path)


class Sim:
    """One run."""

    def __init__(self, world: World, definition: Definition, journal: dict[str, Json] | None = None) -> None:
        taken = journal or {}
        self.world = world
        self.definition = definition
        self.records: dict[str, dict[str, Json]] = dict(taken.get("records", []))
        self.states: dict[str, dict[str, Json]] = taken.get("states", {})
        self.generations: dict[str, int] = taken.get("generations", {})
        self.prefixes: dict[str, int] = taken.get("prefixes", {})
        self.folded: dict[str, int] = taken.get("folded", {})
        self.owed: list[dict[str, Json]] = taken.get("compensations", [])
        self.compensated: list[dict[str, Json]] = []
        self.number = itertools.count(max([entry["number"] for entry in self.owed], default=0) + 1)

    def run(self) -> bool:
        """Whether the run completed."""
        try:
            self.list(self.definition.steps, "", "")
        except Failed:
            self.undo("")
            return False
        return True

    def journal(self) -> dict[str, Json]:
        told = {
            "records": [[path, record] for path, record in self.records.items()],
            "states": self.states, "generations": self.generations, "prefixes": self.prefixes, "folded": self.folded,
            "vars": {}, "compensations": self.owed, "compensated": self.compensated,
        }  # fmt: skip
        copied: dict[str, Json] = json.loads(json.dumps(told))
        return copied

    def list(self, nodes: Sequence[Node], prefix: str, scope: str) -> None:
        for node in nodes:
            self.step(node, prefix + node.id, scope)

    def step(self, node: Node, path: str, scope: str) -> None:
        record = self.records.get(path)
        if record is not None and record["status"] != "running":
            assert record["status"] == "completed" or node.on_error == "continue", f"{path} was left {record['status']}"
            return
        record = self.records.setdefault(
            path, {"type": node.type, "status": "running", "attempts": 1, "started_at": AT}
        )
        try:
            self.perform(node, path, scope)
        except Failed as failure:
            if node.type == "saga":
                self.undo(path)
            if node.on_error == "steps":
                self.list(node.lists["on_error"], f"{path}#on_error/", scope)
            else:
                record.update(status="failed", error={"type": "told", "message": str(failure)})
                if node.on_error == "fail":
                    raise
                return
        except BaseException:
            record["status"] = "failed"
            raise
        record.update(status="completed", output=1)
        extra = self.states.pop(path, {})
        if node.type == "for-each":
            record["output"] = [1] * 3
            record["errors"] = extra.get("errors", [])
        if "compensate" in node.lists:
            self.owed = [one for one in self.owed if one["path"] != path or "record" in one]
            self.owed.append({"path": path, "number": next(self.number), "scope": scope, "status": "completed"})
        if node.type == "saga":
            self.owed = [one | {"scope": scope} if one["scope"] == path else one for one in self.owed]

    def perform(self, node: Node, path: str, scope: str) -> None:
        match node.type:
            case "http":
                generation = self.generations.get(path, 1)
                generation += sum(n for loop, n in self.prefixes.items() if path.startswith(f"{loop}["))
                self.world.call(path, generation)
            case "parallel":
                self.list(node.lists["branches"], f"{path}/", scope)
            case "try":
                self.try_(node, path, scope)
            case "for-each":
                self.each(node, path, scope)
            case _:
                self.list(node.lists["steps"], f"{path}/", path if node.type == "saga" else scope)

    def try_(self, node: Node, path: str, scope: str) -> None:
        state = self.states.setdefault(path, {})
        try:
            if state.get("stage") != "finally":
                self.body(node, path, scope, state)
                state.update(stage="finally", output=1)
        except Failed as failure:
            state.update(stage="finally", error={"message": str(failure)})
        self.list(node.lists.get("finally", ()), f"{path}/finally/", scope)
        if "output" not in state:
            raise Failed(state["error"]["message"])

    def body(self, node: Node, path: str, scope: str, state: dict[str, Json]) -> None:
        if state.get("stage") != "catch":
            try:
                self.list(node.lists["steps"], f"{path}/", scope)
            except Failed as failure:
                if "catch[0]" not in node.lists:
                    raise
                state.update(stage="catch", catch=0, error={"message": str(failure)})
            else:
                return
        self.list(node.lists["catch[0]"], f"{path}/catch[0]/", scope)

    def each(self, node: Node, path: str, scope: str) -> None:
        state = self.states.setdefault(path, {})
        state.setdefault("low", 0)
        todo = [*sorted(state.get("again", [])), *(range(state["low"], 0 if state.get("stopped") else 3))]
        for index in todo:
            prefix, error = f"{path}[{index}]/", None
            try:
                self.list(node.lists["steps"], prefix, scope)
            except Failed as failure:
                error = {"index": index, "item": index, "error": str(failure)}
                state.setdefault("errors", []).append(error)
                if len(state["errors"]) > node.config.get("tolerate", 0):
                    raise
            else:
                state.setdefault("outputs", {})[str(index)] = 1
            if index < state["low"]:
                state["again"].remove(index)
            else:
                state["low"] += 1
            if error is None and not any(one["path"].startswith(prefix) for one in self.owed):
                self.folded[path] = self.folded.get(path, 0) + 1
                for inside in [one for one in self.records if one.startswith(prefix)]:
                    del self.records[inside]

    def undo(self, scope: str) -> None:
        """Newest first; the run's own scope (empty) undoes everything."""
        for entry in sorted(self.owed, key=lambda one: -int(one["number"])):
            if (scope and entry["scope"] != scope) or entry.get("failed"):
                continue
            if self.world.fails(f"{entry['path']}#compensate"):
                entry["failed"] = True
                continue
            self.owed.remove(entry)
            record = self.records.get(entry["path"])
            if "record" not in entry:
                assert record is not None
                record["undone"] = True
                for path in list(self.world.stands):
                    if path == entry["path"] or path.startswith((f"{entry['path']}/", f"{entry['path']}[")):
                        self.world.stands.discard(path)
            self.compensated.append({"path": entry["path"], "status": "completed"})


def nodes(names: Iterator[str]) -> st.SearchStrategy[list[dict[str, Json]]]:
    """Lists of steps, nested."""

    def leaf(kind: str) -> dict[str, Json]:
        name = next(names)
        match kind:
            case "undo":
                return step(name, compensate=step(next(names)))
            case "go on":
                return step(name, on_error="continue")
            case "help":
                return step(name, on_error=[step(next(names))])
            case _:
                return step(name)

    def holder(kind: str, inside: list[dict[str, Json]], more: list[dict[str, Json]], tolerate: int) -> dict[str, Json]:
        made: dict[str, Json] = {"id": next(names)}
        match kind:
            case "block":
                return made | {"steps": inside}
            case "parallel":
                return made | {"parallel": [*inside, *more]}
            case "try":
                return made | {"type": "try", "config": {"steps": inside, "catch": [{"steps": more}] if tolerate else [],
                                                         "finally": more if not tolerate else []}}  # fmt: skip
            case "saga":
                return made | {"type": "saga", "config": {"steps": inside}}
            case _:
                return made | {"type": "for-each", "config": {"items": 3, "tolerate": tolerate, "steps": inside}}

    leaves = st.sampled_from(["plain", "undo", "undo", "go on", "help"]).map(leaf)
    return st.recursive(
        st.lists(leaves, min_size=1, max_size=3),
        lambda inner: st.lists(
            leaves
            | st.builds(
                holder,
                st.sampled_from(["block", "parallel", "try", "saga", "each"]),
                inner,
                st.lists(leaves, min_size=1, max_size=2),
                st.integers(0, 1),
            ),
            min_size=1,
            max_size=3,
        ),
        max_leaves=8,
    )


@st.composite
def flows(draw: st.DrawFn) -> Definition:
    return of(*draw(nodes(f"s{n}" for n in itertools.count())))


@settings(max_examples=100, deadline=None)
@given(flow=flows(), chance=st.integers(0, 6), luck=st.randoms(use_true_random=False))
def test_a_chain_of_retries_completes_and_repeats_no_effect_that_stands(
    flow: Definition, chance: int, luck: Any
) -> None:
    world = World(lambda path: luck.randrange(10) < chance)
    run = Sim(world, flow)
    for left in range(6, -1, -1):
        if left == 0:
            world.fails = lambda path: False
        if run.run():
            break
        old = run.journal()
        carried = carry.retry(old, flow)
        assert carry.retry(old, flow) == carried
        assert json.loads(json.dumps(carried.journal)) == carried.journal
        run = Sim(world, flow, carried.journal)
    else:
        raise AssertionError("the last retry, in which nothing fails, did not complete")


@settings(max_examples=100, deadline=None)
@given(flow=flows(), chance=st.integers(0, 3), luck=st.randoms(use_true_random=False), data=st.data())
def test_a_rerun_completes_and_repeats_only_what_it_said(
    flow: Definition, chance: int, luck: Any, data: st.DataObject
) -> None:
    world = World(lambda path: luck.randrange(10) < chance)
    run = Sim(world, flow)
    run.run()
    old = run.journal()
    path = data.draw(st.sampled_from(sorted(run.records)))
    try:
        carried = carry.rerun(old, flow, path)
    except Refused:
        return
    world.fails = lambda path: False
    world.again_allowed = {
        one for one in world.stands if any(one == said or one.startswith(f"{said}[") for said in carried.again)
    }
    assert Sim(world, flow, carried.journal).run()
