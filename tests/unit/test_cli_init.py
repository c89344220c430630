"""``orchestrator init``: a new project without any server."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from orchestrator.cli import main
from orchestrator.cli.init import PARTS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without settings of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("ORCHESTRATOR_PROJECT_DIR", "ORCHESTRATOR_STORE_URL", "ORCHESTRATOR_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_a_new_project_is_valid_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "shop"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"shop/{name}" for name in PARTS]
    assert "cd shop" in said.err and "orchestrator test" in said.err
    assert main(["-C", "shop", "validate"]) == 0
    said = capsys.readouterr()
    assert "flow expense 1.0.0" in said.out
    assert said.err == "", "not even a warning"


def test_without_a_folder_the_project_is_made_where_one_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init"]) == 0
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        PARTS
    )
    assert "cd " not in capsys.readouterr().err


def test_nothing_is_overwritten_and_nothing_is_written_beside_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    (tmp_path / "workflows" / "expense.yaml").symlink_to(tmp_path / "nowhere.yaml")
    assert main(["init"]) == 2
    error = capsys.readouterr().err
    assert "workflows/expense.yaml, README.md" in error and "nothing was written" in error
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "orchestrator.yaml").exists() and not (tmp_path / "nowhere.yaml").exists()


def test_a_folder_that_is_a_file_is_said_to_be_unusable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop").write_text("", encoding="utf-8")
    assert main(["init", "shop"]) == 2
    assert "shop cannot become a project" in capsys.readouterr().err


def test_every_part_is_in_the_package_and_every_part_of_the_package_is_written() -> None:
    folder = files("orchestrator.cli") / "new_project"
    assert all(folder.joinpath(template).is_file() for template in PARTS.values())
    root = Path(str(folder))
    packaged = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sorted(path.relative_to(root).as_posix() for path in packaged) == sorted(PARTS.values())
