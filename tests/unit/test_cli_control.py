"""What the run-control verbs take from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import main
from orchestrator.cli.control import pins_of

Json = Any


def test_pins_are_json_or_files(tmp_path: Path) -> None:
    (tmp_path / "big.json").write_text(json.dumps({"n": [1]}))
    given = ["a=7", 'b[0]/c={"x": "y=z"}', "d=null", f"e=@{tmp_path / 'big.json'}"]
    assert pins_of(given) == {"a": 7, "b[0]/c": {"x": "y=z"}, "d": None, "e": {"n": [1]}}


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        (("retry", "r", "--pin", "a"), "write --pin step=JSON"),
        (("retry", "r", "--pin", "=1"), "write --pin step=JSON"),
        (("retry", "r", "--pin", "a=text"), "text needs quotes of its own"),
        (("rerun", "r", "--from", "s", "--pin", "a=@nowhere.json"), "--pin a cannot be read"),
        (("signal", "r", "go", "--data", "{"), "--data cannot be read as JSON"),
        (("rerun", "r"), "--from"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_told_before_anything_is_asked(
    arguments: tuple[str, ...], taught: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_TEMPORAL_PORT", "1")
    code = main(["runs", *arguments])
    said = capsys.readouterr()
    assert (code, taught in said.err) == (2, True), said.err
