"""Two JSON values: what is different, and where."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Json = Any
_SHOWN = 120


def exact(wanted: Json, got: Json, path: str = "") -> Iterator[str]:
    """Every place where they are not the same."""
    yield from _compared(wanted, got, path, whole=True)


def having(wanted: Json, got: Json, path: str = "") -> Iterator[str]:
    """Every place where ``got`` lacks what ``wanted`` has: it may have members besides; lists are compared exactly,
    their objects by the members that are named."""
    yield from _compared(wanted, got, path, whole=False)


def _compared(wanted: Json, got: Json, path: str, *, whole: bool) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(got, dict):
        for name, value in wanted.items():
            inner = f"{path}.{name}" if path else str(name)
            if name in got:
                yield from _compared(value, got[name], inner, whole=whole)
            else:
                yield f"{inner} is missing, expected {_shown(value)}"
        if whole:
            yield from (
                f"{f'{path}.{name}' if path else name} is {_shown(got[name])}, expected is no such member"
                for name in got
                if name not in wanted
            )
    elif isinstance(wanted, list) and isinstance(got, list):
        for number, (one, other) in enumerate(zip(wanted, got, strict=False)):
            yield from _compared(one, other, f"{path}[{number}]", whole=whole)
        if len(wanted) != len(got):
            yield f"{path or 'the list'} has {len(got)} items, expected {len(wanted)}"
    elif not _same(wanted, got):
        at = f"{path} is " if path else "it is "
        yield f"{at}{_shown(got)}, expected {_shown(wanted)}"


def _same(wanted: Json, got: Json) -> bool:
    # 1 and true are equal in Python, and not in JSON.
    return (type(wanted) is type(got) and wanted == got) or (_number(wanted) and _number(got) and wanted == got)


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
