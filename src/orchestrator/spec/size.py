"""Amounts of bytes as authors write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def parse_size(value: Any) -> int:
    """Bytes of ``10MB``, ``512KB``, ``1MiB`` or a whole number. Raises ValueError with the accepted forms."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = int(float(match[1]) * _UNITS[(match[2] or "B").lower()])
        if size > 0:
            return size
    raise ValueError(f"{value!r} is not a size; write for example 10MB, 512KB, 1MiB or a number of bytes")


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}],
            "description": "10MB, 512KB or bytes",
        }
    ),
]
"""An amount of data; in memory always bytes."""
