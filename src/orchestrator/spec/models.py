"""Models: ids that are known, ids that are being retired, aliases for them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import NamedTuple

from orchestrator.spec.findings import Findings

DEFAULT_MODEL = "claude-sonnet-5-5"
_DATED = re.compile(r"-(\d{8}|latest)$")

MODELS = (
    "claude-fable-5-2", "claude-fable-5-1", "claude-fable-5",
    "claude-mythos-5-2", "claude-mythos-5-1", "claude-mythos-5",
    "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5",
    "claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6",
    "claude-haiku-5-5", "claude-haiku-4-5",
)  # fmt: skip
"""Ids that the API served when this release was made, and that had no date of retirement."""


class Retirement(NamedTuple):
    """When a model goes or went away, and what to use then."""

    on: str
    use: str


_OPUS, _SONNET, _HAIKU = "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"

RETIREMENTS: Mapping[str, Retirement] = {
    "claude-1.3": Retirement("2024-11-06", _SONNET),
    "claude-1.3-100k": Retirement("2024-11-06", _SONNET),
    "claude-instant-1.1": Retirement("2024-11-06", _HAIKU),
    "claude-instant-1.1-100k": Retirement("2024-11-06", _HAIKU),
    "claude-instant-1.2": Retirement("2024-11-06", _HAIKU),
    "claude-2.0": Retirement("2025-07-21", _SONNET),
    "claude-2.1": Retirement("2025-07-21", _SONNET),
    "claude-3-sonnet": Retirement("2025-07-21", _SONNET),
    "claude-3-5-sonnet": Retirement("2025-10-28", _SONNET),
    "claude-3-opus": Retirement("2026-01-05", _OPUS),
    "claude-3-7-sonnet": Retirement("2026-02-19", _SONNET),
    "claude-3-5-haiku": Retirement("2026-02-19", _HAIKU),
    "claude-3-haiku": Retirement("2026-04-20", _HAIKU),
    "claude-opus-4-0": Retirement("2026-06-15", _OPUS),
    "claude-opus-4": Retirement("2026-06-15", _OPUS),
    "claude-sonnet-4-0": Retirement("2026-06-15", _SONNET),
    "claude-sonnet-4": Retirement("2026-06-15", _SONNET),
    "claude-opus-4-1": Retirement("2026-08-05", _OPUS),
    "claude-mythos-preview": Retirement("2026-06-30", "claude-mythos-5-1"),
    "claude-sonnet-4-5": Retirement("2026-11-30", _SONNET),
}
"""By id without its date: ``claude-3-opus`` stands for ``claude-3-opus-20240229`` too."""

ALWAYS_THINKING = ("claude-opus-5-5", "claude-fable-5-1")
"""Models whose thinking cannot be switched off."""


def resolve_alias(name: str | None, aliases: Mapping[str, str]) -> str:
    """The id that a name stands for; None is the alias ``default``. Aliases may stand for aliases."""
    if name is None:
        return resolve_alias("default", aliases) if "default" in aliases else DEFAULT_MODEL
    for _ in aliases:
        if name not in aliases:
            break
        name = aliases[name]
    return name


def retirement_of(model: str) -> Retirement | None:
    """When a model goes away; None where no date is known."""
    return RETIREMENTS.get(model) or RETIREMENTS.get(_DATED.sub("", model))


def is_known(model: str) -> bool:
    """Whether the API served this id when this release was made."""
    return _DATED.sub("", model) in MODELS


def advice_on(model: str) -> str | None:
    """What to do about an id that the API does not know, or will not know for long; None for a living one."""
    retirement = retirement_of(model)
    if retirement is not None:
        return f"use `{retirement.use}`"
    if is_known(model):
        return None
    close = difflib.get_close_matches(model, MODELS, 2, 0.75)
    return f"did you mean {' or '.join(f'`{name}`' for name in close)}?" if close else None


def check_aliases(aliases: Mapping[str, str], findings: Findings) -> None:
    """Report aliases of orchestrator.yaml that go round in circles."""
    for alias in aliases:
        if resolve_alias(alias, aliases) in aliases:
            findings.error(("models", alias), f"the alias `{alias}` never reaches a model", "let it name a model id")
