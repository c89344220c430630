"""``orchestrator mcp catalogue``: what it lists, and that what it prints can be pasted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from orchestrator.catalogue import KINDS, ready_entries
from orchestrator.cli.console import BAD_INPUT
from orchestrator.cli.main import main
from orchestrator.spec.project import load_project

FLAGS = {"mcp": [], "services": ["--services"]}


@pytest.mark.parametrize("kind", KINDS)
def test_it_lists_every_entry_with_the_secrets_it_needs(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "catalogue", *FLAGS[kind]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(ready_entries(kind))
    [github] = [line for line in lines if line.startswith("github ")]
    assert "development" in github
    assert "GITHUB_TOKEN" in github


def test_a_category_narrows_the_list_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "catalogue", "--category", "crm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {entry["category"] for entry in found} == {"crm"}
    assert "stripe" in [entry["name"] for entry in found]
    assert main(["mcp", "catalogue", "--category", "sales"]) == BAD_INPUT
    assert "there is no category 'sales'; there: communication, data, ai" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in ready_entries(kind)])
def test_what_is_shown_of_one_entry_can_be_pasted_into_a_project(
    kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mcp", "catalogue", name, *FLAGS[kind]]) == 0
    shown = capsys.readouterr().out
    pasted = yaml.safe_load(shown)
    assert pasted[kind][name]["use"] == name
    for need in ready_entries(kind)[name].secrets:
        assert f"# set ORCHESTRATOR_SECRET_{need.name}: {need.about}" in shown
    filled = shown.replace('""', "https://site.test")
    (tmp_path / "orchestrator.yaml").write_text(filled, encoding="utf-8")
    assert name in getattr(load_project(tmp_path), kind)


def test_one_entry_as_json_holds_all_there_is_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "catalogue", "memory", "--json"]) == 0
    memory = json.loads(capsys.readouterr().out)
    assert memory["package"].startswith("npm:@modelcontextprotocol/server-memory@")
    assert memory["entry"]["command"] == "npx"


def test_an_unknown_entry_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mcp", "catalogue", "githb"]) == BAD_INPUT
    assert "no ready entry 'githb' for mcp; did you mean 'github'" in capsys.readouterr().err
