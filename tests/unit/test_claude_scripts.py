"""Scripts that a project brings for the stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.testing.claude_scripts import project_script

GOOD = 'from orchestrator.testing import Reply, When\nSCRIPT = [When("{word}", Reply.text("{word}")), Reply.text("next")]\n'


def put(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "stand_in.py").write_text(text, encoding="utf-8")


def test_the_scripts_of_all_folders_count_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b", "a/deep"):
        put(tmp_path / name, GOOD.replace("{word}", name))
    assert [getattr(entry, "match", None) for entry in project_script(tmp_path)] == ["a/deep", None, "b", None]


def test_a_project_without_scripts_has_none(tmp_path: Path) -> None:
    assert project_script(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SCRIPT = [1]", "a list of Reply"),
        ("", "must define SCRIPT"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("SCRIPT = [", "SyntaxError"),
    ],
)
def test_a_script_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, text: str, why: str) -> None:
    put(tmp_path / "here", text)
    with pytest.raises(ValueError, match=why) as refused:
        project_script(tmp_path)
    assert "here/stand_in.py" in str(refused.value)
