"""``for-each``: one pass per item, one after the other or several at once, results in item order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from orchestrator.engine.activities import Outcome
from orchestrator.engine.constructs.numbers import whole_number
from orchestrator.engine.failures import ErrorRecord, StepFailed, error_record, told
from orchestrator.engine.frame import Frame
from orchestrator.engine.run import Walk
from orchestrator.engine.together import run_all
from orchestrator.expressions import Expression
from orchestrator.spec.definition import Json, Node

MOST_ITEMS = 1_000_000
MOST_AT_ONCE = 200
"""ENGINE §3."""
_SHARE = re.compile(r"((?:100|[0-9]{1,2})(?:\.[0-9]+)?)%")
MOST_FAILED_KEPT = 100


class Each:
    """The passes of one ``for-each``. What is done stands in its state, so that it goes on after continue-as-new."""

    def __init__(self, walk: Walk, node: Node, frame: Frame, path: str, part: dict[str, Json] | None = None) -> None:
        self._walk = walk
        self._node = node
        self._frame = frame
        self._path = path
        self._state = walk.run.journal.state(path)
        self._config: dict[str, Json] = walk.render(walk.program.code(node).config, node, frame).value
        at_once = (part or self._config).get("concurrency", 1)
        self.concurrency = whole_number(at_once, "concurrency", node, path, MOST_AT_ONCE)
        self.items = self._items() if part is None else part["items"]
        self._first: int = 0 if part is None else part["first"]
        self._count = len(self.items) if part is None else part["total"]
        self._state.setdefault("low", self._first)
        self._state.setdefault("total", self._first + len(self.items))
        self.tolerated = _tolerance(self._config.get("tolerate", 0), self._count, node, path)

    async def run(self) -> None:
        """Run what is not done yet. Raises the StepFailed of the pass that was one too many."""
        todo = self._todo()
        if self.concurrency == 1:
            for index in todo:
                await self._pass(index)
            return

        async def work() -> None:
            for index in todo:
                await self._pass(index)

        width = min(self.concurrency, len(self.items))
        await run_all([work() for _ in range(width)], stops=lambda error: True)

    def collected(self) -> dict[str, Json]:
        """Outputs and errors of a part, for the run that puts the parts together."""
        outputs = self._state.get("outputs", {})
        wanted = range(self._first, self._state["total"]) if self._config.get("collect") != "none" else ()
        return {
            "outputs": [outputs.get(str(index)) for index in wanted],
            "errors": sorted(self._state.get("errors", []), key=_index),
        }

    def outcome(self) -> Outcome:
        """Outputs in item order and the tolerated errors."""
        errors = sorted(self._state.get("errors", []), key=_index)
        extra: dict[str, Json] = {"errors": errors}
        if self._config.get("collect") == "none":
            return Outcome(None, extra)
        outputs = self._state.get("outputs", {})
        last = max((int(index) for index in outputs), default=-1)
        failed = max((error["index"] for error in errors), default=-1)
        return Outcome([outputs.get(str(index)) for index in range(max(last, failed) + 1)], extra)

    def _todo(self) -> Iterator[int]:
        """Indexes still to run. Asked for one by one, so that ``until`` ends it for all workers at once."""
        state = self._state
        again = sorted(state.get("again", []))
        beyond = set(state.setdefault("beyond", []))
        for index in again:
            yield index
        for index in range(state["low"], state["total"]):
            if index in beyond:
                continue
            if not state.get("stopped") or self._has_begun(index):
                yield index
            elif index > state["low"] + len(beyond) + MOST_AT_ONCE:
                return

    def _has_begun(self, index: int) -> bool:
        """Whether a pass was under way when the run continued as new: it goes on, also where ``until`` has ended the
        loop meanwhile."""
        return self._walk.run.journal.has_inside(f"{self._path}[{index}]/")

    async def _pass(self, index: int) -> None:
        item = self.items[index - self._first]
        names = {self._config.get("as", "item"): item, "loop": self._loop(index)}
        inner = self._frame.in_pass(f"{self._path}[{index}]/", names)
        failed = False
        try:
            output = await self._walk.run_list(self._node.lists["steps"], inner)
        except StepFailed as failure:
            self._tolerate(index, item, failure.error)
            failed = True
        else:
            if self._config.get("collect") != "none":
                self._state.setdefault("outputs", {})[str(index)] = output
            if self.concurrency == 1:
                self._state["previous"] = output
        self._done(index)
        self._look_for_end(inner)
        self._fold(inner, failed)

    def _fold(self, inner: Frame, failed: bool) -> None:
        """A failed pass keeps its records, so that a retry of the run goes on inside it, as long as these are few."""
        if failed and len(self._state["errors"]) <= MOST_FAILED_KEPT:
            return
        code = self._walk.program.code(self._node)
        if code.folds or not self._walk.run.compensations.owes(inner.prefix):
            self._walk.run.journal.fold(self._path, inner.prefix)

    def _tolerate(self, index: int, item: Json, error: ErrorRecord) -> None:
        errors = self._state.setdefault("errors", [])
        errors.append({"index": index, "item": item, "error": error})
        if len(errors) > self.tolerated:
            raise too_many(errors, error)
        self._walk.run.warnings.append(f"item {index} of '{self._node.id}' failed and was tolerated: {error['type']}")

    def _done(self, index: int) -> None:
        """``low`` is where everything before is done; what is done beyond it is few."""
        state = self._state
        if index < state["low"]:
            state["again"].remove(index)
            return
        state["beyond"].append(index)
        while state["low"] in state["beyond"]:
            state["beyond"].remove(state["low"])
            state["low"] += 1

    def _look_for_end(self, inner: Frame) -> None:
        until = self._walk.program.code(self._node).fields.get("until")
        if until is not None and self._walk.holds(until, self._node, inner, self._path):
            self._state["stopped"] = True

    def _loop(self, index: int) -> dict[str, Json]:
        loop: dict[str, Json] = {"index": index, "count": self._count, "first": index == 0}
        if self.concurrency == 1 and index > 0:
            loop["previous"] = self._state.get("previous")
        if "loop" in self._frame.names:
            loop["parent"] = self._frame.names["loop"]
        return loop

    def _items(self) -> list[Json]:
        if "items" in self._state:
            kept: list[Json] = self._state["items"]
            return kept
        expression = self._walk.program.code(self._node).fields.get("items")
        if expression is None:
            given = self._config["items"]
        else:
            given = self._walk.evaluate(expression, self._node, self._frame)
        items = _as_list(given, self._node, self._path)
        told = self._node.config
        if self._config.get("batch_size") is not None:
            size = whole_number(self._config["batch_size"], "batch_size", self._node, self._path)
            items = [items[start : start + size] for start in range(0, len(items), size)]
        stable = _is_stable(expression) if expression is not None else given == told["items"]
        if not stable or isinstance(told.get("batch_size"), str):
            self._state["items"] = items
        return items


def too_many(errors: list[dict[str, Json]], last: ErrorRecord) -> StepFailed:
    """The failure of a loop of which more passes failed than it tolerates: that of the last of them."""
    told = sorted(errors, key=_index)[:MOST_FAILED_KEPT]
    return StepFailed(last | ({"errors": [one["error"] for one in told]} if len(told) > 1 else {}))


def _index(error: dict[str, Any]) -> int:
    return int(error["index"])


def _is_stable(expression: Expression) -> bool:
    """Whether evaluating it again later gives the same: then its value need not be kept."""
    changing = any(reference.root == "vars" for reference in expression.references)
    return not changing and "now" not in expression.source and "uuid" not in expression.source


def _as_list(given: Json, node: Node, path: str) -> list[Json]:
    if isinstance(given, dict):
        # JSON objects have no order of their own: by key, so that it is the same for every reader.
        given = [{"key": key, "value": given[key]} for key in sorted(given)]
    elif isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        given = range(given) if given <= MOST_ITEMS else given
    if not isinstance(given, list | range):
        message = (
            f"`items` of '{node.id}' gave {told(given)}; it takes a list, an object or a number up to {MOST_ITEMS}"
        )
        raise StepFailed(error_record(node, path, "invalid_items", message))
    if len(given) > MOST_ITEMS:
        message = f"`items` of '{node.id}' has {len(given)} items; a for-each takes {MOST_ITEMS}"
        raise StepFailed(error_record(node, path, "invalid_items", message))
    return list(given)


def _tolerance(given: Json, total: int, node: Node, path: str) -> float:
    """How many passes may fail."""
    if given == "all":
        return float("inf")
    share = _SHARE.fullmatch(given) if isinstance(given, str) else None
    if share is not None:
        return total * float(share[1]) / 100
    number = int(given) if isinstance(given, str) and given.isdecimal() else given
    if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
        message = f"`tolerate` gave {given!r}; it takes a number, a share such as 10%, or all"
        raise StepFailed(error_record(node, path, "invalid_config", message))
    return number
