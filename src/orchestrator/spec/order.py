"""Which steps are over before which: ``needs``, lists and branches (FLOW_FORMAT §3)."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.spec.findings import Findings, suggestion
from orchestrator.spec.reading import Placed


@dataclass(slots=True)
class Order:
    """The order inside every list of a flow."""

    _waits: dict[int, list[Placed]] = field(default_factory=dict)

    def waits(self, step: Placed) -> list[Placed]:
        """The siblings that are over before ``step`` starts."""
        return self._waits.get(id_of(step), [])

    def may_overlap(self, one: Placed, other: Placed) -> bool:
        """Whether two steps may run at the same time: somewhere around them are two siblings of which neither waits
        for the other."""
        around = {(id_of(step.parent), step.list_name): step for step in (one, *one.ancestors())}
        for step in (other, *other.ancestors()):
            sibling = around.get((id_of(step.parent), step.list_name))
            if sibling is None or sibling is step:
                continue
            return sibling not in self.waits(step) and step not in self.waits(sibling)
        return False

    def add(self, steps: list[Placed], findings: Findings, ids: dict[str, Placed]) -> None:
        """Work out one list; unknown, foreign and cyclic ``needs`` go to ``findings``."""
        if all(step.step.needs is None for step in steps) and (not steps or steps[0].list_name != "branches"):
            for index, step in enumerate(steps):
                self._waits[id_of(step)] = steps[:index]
            return
        positions = {step.id: index for index, step in enumerate(steps)}
        edges = [self._edges(step, index, positions, findings, ids) for index, step in enumerate(steps)]
        cycle = _cycle(edges)
        if cycle:
            _report_cycle(cycle, steps, findings)
            for index, step in enumerate(steps):
                self._waits[id_of(step)] = steps[:index]
            return
        before = _closure(edges)
        for index, step in enumerate(steps):
            self._waits[id_of(step)] = [other for at, other in enumerate(steps) if before[index] >> at & 1]

    def _edges(
        self, step: Placed, index: int, positions: dict[str, int], findings: Findings, ids: dict[str, Placed]
    ) -> list[int]:
        needs = step.step.needs
        if needs is None:
            return [] if step.list_name == "branches" else list(range(index))
        edges = []
        for number, name in enumerate(needs):
            path = (*step.path, "needs", number)
            if name == step.id:
                findings.error(path, f"step `{name}` needs itself")
            elif name in positions:
                edges.append(positions[name])
            elif name in ids:
                findings.error(
                    path,
                    f"`{name}` is not in the same list as `{step.id}`",
                    "`needs` names steps beside this one; name the block around it instead",
                )
            else:
                siblings = [other for other in positions if other != step.id and other in ids]
                findings.error(path, f"there is no step `{name}` beside `{step.id}`", suggestion(name, siblings))
        return edges


def id_of(step: Placed | None) -> int:
    """A key for a step that holds for as long as the step does."""
    return 0 if step is None else step.number


def _cycle(edges: list[list[int]]) -> list[int] | None:
    """A cycle as indices, the first one again at the end; None where there is none."""
    state = [0] * len(edges)
    for start in range(len(edges)):
        if state[start]:
            continue
        trail = [start]
        rest = [iter(edges[start])]
        state[start] = 1
        while trail:
            following = next(rest[-1], None)
            if following is None:
                state[trail.pop()] = 2
                rest.pop()
            elif state[following] == 1:
                return [*trail[trail.index(following) :], following]
            elif state[following] == 0:
                state[following] = 1
                trail.append(following)
                rest.append(iter(edges[following]))
    return None


def _closure(edges: list[list[int]]) -> list[int]:
    """For every index the bits of all it waits for, directly or not. The edges have no cycle."""
    before: list[int | None] = [None] * len(edges)
    for start in range(len(edges)):
        todo = [start]
        while todo:
            index = todo[-1]
            missing = [other for other in edges[index] if before[other] is None]
            if missing:
                todo.extend(missing)
                continue
            todo.pop()
            bits = 0
            for other in edges[index]:
                bits |= 1 << other | (before[other] or 0)
            before[index] = bits
    return [bits or 0 for bits in before]


def _report_cycle(cycle: list[int], steps: list[Placed], findings: Findings) -> None:
    names = [steps[index].id for index in cycle]
    silent = next((steps[index] for index in cycle if steps[index].step.needs is None), None)
    hint = None
    if silent is not None:
        hint = f"`{silent.id}` has no `needs`, so it waits for all steps above it; give it `needs: []` or move it up"
    first = min(cycle[:-1], key=lambda index: steps[index].step.needs is None)
    findings.error((*steps[first].path, "needs"), f"steps wait for each other: {' → '.join(names)}", hint, key=True)


def check_sets(steps: list[Placed], order: Order, findings: Findings) -> None:
    """Refuse ``set`` of one var in two places that may run at the same time."""
    writers: dict[str, list[Placed]] = {}
    for step in steps:
        for placed in step.walk():
            if placed.type == "set":
                for name in placed.config:
                    writers.setdefault(name, []).append(placed)
    for name, places in writers.items():
        for index, place in enumerate(places):
            path = place.config_paths[name]
            loop = _side_by_side(place)
            if loop is not None:
                findings.error(
                    path,
                    f"passes of `{loop.id}` run at the same time and all set `{name}`",
                    "remove its `concurrency`, or use the loop's output",
                    key=True,
                )
            rival = next((other for other in places[:index] if order.may_overlap(other, place)), None)
            if rival is not None:
                line = findings.source.value_at(rival.path)[0]
                findings.error(
                    path,
                    f"`{name}` is set here and by `{rival.id}` (line {line}), which may run at the same time",
                    "let one wait for the other with `needs`, or use two vars",
                    key=True,
                )


def _side_by_side(step: Placed) -> Placed | None:
    """The nearest loop around ``step`` whose passes may overlap."""
    for around in step.ancestors():
        if around.type == "for-each" and around.config.get("concurrency", 1) != 1:
            return around
    return None
