"""The command line without any server: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.cli import main
from orchestrator.cli.console import InputUnusable
from orchestrator.cli.inputs import Text, read_inputs, typed
from orchestrator.cli.progress import Told, duration

GOOD = """
id: greeting
version: 1.0.0
inputs: {name: string}
steps:
  - {id: greet, type: transform, config: {value: "Hello {{ inputs.name }}"}}
"""
BROKEN = GOOD.replace("inputs.name", "inputs.nmae").replace("type: transform", "type: transfrom")

ROOT = Path(__file__).resolve().parents[2]
Json = Any
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("validate", …)`` in an empty project: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("ORCHESTRATOR_PROJECT_DIR", "ORCHESTRATOR_STORE_URL", "ORCHESTRATOR_STATE_DIR", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    # Nobody listens on port 1.
    monkeypatch.setenv("ORCHESTRATOR_TEMPORAL_PORT", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return run


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    """The empty project's workflows/ with one good flow."""
    folder = tmp_path / "workflows"
    folder.mkdir()
    (folder / "greeting.yaml").write_text(GOOD, encoding="utf-8")
    return folder


def test_version_names_the_releases_a_bug_report_needs(cli: Cli) -> None:
    code, out, _ = cli("version")
    assert code == 0
    assert "orchestrator 0." in out and "Python 3." in out and "temporalio 1." in out


def test_no_verb_shows_what_there_is(cli: Cli) -> None:
    _, out, err = cli()
    assert all(verb in out + err for verb in ("up", "demo", "validate", "run", "tasks", "doctor"))


def test_an_unknown_verb_is_bad_input(cli: Cli) -> None:
    code, _, err = cli("valdate")
    assert code == 2
    assert "validate" in err


def test_validate_accepts_a_good_folder(cli: Cli, flows: Path) -> None:
    code, out, err = cli("validate")
    assert (code, err) == (0, "")
    assert out == "workflows/greeting.yaml: flow greeting 1.0.0, 1 steps\n"


def test_validate_names_the_place_of_a_problem_and_exits_2(cli: Cli, flows: Path) -> None:
    (flows / "broken.yaml").write_text(BROKEN, encoding="utf-8")
    code, out, err = cli("validate")
    assert code == 2
    assert "workflows/broken.yaml:6:" in err and "transform" in err
    assert "greeting.yaml" in out, "the good file is still reported"


def test_validate_as_json_tells_a_script_everything(cli: Cli, flows: Path) -> None:
    (flows / "broken.yaml").write_text(BROKEN, encoding="utf-8")
    code, out, _ = cli("validate", "--json")
    assert code == 2
    broken, good = json.loads(out)
    assert (good["flow"], good["version"], good["problems"]) == ("greeting", "1.0.0", [])
    assert broken["flow"] is None
    assert {"message", "file", "line", "column", "hint", "severity"} == broken["problems"][0].keys()


def test_validate_of_a_missing_file_says_so(cli: Cli) -> None:
    code, _, err = cli("validate", "nowhere.yaml")
    assert code == 2
    assert "nowhere.yaml" in err


def test_validate_reports_a_broken_project_file(cli: Cli, flows: Path, tmp_path: Path) -> None:
    (tmp_path / "orchestrator.yaml").write_text("databses: {}\n", encoding="utf-8")
    code, _, err = cli("validate")
    assert code == 2
    assert "orchestrator.yaml:1:1" in err and "databases" in err


def test_publish_twice_changes_nothing_the_second_time(cli: Cli, flows: Path) -> None:
    assert cli("publish")[:2] == (0, "published: flow greeting 1.0.0\n")
    assert cli("publish")[:2] == (0, "unchanged: flow greeting 1.0.0\n")


def test_publish_refuses_other_content_under_the_same_version(cli: Cli, flows: Path) -> None:
    cli("publish")
    (flows / "greeting.yaml").write_text(GOOD.replace("Hello", "Hi"), encoding="utf-8")
    code, _, err = cli("publish")
    assert code == 2
    assert "version" in err


def test_publish_publishes_nothing_when_one_file_is_broken(cli: Cli, flows: Path) -> None:
    (flows / "broken.yaml").write_text(BROKEN, encoding="utf-8")
    assert cli("publish")[0] == 2
    (flows / "broken.yaml").unlink()
    assert cli("publish", "--json")[1].count('"created": true') == 1


@pytest.mark.parametrize("what", ["flow", "project"])
def test_schema_prints_a_valid_json_schema(cli: Cli, what: str) -> None:
    code, out, _ = cli("schema", what)
    assert code == 0
    schema = json.loads(out)
    jsonschema.validators.validator_for(schema).check_schema(schema)


@pytest.mark.parametrize("what", ["flow", "project"])
def test_the_schema_files_that_editors_read_are_up_to_date(cli: Cli, what: str) -> None:
    file = ROOT / "docs" / f"{what}.schema.json"
    assert json.loads(cli("schema", what)[1]) == json.loads(file.read_text(encoding="utf-8")), "run `make schema`"


def test_eval_compares_values_of_a_scope(cli: Cli, tmp_path: Path) -> None:
    scope = tmp_path / "scope.json"
    scope.write_text(json.dumps({"steps": {"risk-check": {"output": {"score": 0.9}}}, "inputs": {"limit": 0.7}}))
    code, out, _ = cli("eval", "{{ steps.risk-check.output.score }} > inputs.limit", "--scope", str(scope))
    assert (code, out) == (0, "true\n")


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        (("inputs.name",), "inputs"),
        (("1 &&& 2",), "and"),
        (("1", "--scope", "missing.json"), "missing.json"),
    ],
)
def test_eval_says_what_is_wrong(cli: Cli, arguments: tuple[str, ...], taught: str) -> None:
    code, out, err = cli("eval", *arguments)
    assert (code, out) == (2, "")
    assert taught in err


