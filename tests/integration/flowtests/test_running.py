"""``orchestrator test``: which files it finds, what it prints and writes, how it exits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orchestrator.cli.main import main
from orchestrator.errors import FlowInvalid
from orchestrator.flowtests.runner import find_test_files, run_files
from orchestrator.settings import Settings

FLOW = """
id: {id}
inputs: {{n: integer}}
steps:
  - {{id: ask, type: http, config: {{url: "https://a.example"}}}}
  - id: large
    type: condition
    config:
      if: inputs.n > 5
      then: [{{id: tell, type: http, config: {{url: "https://b.example"}}}}]
output: {{n: "{{{{ steps.ask.output }}}}"}}
"""
TESTS = """
defaults: {mocks: {ask: {output: 1}, tell: {output: 2}}}
cases:
  - name: small
    inputs: {n: 1}
    expect: {output: {n: 1}}
  - name: large
    inputs: {n: 9}
    expect: {output: {n: WANTED}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two flows with tests, one in a folder below."""
    for name, folder in (("first", "workflows"), ("second", "workflows/more")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.yaml").write_text(FLOW.format(id=name))
        (tmp_path / folder / f"{name}.test.yaml").write_text(TESTS.replace("WANTED", "1"))
    return tmp_path


def run(project: Path, *arguments: str) -> int:
    return main(["-C", str(project), "test", *arguments])


def test_every_test_of_the_project_runs_side_by_side(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "-j", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[:-1]) == [
        "ok     workflows/first.test.yaml:4  small",
        "ok     workflows/first.test.yaml:7  large",
        "ok     workflows/more/second.test.yaml:4  small",
        "ok     workflows/more/second.test.yaml:7  large",
    ]
    assert lines[-1].startswith("4 passed in ")


def test_a_case_that_fails_says_what_differs_and_what_the_run_did(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "workflows" / "first.test.yaml").write_text(TESTS.replace("WANTED", "2"))
    junit = project / "build" / "flows.xml"
    assert run(project, str(project / "workflows" / "first.yaml"), "--coverage", "--junit", str(junit)) == 1
    said = capsys.readouterr().out
    assert "FAILED workflows/first.test.yaml:7  large" in said
    assert "workflows/first.test.yaml:9:14: the output differs: n is 1, expected 2" in said
    assert "completed  ask (http) → 1" in said
    assert "workflows/first.yaml: 3 of 3 steps, 2 of 2 branches" in said
    assert "1 passed, 1 failed" in said
    assert ElementTree.fromstring(junit.read_text()).get("failures") == "1"


def test_cases_are_chosen_by_their_names_and_coverage_tells_what_they_leave_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(project, "-k", "first.test.yaml SMALL", "--coverage") == 0
    said = capsys.readouterr().out
    assert "1 passed" in said
    assert "workflows/first.yaml: 2 of 3 steps, 1 of 2 branches" in said
    assert "step `tell` (http) never runs" in said
    assert run(project, "-k", "nothing like it") == 2
    assert "no case has 'nothing like it' in its name" in capsys.readouterr().err


def test_the_result_is_json_where_it_is_asked_for(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, str(project / "workflows" / "more"), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    [file] = report["files"]
    assert file["flow"] == "second"
    assert [case["output"] for case in file["cases"]] == [{"n": 1}, {"n": 1}]
    assert file["cases"][0]["calls"][0]["config"]["url"] == "https://a.example"


def test_a_file_that_cannot_be_used_exits_with_2_and_the_others_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "workflows" / "first.test.yaml").write_text("cases:\n  - name: one\n    mocks: {aks: {output: 1}}\n")
    assert run(project) == 2
    told = capsys.readouterr()
    assert "workflows/first.test.yaml:3:13: flow `first` has no step `aks` (did you mean `ask`?)" in told.err
    assert "2 passed, 1 file cannot be used" in told.out


def test_no_tests_is_an_error_that_says_where_it_looked(project: Path) -> None:
    empty = project / "empty"
    empty.mkdir()
    settings = Settings(project_dir=project)
    for path in (empty, project / "workflows" / "none.yaml", project / "nowhere"):
        with pytest.raises(FlowInvalid, match=str(path)):
            find_test_files(settings, [path])
    assert len(find_test_files(settings)) == 2


def test_nothing_is_written_into_the_project(project: Path) -> None:
    before = sorted(project.rglob("*"))
    settings = Settings(project_dir=project)
    assert asyncio.run(run_files(settings, find_test_files(settings))).passed
    assert sorted(project.rglob("*")) == before
