"""orchestrator.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import FlowInvalid
from orchestrator.spec.project import Project, load_project


def test_without_a_file_the_project_is_empty(tmp_path: Path) -> None:
    assert load_project(tmp_path) == Project(root=tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing yet\n\n", "~\n"])
def test_an_empty_file_is_an_empty_project(tmp_path: Path, text: str) -> None:
    (tmp_path / "orchestrator.yaml").write_text(text)
    assert load_project(tmp_path) == Project(root=tmp_path)


def test_entries_stay_as_written(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text(
        "services: {crm: {base_url: 'https://x', auth: {bearer: '{{ secrets.CRM }}'}}}\nenv: {ZONE: UTC}\nmodels:\n"
    )
    project = load_project(tmp_path)
    assert project.services == {"crm": {"base_url": "https://x", "auth": {"bearer": "{{ secrets.CRM }}"}}}
    assert project.env == {"ZONE": "UTC"}
    assert project.models == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "servces: {}\n",
            "orchestrator.yaml:1:1: unknown key `servces` in orchestrator.yaml (did you mean `services`?)",
        ),
        ("root: /x\n", "orchestrator.yaml:1:1: unknown key `root`"),
        ("services: [a]\n", "orchestrator.yaml:1:11: `services` must be a mapping, got a list"),
        ("env: {A: [1]}\n", "orchestrator.yaml:1:10: `A` must be text or"),
        ("- a\n", "orchestrator.yaml:1:1: orchestrator.yaml must be a mapping, got a list"),
        ("a: [\n", "orchestrator.yaml:"),
    ],
)
def test_problems_name_place_and_cure(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "orchestrator.yaml").write_text(text)
    with pytest.raises(FlowInvalid) as caught:
        load_project(tmp_path)
    assert said in str(caught.value)
