"""The models flows name: aliases of the project, ids that are known, ids that are being retired."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, NamedTuple

from orchestrator.spec.findings import Findings, is_template
from orchestrator.spec.flow import Flow
from orchestrator.spec.reading import Placed
from orchestrator.spec.source import Path

Json = Any

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
    "claude-3-opus": Retirement("2026-01-05", _OPUS),
    "claude-3-7-sonnet": Retirement("2026-02-19", _SONNET),
    "claude-3-5-haiku": Retirement("2026-02-19", _HAIKU),
    "claude-opus-4-0": Retirement("2026-06-15", _OPUS),
    "claude-opus-4": Retirement("2026-06-15", _OPUS),
    "claude-sonnet-4-0": Retirement("2026-06-15", _SONNET),
    "claude-sonnet-4": Retirement("2026-06-15", _SONNET),
    "claude-mythos-preview": Retirement("2026-06-30", "claude-mythos-5-1"),
    "claude-sonnet-4-5": Retirement("2026-11-30", _SONNET),
}
"""By id without its date: ``claude-3-opus`` stands for ``claude-3-opus-20240229`` too."""

_ALWAYS_THINKING = ("claude-opus-5-5", "claude-fable-5-1")
_MODEL_STEPS = ("claude", "agent")


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


def advice_on(model: str) -> str | None:
    """What to do about an id that the API does not know, or will not know for long; None for a living one."""
    retirement = retirement_of(model)
    if retirement is not None:
        return f"use `{retirement.use}`"
    if _DATED.sub("", model) in MODELS:
        return None
    close = difflib.get_close_matches(model, MODELS, 2, 0.75)
    return f"did you mean {' or '.join(f'`{name}`' for name in close)}?" if close else None


def check_aliases(aliases: Mapping[str, str], findings: Findings) -> None:
    """Report aliases of orchestrator.yaml that go round in circles."""
    for alias in aliases:
        if resolve_alias(alias, aliases) in aliases:
            findings.error(("models", alias), f"the alias `{alias}` never reaches a model", "let it name a model id")


def check_models(
    steps: list[Placed], flow: Flow, aliases: Mapping[str, str], priced: Container[str], findings: Findings
) -> None:
    """Warn about models that are being retired, that nobody knows (a project that gives one a price knows it), or that
    refuse a setting beside them. It is no error: models come and go without us, and flows have to go on loading."""
    for path, name, setting in _named(steps, flow):
        model = resolve_alias(name, aliases)
        called = f"`{name}`" if model == name else f"`{name}` stands for `{model}`, which"
        retirement = retirement_of(model)
        if retirement is not None:
            hint = f"use `{retirement.use}`, or give `{name}` a living model under `models` in orchestrator.yaml"
            findings.warn(path, f"{called} has a date of retirement: {retirement.on}", hint)
        elif _DATED.sub("", model) not in MODELS and model not in priced:
            hint = advice_on(model) or "if it is right, give it a price under `prices` in orchestrator.yaml"
            findings.warn(path, f"{called} is no model this release knows", hint)
        elif setting == "disabled" and model in _ALWAYS_THINKING:
            findings.warn(path, f"{called} always thinks: the API refuses `thinking: disabled`", "leave it out")


def _named(steps: list[Placed], flow: Flow) -> Iterator[tuple[Path, str, Json]]:
    """Every model a flow names in so many words: where, its name, and the ``thinking`` beside it."""
    for step in steps:
        for placed in step.walk():
            if placed.type in _MODEL_STEPS:
                paths = placed.config_paths
                yield from _one(placed.config, paths.get("model", placed.path))
                fallbacks = placed.config.get("fallback_models")
                for index, name in enumerate(fallbacks if isinstance(fallbacks, list) else ()):
                    yield from _one({**placed.config, "model": name}, (*paths["fallback_models"], index))
    for agent, declared in flow.agents.items():
        if isinstance(declared, dict):
            yield from _one(declared, ("agents", agent, "model"))


def _one(config: Mapping[str, Json], path: Path) -> Iterator[tuple[Path, str, Json]]:
    name = config.get("model")
    if isinstance(name, str) and name and not is_template(name):
        yield path, name, config.get("thinking")