def test_graph_draws_every_step(cli: Cli, flows: Path) -> None:
    code, out, _ = cli("graph", "workflows/greeting.yaml")
    assert code == 0
    assert out.startswith("flowchart TD")
    assert "greet<br/>" in out


def test_graph_writes_a_picture_beside_it(cli: Cli, flows: Path) -> None:
    code, out, err = cli("graph", "workflows/greeting.yaml", "--svg", "greeting.svg")
    assert (code, out) == (0, "")
    assert "greeting.svg: greeting 1.0.0" in err
    drawn = Path("greeting.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml") and 'role="img"' in drawn and ">greet<" in drawn
    assert cli("graph", "workflows/greeting.yaml", "--svg", "-")[1].strip() == drawn.strip()


def test_graph_says_where_it_cannot_write(cli: Cli, flows: Path) -> None:
    code, out, err = cli("graph", "workflows/greeting.yaml", "--svg", "nowhere/greeting.svg")
    assert (code, out) == (2, "")
    assert "--svg nowhere/greeting.svg cannot be written: No such file or directory" in err


@pytest.mark.parametrize(
    "arguments", [("run", "greeting"), ("runs", "list"), ("runs", "show", "x"), ("tasks", "list"), ("worker",)]
)
def test_without_temporal_one_sentence_says_how_to_get_it(cli: Cli, flows: Path, arguments: tuple[str, ...]) -> None:
    code, out, err = cli(*arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "127.0.0.1:1" in err and "orchestrator up" in err


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ORCHESTRATOR_PORT", "eighty"),
        ("ORCHESTRATOR_ALLOW_PRIVATE_NETWORK", "perhaps"),
        ("ORCHESTRATOR_TEMPORAL_UI_URL", "javascript:alert(1)"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    code, _, err = cli("version")
    assert code == 2
    assert variable in err and value in err


def test_doctor_says_what_to_do_and_exits_1_while_temporal_is_missing(cli: Cli, flows: Path) -> None:
    code, out, _ = cli("doctor", "--json")
    assert code == 1
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert findings["temporal binary"]["verdict"] == "ok"
    assert findings["store"]["verdict"] == "ok"
    assert findings["Temporal"]["verdict"] == "fail" and "orchestrator up" in findings["Temporal"]["found"]
    assert findings["Claude"]["found"]


SCHEMA: Json = {
    "properties": {
        "zip": {"type": "string"},
        "count": {"type": "integer"},
        "tags": {"type": "array"},
        "language": {"enum": ["1", "2"]},
    }
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("zip=00123", "00123"),
        ("zip=true", "true"),
        ("zip=", ""),
        ("zip=a=b", "a=b"),
        ("count=3", 3),
        ("count=three", "three"),
        ('tags=["a", "b"]', ["a", "b"]),
        ("language=1", "1"),
        ("other=null", None),
    ],
)
def test_an_input_is_json_where_it_parses_and_text_where_text_is_declared(pair: str, value: Json) -> None:
    name = pair.partition("=")[0]
    assert typed(read_inputs(None, [pair]), SCHEMA) == {name: value}


def test_inputs_of_the_command_line_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "inputs.json"
    file.write_text('{"count": 1, "zip": "1"}')
    assert read_inputs(file, ["count=2"]) == {"count": Text("2"), "zip": "1"}


@pytest.mark.parametrize(
    ("file", "pairs", "taught"), [("[1]", [], "object"), ("{", [], "JSON"), (None, ["x"], "name=value")]
)
def test_inputs_that_cannot_be_read_are_refused(
    tmp_path: Path, file: str | None, pairs: list[str], taught: str
) -> None:
    path = None
    if file is not None:
        path = tmp_path / "inputs.json"
        path.write_text(file)
    with pytest.raises(InputUnusable, match=taught):
        read_inputs(path, pairs)


def test_progress_tells_each_change_once_and_in_the_order_it_happened() -> None:
    told: list[tuple[str, str]] = []
    progress = Told(lambda path, record: told.append((path, record["status"])))
    first: Json = {"b": {"status": "running", "started_at": "1"}, "a": {"status": "running", "started_at": "2"}}
    progress.look(first)
    progress.look(first)
    progress.look(first | {"b": {"status": "completed", "started_at": "1", "finished_at": "3"}})
    assert told == [("b", "running"), ("a", "running"), ("b", "completed")]


@pytest.mark.parametrize(
    ("started", "finished", "shown"),
    [
        ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.250Z", "0.25 s"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:02:00Z", "2.0 min"),
        ("2026-01-01T00:00:00Z", None, ""),
    ],
)
def test_a_duration_is_readable(started: str, finished: str | None, shown: str) -> None:
    assert duration({"started_at": started, "finished_at": finished}) == shown


def test_a_verb_loads_neither_worker_nor_gateway_nor_vendors_unless_it_needs_them() -> None:
    # Each of them takes as long to load as all the rest, and scripts call many verbs.
    heavy = ("anthropic", "fastapi", "mcp", "orchestrator.gateway", "orchestrator.worker", "uvicorn")
    code = f"import sys, orchestrator.cli.main; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert loaded.stdout.strip() == "[]"
