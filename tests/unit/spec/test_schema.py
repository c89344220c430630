"""The schemas editors use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.spec.loading import load_flow_file
from orchestrator.spec.project import load_project
from orchestrator.spec.reading import step_types
from orchestrator.spec.schema import flow_schema, project_schema
from orchestrator.spec.source import read_source

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted(path for path in (ROOT / "workflows").rglob("*.yaml") if not path.name.endswith(".test.yaml"))
FLOW = jsonschema.Draft202012Validator(flow_schema())


def test_both_schemas_are_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(flow_schema())
    jsonschema.Draft202012Validator.check_schema(project_schema())


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_flow_loads_runs_and_matches_the_schema(file: Path) -> None:
    loaded = load_flow_file(file, load_project(ROOT))
    assert loaded.unsupported == ()
    assert loaded.warnings == ()
    FLOW.validate(read_source(loaded.text, file.name).data)


def test_the_project_file_matches_its_schema() -> None:
    data = read_source((ROOT / "orchestrator.yaml").read_text(), "orchestrator.yaml").data
    jsonschema.Draft202012Validator(project_schema()).validate(data)


def matches(step: dict[str, Any]) -> bool:
    return bool(FLOW.is_valid({"id": "f", "steps": [step]}))


@pytest.mark.parametrize(
    "step",
    [
        {"type": "http", "config": {"url": "https://x.example", "expect": ["{{ inputs.s }}"], "headers": "{{ inputs.h }}"}},
        {"parallel": [{"id": "a", "type": "wait", "config": {"duration": 1}}]},
        {"parallel": {"branches": [{"steps": [{"type": "wait", "config": {"duration": "1m"}}]}], "wait_for": "any"}},
        {"type": "http", "config": {"url": "https://x.example"}, "timeout": {"attempt": "1m"}, "retry": "none", "on_error": "continue"},
    ],
)  # fmt: skip
def test_good_steps_match(step: dict[str, Any]) -> None:
    assert matches(step)


@pytest.mark.parametrize(
    "step",
    [
        {"type": "htpp", "config": {}},
        {"type": "http"},
        {"type": "http", "config": {"url": "https://x.example", "methd": "GET"}},
        {"type": "http", "config": {"url": "https://x.example"}, "retries": 3},
        {"type": "condition", "config": {"if": "true", "then": [{"type": "nothing"}]}},
        {"parallel": [{"id": "a", "type": "wait", "config": {"duratoin": 1}}]},
        {"type": "while", "config": {"steps": [], "max_iterations": "many"}},
        {"id": "a"},
    ],
)
def test_bad_steps_do_not_match(step: dict[str, Any]) -> None:
    assert not matches(step)


def test_every_step_type_has_its_own_config_for_completion() -> None:
    rules = flow_schema()["$defs"]["Step"]["allOf"]
    assert [rule["if"]["properties"]["type"]["const"] for rule in rules] == step_types()
    assert all("$ref" in rule["then"]["properties"]["config"] for rule in rules)


def test_editors_know_the_keys_of_agents_in_both_files() -> None:
    project = jsonschema.Draft202012Validator(project_schema())
    for agent, good in (({"system": "x", "tools": [{"mcp": "a"}]}, True), ({"sytem": "x"}, False)):
        agents = {"agents": {"a": agent}}
        assert project.is_valid(agents) is good
        assert FLOW.is_valid({"id": "f", "steps": [{"type": "wait", "config": {"duration": 1}}]} | agents) is good


def test_editors_know_the_keys_of_mcp_servers_in_both_files() -> None:
    project = jsonschema.Draft202012Validator(project_schema())
    good = {
        "a": {"command": "npx", "args": ["-y", "x"], "env": {"TOKEN": "{{ secrets.TOKEN }}"}, "timeout": "30s"},
        "b": {"url": "{{ secrets.URL }}", "auth": {"token_file": "tokens.json"}, "shared": False},
        "c": {"use": "github", "allow": None},
    }
    steps = [{"type": "mcp", "config": {"server": "a", "tool": "t", "elicit": {"assignee": "kim"}}}]
    assert project.is_valid({"mcp": good})
    assert FLOW.is_valid({"id": "f", "mcp": good, "steps": steps})
    for bad in ({"comand": "npx"}, {"command": ["npx"]}, {"url": "https://x.example", "transport": "ws"}):
        assert not project.is_valid({"mcp": {"a": bad}})
        assert not FLOW.is_valid({"id": "f", "mcp": {"a": bad}, "steps": steps})
