"""The tree to closures: compiled once, a run is a few plain calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from orchestrator.expressions.errors import Fault, Missing
from orchestrator.expressions.helpers import HELPERS, KINDS
from orchestrator.expressions.limits import Meter
from orchestrator.expressions.operators import ARITHMETIC, COMPARISONS, Operator, cut, negate
from orchestrator.expressions.tree import (
    Call,
    Chain,
    Choice,
    Comparison,
    Default,
    Defined,
    KindTest,
    ListOf,
    Literal,
    Logic,
    Member,
    ObjectOf,
    Part,
    Path,
    Slice,
    Unary,
)
from orchestrator.expressions.values import (
    ABSENT,
    PLAIN,
    Json,
    Scope,
    clipped,
    kind,
    listed,
    nearest,
    shown,
    to_text,
)

Run = Callable[[Scope, Meter], Json]
"""A compiled part."""


def compiled(part: Part) -> Run:
    """The closure of a part."""
    return _COMPILERS[type(part)](part)


def _at(offset: int, run: Run) -> Run:
    """The closure, its faults given a place in the source."""

    def located(scope: Scope, meter: Meter) -> Json:
        try:
            return run(scope, meter)
        except Fault as fault:
            if fault.offset is None:
                fault.offset = offset
            raise

    return located


# -- values and names ---------------------------------------------------------------------------------------------


def _literal(part: Literal) -> Run:
    value = part.value
    return lambda scope, meter: value


def _list(part: ListOf) -> Run:
    items = [compiled(item) for item in part.items]
    return lambda scope, meter: [item(scope, meter) for item in items]


def _object(part: ObjectOf) -> Run:
    members = [(key, compiled(value)) for key, value in zip(part.keys, part.values, strict=True)]
    return lambda scope, meter: {key: value(scope, meter) for key, value in members}


def member_of(value: Json, key: Json) -> Json:
    """The member of an object or the element of a list, or ABSENT. A key of an object is always its key, whatever
    methods the language underneath has."""
    if isinstance(value, Mapping):
        return value.get(key, ABSENT) if type(key) is str else ABSENT
    if type(value) is list and type(key) is int and -len(value) <= key < len(value):
        return value[key]
    return ABSENT


def _lenient_path(part: Path) -> Run:
    root, path = part.root, part.path

    def run(scope: Scope, meter: Meter) -> Json:
        value = scope.get(root, ABSENT)
        for key in path:
            value = value.get(key, ABSENT) if type(value) is dict else member_of(value, key)
            if value is ABSENT:
                return ABSENT
        return value if type(value) in PLAIN or value is ABSENT else dict(value)

    return run


def _path(part: Path) -> Run:
    lenient = _lenient_path(part)

    def run(scope: Scope, meter: Meter) -> Json:
        value = lenient(scope, meter)
        if value is ABSENT:
            raise Missing(lambda: _absence(part, scope), part.offset)
        return value

    return run


def _absence(part: Path, scope: Scope) -> str:
    """Why a path leads nowhere: what is missing, in what, and what is there instead."""
    if part.root not in scope:
        steps = scope.get("steps")
        if part.root in HELPERS and not part.path:
            return f"there is no name '{part.root}'; the helper is written `{HELPERS[part.root].usage}`"
        if isinstance(steps, Mapping) and part.root in steps:
            return f"there is no name '{part.root}'; a step's record is `steps.{part.root}`"
        names = sorted(str(name) for name in scope)
        return f"there is no name '{clipped(part.root, 40)}'{nearest(part.root, names)}; there: {listed(names)}"
    value, way = scope[part.root], part.root
    for key in part.path:
        found = member_of(value, key)
        if found is ABSENT:
            return _no_member(value, key, way)
        value = found
        way = f"{way}[{key}]" if type(key) is int else f"{way}.{clipped(str(key), 40)}"
    return f"'{way}' is missing"


def _no_member(value: Json, key: Json, way: str) -> str:
    where = f"in {way}" if way else "there"
    if isinstance(value, Mapping):
        name = clipped(str(key), 40)
        near = nearest(name, value)
        return f"'{name}' is not {where}{near}; there: {listed(value)}"
    if type(value) is list:
        if type(key) is int:
            return f"there is no element {key} {where}, a list of {len(value)}"
        hint = f"write [0] for one element or `| map('{clipped(str(key), 40)}')` for all"
        if key == "length":
            hint = "write `x | length`"
        return f"'{clipped(str(key), 40)}' is not {where}, a list of {len(value)}: {hint}"
    hint = "; guard it with `| default(…)`" if value is None else ""
    if type(value) is str:
        hint = "; write `x | length`" if key == "length" else "; `x | fromjson` reads JSON, `x[0:1]` cuts text"
    return f"'{clipped(str(key), 40)}' is not {where}, which is {kind(value)}{hint}"


def _member(part: Member) -> Run:
    operand, key = compiled(part.operand), compiled(part.key)
    offset = part.offset

    def run(scope: Scope, meter: Meter) -> Json:
        value, name = operand(scope, meter), key(scope, meter)
        if type(name) is not str and type(name) is not int:
            raise Fault(f"a member is named by text or a whole number, not by {shown(name)}", offset)
        found = member_of(value, name)
        if found is ABSENT:
            raise Missing(lambda: _no_member(value, name, ""), offset)
        return found

    return run


def _slice(part: Slice) -> Run:
    operand = compiled(part.operand)
    start = compiled(part.start) if part.start else None
    stop = compiled(part.stop) if part.stop else None

    def run(scope: Scope, meter: Meter) -> Json:
        return cut(
            operand(scope, meter),
            start(scope, meter) if start else None,
            stop(scope, meter) if stop else None,
            meter,
        )

    return _at(part.offset, run)


# -- operators ----------------------------------------------------------------------------------------------------


def _boolean(value: Json, sign: str, offset: int) -> bool:
    if value is True or value is False:
        return bool(value)
    hint = "for a fallback write `x | default(y)`" if sign == "or" else "compare it, or test `x is defined`"
    raise Fault(f"`{sign}` needs true or false, not {shown(value)}; {hint}", offset)


def _unary(part: Unary) -> Run:
    operand, offset = compiled(part.operand), part.offset
    if part.sign == "not":
        return lambda scope, meter: not _boolean(operand(scope, meter), "not", offset)
    return _at(offset, lambda scope, meter: negate(operand(scope, meter)))


def _joined(part: Chain) -> Run:
    operands = [compiled(part.first), *(compiled(operand) for _, _, operand in part.rest)]

    def run(scope: Scope, meter: Meter) -> Json:
        parts = [to_text(operand(scope, meter), meter) for operand in operands]
        meter.charge_text(sum(map(len, parts)))
        return "".join(parts)

    return _at(part.rest[0][1], run)


def _chain(part: Chain) -> Run:
    if part.rest[0][0] == "~":
        return _joined(part)
    first = compiled(part.first)
    rest = [(ARITHMETIC[sign], offset, compiled(operand)) for sign, offset, operand in part.rest]

    def run(scope: Scope, meter: Meter) -> Json:
        value = first(scope, meter)
        for operate, offset, operand in rest:
            value = _applied(operate, value, operand(scope, meter), meter, offset)
        return value

    return run


def _applied(operate: Operator, left: Json, right: Json, meter: Meter, offset: int) -> Json:
    try:
        return operate(left, right, meter)
    except Fault as fault:
        fault.offset = offset if fault.offset is None else fault.offset
        raise


def _comparison(part: Comparison) -> Run:
    first = compiled(part.first)
    rest = [(COMPARISONS[sign], offset, compiled(operand)) for sign, offset, operand in part.rest]
    if len(rest) == 1:
        compare, offset, second = rest[0]
        return lambda scope, meter: _applied(compare, first(scope, meter), second(scope, meter), meter, offset)

    def run(scope: Scope, meter: Meter) -> Json:
        left = first(scope, meter)
        for compare, offset, operand in rest:
            right = operand(scope, meter)
            if not _applied(compare, left, right, meter, offset):
                return False
            left = right
        return True

    return run


def _logic(part: Logic) -> Run:
    operands = [(compiled(operand), operand.offset) for operand in part.operands]
    sign, ends = part.sign, part.sign == "or"

    def run(scope: Scope, meter: Meter) -> Json:
        for operand, offset in operands:
            if _boolean(operand(scope, meter), sign, offset) is ends:
                return ends
        return not ends

    return run


def _choice(part: Choice) -> Run:
    condition, then, otherwise = compiled(part.condition), compiled(part.then), compiled(part.otherwise)
    offset = part.condition.offset

    def run(scope: Scope, meter: Meter) -> Json:
        chosen = then if _boolean(condition(scope, meter), "if", offset) else otherwise
        return chosen(scope, meter)

    return run


# -- guards and helpers -------------------------------------------------------------------------------------------


def _guarded(part: Part) -> Run:
    """The part with ABSENT for anything missing on its way."""
    if isinstance(part, Path):
        return _lenient_path(part)
    run = compiled(part)

    def guarded(scope: Scope, meter: Meter) -> Json:
        try:
            return run(scope, meter)
        except Missing:
            return ABSENT

    return guarded


def _default(part: Default) -> Run:
    operand, fallback = _guarded(part.operand), compiled(part.fallback)
    also_empty = compiled(part.also_empty) if part.also_empty else None
    offset = part.offset

    def run(scope: Scope, meter: Meter) -> Json:
        value = operand(scope, meter)
        if value is ABSENT:
            return fallback(scope, meter)
        if also_empty and (value is None or (type(value) in (str, list, dict) and not value)):
            wanted = _boolean(also_empty(scope, meter), "default", offset)
            return fallback(scope, meter) if wanted else value
        return value

    return run


def _defined(part: Defined) -> Run:
    operand, negated = _guarded(part.operand), part.negated
    return lambda scope, meter: (operand(scope, meter) is ABSENT) is negated


def _kind_test(part: KindTest) -> Run:
    operand, negated = compiled(part.operand), part.negated
    wanted = KINDS[part.kind].removeprefix("is ")
    return lambda scope, meter: (kind(operand(scope, meter)) == wanted) is not negated


def _call(part: Call) -> Run:
    function = HELPERS[part.name].function
    arguments = [compiled(argument) for argument in part.arguments]
    if len(arguments) == 1:
        only = arguments[0]
        return _at(part.offset, lambda scope, meter: function(meter, only(scope, meter)))
    return _at(part.offset, lambda scope, meter: function(meter, *[argument(scope, meter) for argument in arguments]))


_COMPILERS: dict[type[Part], Callable[[Part], Run]] = {
    kind_of: cast("Callable[[Part], Run]", compiler)
    for kind_of, compiler in (
        (Literal, _literal),
        (ListOf, _list),
        (ObjectOf, _object),
        (Path, _path),
        (Member, _member),
        (Slice, _slice),
        (Unary, _unary),
        (Chain, _chain),
        (Comparison, _comparison),
        (Logic, _logic),
        (Choice, _choice),
        (Default, _default),
        (Defined, _defined),
        (KindTest, _kind_test),
        (Call, _call),
    )
}
