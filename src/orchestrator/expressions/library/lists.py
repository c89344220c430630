"""Helpers that work on lists. None changes its input; order is kept unless the helper is about order."""

from __future__ import annotations

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.helpers import helper
from orchestrator.expressions.library.arguments import elements, key_of
from orchestrator.expressions.library.numbers import picked
from orchestrator.expressions.limits import Meter
from orchestrator.expressions.values import Json, equal, kind, ordered_pair, shown


@helper("x | length", 1)
def length(meter: Meter, value: Json) -> Json:
    """How many characters, elements or members there are."""
    if type(value) not in (str, list, dict):
        hint = "; write `x | default([], true) | length`" if value is None else ""
        raise Fault(f"`length` needs text, a list or an object, not {shown(value)}{hint}")
    return len(value)


@helper("list | first", 1)
def first(meter: Meter, value: Json) -> Json:
    """The first element of a list, the first character of a text; none of an empty one."""
    return _end(value, 0, "first")


@helper("list | last", 1)
def last(meter: Meter, value: Json) -> Json:
    """The last element of a list, the last character of a text; none of an empty one."""
    return _end(value, -1, "last")


def _end(value: Json, position: int, name: str) -> Json:
    if type(value) is not list and type(value) is not str:
        raise Fault(f"`{name}` needs a list or text, not {shown(value)}")
    return value[position] if value else None


@helper("x | reverse", 1)
def reverse(meter: Meter, value: Json) -> Json:
    """The list or text from the end to the start."""
    if type(value) is str:
        meter.charge_text(len(value))
        return value[::-1]
    return elements(meter, value, "reverse")[::-1]


@helper("list | sort(key)", 1, 2)
def sort(meter: Meter, value: Json, key: Json = None) -> Json:
    """The list in rising order, of numbers or of texts, or by that member of each element; equal ones keep
    their order."""
    found = elements(meter, value, "sort")
    ranks = picked(found, key, "sort")
    characters = 0
    for rank in ranks:
        ordered_pair(rank, ranks[0], "sort")
        characters += len(rank) if type(rank) is str else 0
    # Every element is compared about log2(n) times, each time perhaps to its last character.
    rounds = len(found).bit_length()
    meter.charge((len(found) * rounds >> 3) + (characters * rounds >> 7))
    return [found[position] for position in sorted(range(len(found)), key=ranks.__getitem__)]


@helper("list | unique(key)", 1, 2)
def unique(meter: Meter, value: Json, key: Json = None) -> Json:
    """The list without repetitions, the first of equal elements kept; with a key, of elements with that
    member equal."""
    found = elements(meter, value, "unique")
    ranks = picked(found, key, "unique")
    seen: dict[tuple[str, Json], None] = {}
    nested: list[Json] = []
    kept = []
    for element, rank in zip(found, ranks, strict=True):
        if type(rank) in (list, dict):
            if any(_same(rank, other, meter) for other in nested):
                continue
            nested.append(rank)
        else:
            meter.charge(len(rank) >> 7 if type(rank) is str else rank.bit_length() >> 6 if type(rank) is int else 0)
            mark = (kind(rank), rank)
            if mark in seen:
                continue
            seen[mark] = None
        kept.append(element)
    return kept


def _same(left: Json, right: Json, meter: Meter) -> bool:
    meter.charge(2)
    return equal(left, right, meter)


@helper("list | map(key, default)", 2, 3)
def mapped(meter: Meter, value: Json, key: Json, *fallback: Json) -> Json:
    """That member of every element; an element without it is an error, or gives the default."""
    if not fallback:
        return picked(elements(meter, value, "map"), key, "map")
    member = key_of(key, "map")
    return [
        element[member] if type(element) is dict and member in element else fallback[0]
        for element in elements(meter, value, "map")
    ]


@helper("list | select(key, value)", 2, 3)
def select(meter: Meter, value: Json, key: Json, *wanted: Json) -> Json:
    """The elements whose member equals the value, or without a value is true; one without the member does
    not match."""
    return _matching(meter, value, key, wanted, True)


@helper("list | reject(key, value)", 2, 3)
def reject(meter: Meter, value: Json, key: Json, *wanted: Json) -> Json:
    """The elements that `select` with the same arguments leaves out."""
    return _matching(meter, value, key, wanted, False)


def _matching(meter: Meter, value: Json, key: Json, wanted: tuple[Json, ...], keep: bool) -> list[Json]:
    name = "select" if keep else "reject"
    member = key_of(key, name)
    target = wanted[0] if wanted else True
    return [
        element
        for element in elements(meter, value, name)
        if (type(element) is dict and member in element and equal(element[member], target, meter)) is keep
    ]


@helper("list | flatten", 1)
def flatten(meter: Meter, value: Json) -> Json:
    """The elements of the lists in a list, one level down; other elements stay."""
    result: list[Json] = []
    for element in elements(meter, value, "flatten"):
        if type(element) is list:
            meter.charge(len(element))
            result.extend(element)
        else:
            result.append(element)
    return result
