"""What helpers ask of their arguments; every refusal says what to write instead."""

from __future__ import annotations

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.limits import MAX_INTEGER, Meter
from orchestrator.expressions.values import NUMBERS, Json, in_range, kind, shown


def text(meter: Meter, value: Json, name: str) -> str:
    """A text, its reading counted."""
    if type(value) is not str:
        hint = "; write `x | default('', true)` for one that may be none" if value is None else ""
        hint = "; write `x | string` first" if type(value) in NUMBERS else hint
        raise Fault(f"`{name}` needs text, not {shown(value)}{hint}")
    meter.charge_text(len(value))
    return value


def elements(meter: Meter, value: Json, name: str) -> list[Json]:
    """A list, one operation counted for each element."""
    if type(value) is not list:
        hint = {"none": "; write `x | default([], true)`", "an object": "; write `x | values` or `x | items`"}
        raise Fault(f"`{name}` needs a list, not {shown(value)}{hint.get(kind(value), '')}")
    meter.charge(len(value))
    return value


def members(meter: Meter, value: Json, name: str) -> dict[str, Json]:
    """An object, one operation counted for each member."""
    if type(value) is not dict:
        raise Fault(f"`{name}` needs an object, not {shown(value)}")
    meter.charge(len(value))
    return value


def number(value: Json, name: str) -> int | float:
    """A number within the bounds."""
    if type(value) not in NUMBERS:
        hint = "; write `x | float` to read a number from text" if type(value) is str else ""
        raise Fault(f"`{name}` needs a number, not {shown(value)}{hint}")
    checked: int | float = in_range(value, f"an argument of `{name}`")
    return checked


def whole(value: Json, name: str, least: int = -MAX_INTEGER, most: int = MAX_INTEGER) -> int:
    """A whole number between two bounds."""
    if type(value) is not int or not least <= value <= most:
        bounds = "" if most == MAX_INTEGER else f" from {least:,} to {most:,}"
        raise Fault(f"`{name}` needs a whole number{bounds}, not {shown(value)}")
    return value


def key_of(value: Json, name: str) -> str:
    """The name of a member."""
    if type(value) is not str:
        raise Fault(f"`{name}` names a member by text, not by {shown(value)}")
    return value
