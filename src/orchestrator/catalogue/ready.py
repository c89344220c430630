"""The ready entries: what ``mcp.yaml`` and ``services.yaml`` beside this file hold, and how an author's entry takes one
over."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from orchestrator.errors import OrchestratorError

Json = Any

KINDS = ("mcp", "services")
"""Sections of ``orchestrator.yaml`` that have ready entries."""
CATEGORIES = ("communication", "data", "ai", "crm", "development", "analytics")

_MERGED = ("env", "headers", "methods")
"""Keys whose members the author's entry adds to or replaces one by one; any other key it replaces whole."""
_COMMAND_KEYS = ("command", "args", "env", "cwd")
_URL_KEYS = ("url", "headers", "auth", "transport")


class ReadyEntryUnusable(OrchestratorError):
    """``use`` names no ready entry, or the author's entry leaves out what the ready one cannot know."""

    code = "invalid_config"


@dataclass(frozen=True, slots=True)
class Need:
    """Something only the author knows: a secret by its name, or a member of the entry such as ``env.GRAFANA_URL``."""

    name: str
    about: str
    """What it is and where to get it."""


@dataclass(frozen=True, slots=True)
class ReadyEntry:
    """One well-known server or API. ``entry`` is what ``orchestrator.yaml`` would hold, its secrets as templates."""

    kind: str
    name: str
    title: str
    category: str
    about: str
    docs: str
    """Where its makers describe it."""
    entry: Mapping[str, Json]
    package: str | None = None
    """``npm:name@version`` or ``pypi:name==version`` that was installed and called; None for what is reached by URL or
    is part of Orchestrator."""
    secrets: tuple[Need, ...] = ()
    needs: tuple[Need, ...] = ()
    notes: str | None = None


def ready_entries(kind: str) -> Mapping[str, ReadyEntry]:
    """All ready entries of a kind by name, in the order of the file."""
    return _loaded(kind)


def ready_entry(kind: str, name: str) -> ReadyEntry:
    """The ready entry ``name``. Raises ReadyEntryUnusable naming the nearest ones."""
    known = _loaded(kind)
    if name not in known:
        near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {' or '.join(repr(other) for other in near)}?" if near else f"there: {', '.join(known)}"
        raise ReadyEntryUnusable(f"the catalogue has no ready entry '{name}' for {kind}; {hint}")
    return known[name]


def with_ready_entry(kind: str, given: Json) -> Json:
    """The author's entry with the ready one that it names under ``use`` filled in; an entry without ``use`` is returned
    as it is. What the author writes wins: ``env``, ``headers`` and ``methods`` member by member, other keys whole; null
    takes something out. Raises ReadyEntryUnusable where the name is unknown or something is missing."""
    if kind not in KINDS or not isinstance(given, Mapping) or "use" not in given:
        return given
    name = given["use"]
    if not isinstance(name, str):
        raise ReadyEntryUnusable("'use' is the name of a ready entry of the catalogue")
    ready = ready_entry(kind, name)
    own = {key: value for key, value in given.items() if key != "use"}
    merged = _merged(_kept(ready.entry, own), own)
    # What a command needs, a URL in its place does not.
    asked = (need for need in ready.needs if "url" not in merged or need.name.partition(".")[0] not in _COMMAND_KEYS)
    missing = [need for need in asked if _member(merged, need.name) in (None, "")]
    if missing:
        listed = "; ".join(f"{need.name}: {need.about}" for need in missing)
        raise ReadyEntryUnusable(f"an entry with `use: {name}` must give {listed}")
    return merged


def where_to_get(kind: str, given: Json, secret: str) -> str | None:
    """Where the secret of an entry comes from, if the entry uses a ready one that says so."""
    name = given.get("use") if isinstance(given, Mapping) else None
    if kind not in KINDS or not isinstance(name, str) or name not in _loaded(kind):
        return None
    return next((need.about for need in _loaded(kind)[name].secrets if need.name == secret), None)


def _kept(base: Mapping[str, Json], own: Mapping[str, Json]) -> dict[str, Json]:
    """The ready entry without what belongs to a way of reaching the server that the author replaces."""
    dropped: tuple[str, ...] = ()
    if own.get("command") is not None:
        dropped = (*_URL_KEYS, "args")
    elif own.get("url") is not None and "command" in base:
        dropped = _COMMAND_KEYS
    kept = {key: copy.deepcopy(value) for key, value in base.items() if key not in dropped}
    if own.get("auth") is not None and "headers" in kept:
        # One way to sign in replaces the other.
        kept["headers"] = {name: value for name, value in kept["headers"].items() if name != "Authorization"}
    return kept


def _merged(base: dict[str, Json], own: Mapping[str, Json]) -> dict[str, Json]:
    for key, value in own.items():
        if key in _MERGED and isinstance(value, Mapping):
            base[key] = _without_null({**base.get(key, {}), **value})
        else:
            base[key] = value
    return _without_null(base)


def _without_null(members: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in members.items() if value is not None}


def _member(entry: Mapping[str, Json], path: str) -> Json:
    found: Json = entry
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


@cache
def _loaded(kind: str) -> dict[str, ReadyEntry]:
    text = files("orchestrator.catalogue").joinpath(f"{kind}.yaml").read_text(encoding="utf-8")
    return {name: _read(kind, name, card) for name, card in yaml.safe_load(text).items()}


def _read(kind: str, name: str, card: dict[str, Json]) -> ReadyEntry:
    entry = dict(card.pop("entry"))
    secrets, needs = _needs(card.pop("secrets", {})), _needs(card.pop("needs", {}))
    return ReadyEntry(kind=kind, name=name, entry=entry, secrets=secrets, needs=needs, **card)


def _needs(given: dict[str, str]) -> tuple[Need, ...]:
    return tuple(Need(name, about) for name, about in given.items())
