"""Where the members of one list stand: those that wait stand below those they wait for.

The classic four steps (Sugiyama): layers by longest path, a point in every layer an edge passes through, an order in
each layer that crosses few edges, then positions as near to what they are joined with as the order allows.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[int, int]
_SWEEPS = 6
_STRAIGHT = 8.0
"""How much more it matters that an edge passes a layer straight than that a member stands in the middle."""
_POINT = 12.0
"""Pixels that an edge keeps to itself where it passes a layer."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a member takes: its port is where edges meet it, measured from its left."""

    width: float
    height: float
    port: float


@dataclass(frozen=True, slots=True)
class _Pool:
    """Neighbours that stand as close as they may: where, how much that matters, how many they are."""

    at: float
    weight: float
    count: int

    def with_(self, other: _Pool) -> _Pool:
        weight = self.weight + other.weight
        at = (self.at * self.weight + other.at * other.weight) / weight
        return _Pool(at, weight, self.count + other.count)


@dataclass(frozen=True, slots=True)
class Line:
    """An edge as the points it goes through: straight down at each point's ``x`` from ``top`` to ``bottom``."""

    before: int
    after: int
    points: tuple[tuple[float, float, float], ...]
    """``(x, top, bottom)``: the member it leaves, the layers it passes, the member it reaches."""


@dataclass(frozen=True, slots=True)
class Laid:
    """Positions of the members' upper left corners, the edges, and what all of it takes."""

    positions: tuple[tuple[float, float], ...]
    lines: tuple[Line, ...]
    width: float
    height: float
    port: float
    """Where the middle of the first layer's members is."""


def lay(sizes: Sequence[Size], edges: Sequence[Edge], *, gap: float, drop: float, widest: float) -> Laid:
    """Lay out a list. ``gap`` is between members side by side, ``drop`` between layers; members without any edge go
    into rows of at most ``widest``."""
    if not edges and len(sizes) > 1:
        return _rows(sizes, gap, widest)
    members = list(sizes)
    layers, chains = _layers(members, edges)
    order = _ordered(layers, _joins(chains))
    centres = _centres(members, order, _joins(chains), gap)
    left = min(centres[one] - members[one].port for one in centres)
    tops, top = {}, 0.0
    bottoms = []
    for layer in order:
        height = max(members[one].height for one in layer)
        tops.update(dict.fromkeys(layer, top))
        bottoms.append(top + height)
        top += height + drop
    level = {one: number for number, layer in enumerate(order) for one in layer}
    lines = []
    for chain in chains:
        points = []
        for one in chain:
            real = one < len(sizes)
            bottom = tops[one] if real and one == chain[-1] else bottoms[level[one]]
            start = tops[one] + members[one].height if real and one == chain[0] else tops[one]
            points.append((centres[one] - left, start, bottom))
        lines.append(Line(chain[0], chain[-1], tuple(points)))
    return Laid(
        positions=tuple((centres[one] - left - members[one].port, tops[one]) for one in range(len(sizes))),
        lines=tuple(lines),
        width=max(centres[one] - left + members[one].width - members[one].port for one in centres),
        height=bottoms[-1],
        port=sum(centres[one] - left for one in order[0]) / len(order[0]),
    )


def _rows(sizes: Sequence[Size], gap: float, widest: float) -> Laid:
    """Members that do not wait for each other: side by side, in as few rows as fit."""
    rows: list[list[int]] = [[]]
    used = 0.0
    for index, size in enumerate(sizes):
        if rows[-1] and used + size.width > widest:
            rows.append([])
            used = 0.0
        rows[-1].append(index)
        used += size.width + gap
    positions: dict[int, tuple[float, float]] = {}
    widths, top = [], 0.0
    for row in rows:
        left = 0.0
        for index in row:
            positions[index] = (left, top)
            left += sizes[index].width + gap
        widths.append(left - gap)
        top += max(sizes[index].height for index in row) + gap
    return Laid(
        positions=tuple(positions[index] for index in range(len(sizes))),
        lines=(),
        width=max(widths),
        height=top - gap,
        port=max(widths) / 2,
    )


