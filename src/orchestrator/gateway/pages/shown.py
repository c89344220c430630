"""Data as pages show it: text with its links, and values of any shape. Everything is escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from orchestrator.spec.acts.human_task import fields_of

Json = Any

LONGEST = 20_000
"""Characters of one value that are shown."""
_LINK = re.compile(r"https?://[^\s<>\"'`{}|\\^\[\]]{1,2000}", re.IGNORECASE)
_BEHIND = ".,;:!?)*_~"
"""Signs that end a sentence rather than an address."""
_MOST_FACTS = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """A value: as ``text``, or as ``facts`` where it is a few names with simple values. ``cut`` is how many characters
    are left out."""

    text: str | None
    facts: list[tuple[str, str]]
    cut: int = 0


def shown(value: Json) -> Shown:
    """A JSON value for people."""
    if isinstance(value, Mapping) and 0 < len(value) <= _MOST_FACTS and all(_is_simple(one) for one in value.values()):
        return Shown(None, [(str(name), simple(one)) for name, one in value.items()])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return Shown(text[:LONGEST], [], max(0, len(text) - LONGEST))


def answered(data: Json, form: Json) -> Shown:
    """What was answered to a form, under the names that it asked with and in its order."""
    if not isinstance(data, Mapping):
        return shown(data)
    names = {name: schema.get("title") for name, schema in fields_of(form).items() if isinstance(schema, Mapping)}
    ordered = [name for name in names if name in data] + [name for name in data if name not in names]
    return shown({str(names.get(name) or name): data[name] for name in ordered})


def simple(value: Json) -> str:
    """A value on one line."""
    if isinstance(value, list) and value:
        return ", ".join(simple(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def linked(text: str) -> Markup:
    """The text, with addresses of the web as links. They say where they lead, and tell the other site nothing."""
    parts: list[Markup] = []
    at = 0
    for found in _LINK.finditer(text):
        address = found[0].rstrip(_BEHIND)
        if found[0][len(address) :].startswith(")") and address.count("(") > address.count(")"):
            address += ")"
        parts.append(escape(text[at : found.start()]))
        parts.append(Markup('<a href="{0}" rel="noopener noreferrer nofollow external">{0}</a>').format(address))
        at = found.start() + len(address)
    parts.append(escape(text[at:]))
    return Markup("").join(parts)


def _is_simple(value: Json) -> bool:
    parts = value if isinstance(value, list) else [value]
    return not any(isinstance(one, Mapping | list) for one in parts) and len(simple(value)) <= 2_000
