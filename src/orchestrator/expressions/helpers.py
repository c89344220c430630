"""The table of helpers: what can be called as ``x | name(…)`` or ``name(x, …)``. ``library/`` fills it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper. ``function`` takes the meter and then the arguments; the first is the piped value."""

    name: str
    usage: str
    """How it is written, such as ``list | join(separator)``."""
    doc: str
    """One line for the reference."""
    least: int
    most: int
    function: Callable[..., Any]

    @property
    def takes_input(self) -> bool:
        """Whether it can stand behind ``|``."""
        return " | " in self.usage


HELPERS: dict[str, Helper] = {}
"""Every helper by name; the reference documentation is generated from this table."""


def helper(usage: str, least: int, most: int | None = None) -> Callable[[_Function], _Function]:
    """Register a function under the name in its usage, with the number of arguments it takes, input
    included."""
    name = usage.rpartition(" | ")[2].partition("(")[0]

    def register(function: _Function) -> _Function:
        doc = " ".join((function.__doc__ or "").split())
        HELPERS[name] = Helper(name, usage, doc, least, least if most is None else most, function)
        return function

    return register


KINDS: dict[str, str] = {
    "none": "is none",
    "text": "is text",
    "string": "is text",
    "number": "is a number",
    "boolean": "is true or false",
    "list": "is a list",
    "object": "is an object",
}
"""What may stand after ``is`` and ``is not`` besides ``defined``."""


@helper("x | default(y, also_empty)", 2, 3)
def default(meter: Any, value: Any, fallback: Any, also_empty: bool = False) -> Any:
    """y where x or any member on the way to it is missing; with true as second argument also where x is
    none, '', [] or {}."""
    raise NotImplementedError("evaluated lazily by the evaluator")  # pragma: no cover