def _layers(members: list[Size], edges: Sequence[Edge]) -> tuple[list[list[int]], list[list[int]]]:
    """The layers, and every edge as the chain of what it goes through; the points are added to ``members``."""
    count = len(members)
    needs: list[list[int]] = [[] for _ in range(count)]
    for before, after in edges:
        needs[after].append(before)
    depth: dict[int, int] = {}
    for index in range(count):
        todo = [index]
        while todo:
            one = todo[-1]
            missing = [before for before in needs[one] if before not in depth]
            if missing:
                todo += missing
                continue
            depth[todo.pop()] = max((depth[before] + 1 for before in needs[one]), default=0)
    layers: list[list[int]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for index in range(count):
        layers[depth[index]].append(index)
    chains = []
    for before, after in edges:
        chain = [before]
        for level in range(depth[before] + 1, depth[after]):
            members.append(Size(_POINT, 0.0, _POINT / 2))
            layers[level].append(len(members) - 1)
            chain.append(len(members) - 1)
        chains.append([*chain, after])
    return layers, chains


def _joins(chains: Sequence[Sequence[int]]) -> list[Edge]:
    return [(one, other) for chain in chains for one, other in pairwise(chain)]


def _ordered(layers: list[list[int]], joins: Sequence[Edge]) -> list[list[int]]:
    """The layers, each ordered by where what it is joined with stands."""
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for one, other in joins:
        below.setdefault(one, []).append(other)
        above.setdefault(other, []).append(one)
    order = [list(layer) for layer in layers]
    best, fewest = order, _crossings(order, joins)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        place = {one: at for layer in order for at, one in enumerate(layer)}
        numbers = range(1, len(order)) if down else range(len(order) - 2, -1, -1)
        order = [list(layer) for layer in order]
        for number in numbers:
            beside = above if down else below
            wanted = {one: _mean([place[other] for other in beside.get(one, ())], place[one]) for one in order[number]}
            order[number].sort(key=wanted.__getitem__)
            place.update({one: at for at, one in enumerate(order[number])})
        crossings = _crossings(order, joins)
        if crossings < fewest:
            best, fewest = order, crossings
    return best


def _crossings(order: Sequence[Sequence[int]], joins: Sequence[Edge]) -> int:
    place = {one: (number, at) for number, layer in enumerate(order) for at, one in enumerate(layer)}
    by_layer: dict[int, list[tuple[int, int]]] = {}
    for one, other in joins:
        by_layer.setdefault(place[one][0], []).append((place[one][1], place[other][1]))
    return sum(_inversions([right for _, right in sorted(pairs)]) for pairs in by_layer.values())


def _inversions(values: Sequence[int]) -> int:
    """How many pairs stand in the wrong order."""
    seen: list[int] = []
    found = 0
    for value in values:
        found += len(seen) - bisect_right(seen, value)
        insort(seen, value)
    return found


def _centres(members: list[Size], order: list[list[int]], joins: Sequence[Edge], gap: float) -> dict[int, float]:
    """Where each port stands, so that edges are as straight as the order allows."""
    beside: dict[int, list[int]] = {}
    for one, other in joins:
        beside.setdefault(one, []).append(other)
        beside.setdefault(other, []).append(one)
    centres: dict[int, float] = {}
    for layer in order:
        _place(members, layer, [0.0] * len(layer), gap, centres)
    level = {one: number for number, layer in enumerate(order) for one in layer}
    for sweep in range(_SWEEPS):
        down, before = sweep % 2 == 0, dict(centres)
        for number in range(len(order)) if down else range(len(order) - 1, -1, -1):
            wanted = [
                _mean(
                    [centres[other] for other in beside.get(one, ()) if (level[other] < number) == down], centres[one]
                )
                for one in order[number]
            ]
            _place(members, order[number], wanted, gap, centres)
        if centres == before:
            break
    return centres


def _place(
    members: list[Size], layer: Sequence[int], wanted: Sequence[float], gap: float, centres: dict[int, float]
) -> None:
    """The positions nearest to the wanted ones (least squares) at which nothing overlaps: neighbours that would are
    put together and share the mean (pool adjacent violators)."""
    offsets = [0.0]
    for one, other in pairwise(layer):
        offsets.append(offsets[-1] + members[one].width - members[one].port + gap + members[other].port)
    pools: list[_Pool] = []
    for one, want, offset in zip(layer, wanted, offsets, strict=True):
        pools.append(_Pool(want - offset, _STRAIGHT if members[one].height == 0 else 1.0, 1))
        while len(pools) > 1 and pools[-2].at > pools[-1].at:
            last = pools.pop()
            pools[-1] = pools[-1].with_(last)
    placed = [pool.at for pool in pools for _ in range(pool.count)]
    for one, value, offset in zip(layer, placed, offsets, strict=True):
        centres[one] = value + offset


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
