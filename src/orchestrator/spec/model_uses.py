"""The models that a flow names, looked at when it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.spec.findings import Findings, is_template
from orchestrator.spec.flow import Flow
from orchestrator.spec.models import ALWAYS_THINKING, advice_on, is_known, resolve_alias, retirement_of
from orchestrator.spec.project import Project
from orchestrator.spec.reading import Placed
from orchestrator.spec.source import Path

Json = Any

_MODEL_STEPS = ("claude", "agent")


def check_models(steps: list[Placed], flow: Flow, project: Project, findings: Findings) -> None:
    """Warn about models that are being retired, that nobody knows (a project that gives one a price knows it), or that
    refuse a setting beside them. It is no error: models come and go without us, and flows have to go on loading."""
    for path, name, thinking in _named(steps, flow, project):
        model = resolve_alias(name, project.models)
        called = f"`{name}`" if model == name else f"`{name}` stands for `{model}`, which"
        retirement = retirement_of(model)
        if retirement is not None:
            hint = f"use `{retirement.use}`, or give `{name}` a living model under `models` in orchestrator.yaml"
            findings.warn(path, f"{called} retires on {retirement.on}", hint)
        elif not is_known(model) and model not in project.prices:
            hint = advice_on(model) or "if it is right, give it a price under `prices` in orchestrator.yaml"
            findings.warn(path, f"{called} is no model this release knows", hint)
        elif thinking in ("disabled", {"type": "disabled"}) and model in ALWAYS_THINKING:
            findings.warn(path, f"{called} always thinks: the API refuses `thinking: disabled`", "leave it out")


def _named(steps: list[Placed], flow: Flow, project: Project) -> Iterator[tuple[Path, str, Json]]:
    """Every model a flow names in so many words, itself or by an agent of the project: where, its name, and the
    ``thinking`` beside it."""
    for agent, declared in flow.agents.items():
        yield from _one(declared, ("agents", agent, "model"))
    elsewhere = {agent: declared for agent, declared in project.agents.items() if agent not in flow.agents}
    for step in steps:
        for placed in step.walk():
            if placed.type in _MODEL_STEPS:
                paths = placed.config_paths
                yield from _one(placed.config, paths.get("model", placed.path))
                yield from _one(elsewhere.get(str(placed.config.get("agent"))), paths.get("agent", placed.path))
                fallbacks = placed.config.get("fallback_models")
                for index, name in enumerate(fallbacks if isinstance(fallbacks, list) else ()):
                    yield from _one({**placed.config, "model": name}, (*paths["fallback_models"], index))


def _one(config: Json, path: Path) -> Iterator[tuple[Path, str, Json]]:
    name = config.get("model") if isinstance(config, Mapping) else None
    if isinstance(name, str) and name and not is_template(name):
        assert isinstance(config, Mapping)
        yield path, name, config.get("thinking")
