"""What every model of the flow format shares: strictness, durations, the register of act types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LONGEST = 36_500 * 86400.0
"""Seconds. What is timed by Temporal overflows beyond 292 years."""
_SUM = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_ISO = re.compile(r"P(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?")


def parse_duration(value: Any) -> float:
    """Seconds of a duration as FLOW_FORMAT §1 writes it: ``500ms 30s 5m 24h 7d 2w``, sums, ISO, or a number.

    Raises ValueError with the accepted forms; months and years have no fixed length and are refused.
    """
    seconds = _seconds(value)
    if seconds > LONGEST:
        raise ValueError(f"{value!r} is too long: a duration is at most 36500d, a hundred years")
    return seconds


def _seconds(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("a duration is text such as 30s, not true or false")
    if isinstance(value, int | float):
        if value < 0 or value != value or value == float("inf"):
            raise ValueError("a duration is a finite number of seconds, zero or more")
        return float(value)
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            return float(text)
        if _SUM.fullmatch(text):
            return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        iso = _ISO.fullmatch(text)
        if iso and any(iso.groupdict().values()):
            return sum(float(number) * _UNITS[unit] for unit, number in iso.groupdict().items() if number)
    forms = "500ms, 30s, 5m, 24h, 7d, 1h30m, PT24H or seconds"
    raise ValueError(f"{value!r} is not a duration; write for example {forms}")


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}],
            "description": "30s, 5m, 24h, PT24H or seconds",
        }
    ),
]
"""A length of time; in memory always seconds as float."""


class Spec(BaseModel):
    """Base of every model of the flow format: unknown keys refused, types strict, instances immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class ActConfig(Spec):
    """Config of a step type that is one activity. At load, a value that is a template stands for any type; when the
    step runs, the rendered config is validated by the same model without that exception."""

    template_free: ClassVar[frozenset[str]] = frozenset()
    """Top-level keys that must not be templates."""


_Config = TypeVar("_Config", bound=type[ActConfig])

ACTS: dict[str, type[ActConfig]] = {}
"""Act step types by name. A module in ``spec/acts`` adds its own with ``@act("http")``."""


def act(name: str) -> Callable[[_Config], _Config]:
    """Register a config model under the ``type`` authors write."""

    def register(config: _Config) -> _Config:
        ACTS[name] = config
        return config

    return register
