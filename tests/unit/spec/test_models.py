"""Models that flows name, aliases and prices of orchestrator.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic.resources.messages.messages as sdk
import pytest
from anthropic.types.model import Model

from orchestrator.errors import FlowInvalid
from orchestrator.spec.loading import load_flow
from orchestrator.spec.models import MODELS, RETIREMENTS, resolve_alias, retirement_of
from orchestrator.spec.prices import shipped_prices
from orchestrator.spec.project import Project, load_project


def warnings_of(flow: str, **project: Any) -> list[str]:
    return [str(warning) for warning in load_flow(flow, "f.yaml", Project.model_validate(project)).warnings]


def asking(config: str) -> str:
    return f"id: f\nsteps:\n  - id: a\n    type: claude\n    config: {{prompt: Hi, {config}}}\n"


@pytest.mark.parametrize(
    "config",
    [
        "model: claude-sonnet-5-5",
        "model: claude-haiku-4-5-20251001",
        "model: '{{ env.MODEL }}'",
        "max_tokens: 1",
        "model: claude-sonnet-5-5, thinking: disabled",
        "fallback_models: [claude-opus-5-5]",
    ],
)
def test_a_living_model_gets_no_warning(config: str) -> None:
    assert warnings_of("env: {MODEL: x}\n" + asking(config)) == []


@pytest.mark.parametrize(
    ("config", "column", "said"),
    [
        ("model: claude-sonnet-4-5", 33, "`claude-sonnet-4-5` retires on 2026-11-30 (use `claude-son"),
        ("model: claude-3-opus-20240229", 33, "retires on 2026-01-05 (use `claude-opus-5-5`, or give"),
        ("model: claude-opus-4-1-20250805", 33, "retires on 2026-08-05 (use `claude-opus-5-5`"),
        ("model: claude-3-7-sonnet-latest", 33, "retires on 2026-02-19 (use `claude-sonnet-5-5`"),
        ("model: claude-sonet-5-5", 33, "`claude-sonet-5-5` is no model this release knows (did you mean `claude-so"),
        ("model: gpt-9", 33, "`gpt-9` is no model this release knows (if it is right, give it a price under `prices`"),
        ("fallback_models: [claude-opus-5-5, claude-2.1]", 61, "`claude-2.1` retires on"),
        ("model: claude-opus-5-5, thinking: disabled", 33, "`claude-opus-5-5` always thinks"),
        ("model: claude-opus-5-5, thinking: {type: disabled}", 33, "`claude-opus-5-5` always thinks"),
    ],
)
def test_a_model_that_goes_or_that_nobody_knows_is_warned_of_at_its_place(config: str, column: int, said: str) -> None:
    [warning] = warnings_of(asking(config))
    assert warning.startswith(f"f.yaml:5:{column}: ")
    assert said in warning


def test_agents_are_looked_at_too() -> None:
    flow = """
id: f
agents:
  scout: {model: claude-opus-4-0}
steps:
  - {id: a, type: agent, config: {model: claude-sonnet-4, goal: Find it}}
  - {id: b, type: agent, config: {agent: old, goal: Find it}}
  - {id: c, type: agent, config: {agent: scout, goal: Find it}}
"""
    first, second, third = warnings_of(flow, agents={"old": {"model": "claude-2.1"}, "scout": {"model": "x"}})
    assert first.startswith("f.yaml:4:18: `claude-opus-4-0`")
    assert second.startswith("f.yaml:6:42: `claude-sonnet-4`")
    assert third.startswith("f.yaml:7:42: `claude-2.1`"), "declared in orchestrator.yaml, used here"


def test_an_alias_or_a_price_of_the_project_makes_a_model_known() -> None:
    old = asking("model: claude-2.1, fallback_models: [fast, house-model]")
    models = {"claude-2.1": "fast", "fast": "claude-haiku-5-5"}
    assert warnings_of(old, models=models, prices={"house-model": {"input": 1, "output": 1}}) == []
    [warning] = warnings_of(asking("model: fast"), models={"fast": "claude-2.0"})
    assert "`fast` stands for `claude-2.0`, which retires on" in warning


def test_aliases_may_stand_for_aliases() -> None:
    aliases = {"default": "fast", "fast": "claude-haiku-5-5"}
    assert [resolve_alias(name, aliases) for name in (None, "fast", "x")] == [*["claude-haiku-5-5"] * 2, "x"]
    assert resolve_alias(None, {}) == "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: {a: b, b: a}", "orchestrator.yaml:1:13: the alias `a` never reaches a model"),
        ("models:\n  fast: 5", "orchestrator.yaml:2:9: `fast` must be text"),
        ("prices:\n  claude-sonnet-5-5: {inptu: 1}", "orchestrator.yaml:2:23: unknown key `inptu`"),
        ("prices:\n  claude-sonnet-5-5: {input: -1}", "orchestrator.yaml:2:30: `input`: must be at least 0"),
        ("prices:\n  claude-sonet-5-5: {input: 1}", "orchestrator.yaml:2:21: the price of `claude-sonet-5-5` needs "),
        ("prices:\n  claude-sonet-5-5: {input: 1}", "did you mean `claude-sonnet-5-5`?"),
        ("prices:\n  m: cheap", "orchestrator.yaml:2:6: `m` must be a mapping or a list"),
        ("prices:\n  m: {input: 1, output: 1, up_to: 5}", "orchestrator.yaml:2:28: `up_to` belongs in a list"),
        ("prices:\n  m: [{input: 1, output: 1}, {input: 1, output: 1}]", ":2:7: only the last price of a list"),
        ("prices:\n  m: [{input: 1, output: 1, up_to: 9}, {input: 1, output: 1, up_to: 8}]", "rising order"),
        ("prices:\n  m: [{input: 1}]", "orchestrator.yaml:2:7: the price of `m` needs `output`"),
        ("prices:\n  m: []", "orchestrator.yaml:2:6: the list has no price"),
    ],
)
def test_what_the_project_says_wrong_about_models_and_prices_is_found_at_load(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "orchestrator.yaml").write_text(text + "\n")
    with pytest.raises(FlowInvalid) as caught:
        load_project(tmp_path)
    assert said in str(caught.value)


def test_prices_of_a_project_may_name_single_keys(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text("prices: {claude-sonnet-5-5: {cache_read: 0.1}}\n")
    assert set(load_project(tmp_path).prices) == {"claude-sonnet-5-5"}


def test_every_model_the_sdk_names_is_known_or_has_its_date() -> None:
    named = [str(name) for part in Model.__args__ for name in getattr(part, "__args__", ())]  # type: ignore[attr-defined]
    assert named
    for name in named:
        assert retirement_of(name) or name in MODELS or name.rpartition("-")[0] in MODELS, name
    for name in sdk.DEPRECATED_MODELS:
        assert retirement_of(name), name


def test_what_is_advised_is_a_model_that_lives() -> None:
    assert all(retirement.use in MODELS for retirement in RETIREMENTS.values())
    assert not set(RETIREMENTS) & set(MODELS)


def test_no_shipped_price_is_of_a_model_nobody_knows() -> None:
    assert set(shipped_prices()) <= set(MODELS)
