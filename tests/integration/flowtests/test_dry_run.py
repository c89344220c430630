"""``run --dry-run``: what a flow would do, and nothing done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import main

FLOW = """\
id: order
version: 1
inputs: {order: {type: object, required: [id]}, rush: {type: boolean, default: false}}
steps:
  - id: price
    type: http
    config: {url: "https://price.example/{{ inputs.order.id }}", auth: {bearer: "{{ secrets.TOKEN }}"}}
    output_schema: {type: object, required: [body], properties: {body: {type: object, properties: {sum: {type: number}}}}}
  - id: kept
    type: file
    config: {operation: write, path: data/order.txt, content: "{{ steps.price.output.body.sum }}"}
  - id: large
    type: condition
    config:
      if: "{{ steps.price.output.body.sum }} > 100"
      then: [{id: approval, type: human-task, config: {assignee: kim}}]
  - {id: pause, type: wait, config: {duration: 30d}}
output: {sum: "{{ steps.price.output.body.sum }}"}
"""
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli(…)`` in a project with ``FLOW``: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("ORCHESTRATOR_PROJECT_DIR", "ORCHESTRATOR_STORE_URL", "ORCHESTRATOR_STATE_DIR", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORCHESTRATOR_TEMPORAL_PORT", "1")
    (tmp_path / "order.yaml").write_text(FLOW, encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["run", "order.yaml", "--dry-run", *arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return run


def test_it_shows_every_step_with_what_it_would_be_called_with(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("-i", 'order={"id": 7}')
    assert code == 0, err
    assert json.loads(out) == {"sum": 0}
    shown = err.splitlines()
    assert [line.split()[1] for line in shown if line.startswith("  ✓ ")] == ["price", "kept", "large", "pause"]
    assert "  – large/then/approval  human-task" in shown
    assert any("https://price.example/7" in line for line in shown)
    assert any("→" in line and "(made up)" in line for line in shown)
    assert not (tmp_path / "data").exists(), "nothing was written"


def test_a_file_says_what_steps_answer_and_the_rest_is_made_up(cli: Cli, tmp_path: Path) -> None:
    mocks = tmp_path / "mocks.yaml"
    mocks.write_text("price: {output: {body: {sum: 700}}}\n", encoding="utf-8")
    code, out, err = cli("-i", 'order={"id": 7}', "--mocks", "mocks.yaml", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["status"], told["output"]) == ("completed", {"sum": 700})
    steps = {step["step"]: step for step in told["steps"]}
    assert (steps["price"]["made_up"], steps["approval"]["made_up"]) == (False, True)
    assert steps["approval"]["output"]["decision"] == "approve"
    assert steps["kept"]["configs"][0]["content"] == 700
    mocks.write_text(
        "mocks: {price: {output: {body: {sum: 700}}}}\nevents: [{decide: approval, decision: reject}]\n",
        encoding="utf-8",
    )
    code, out, _ = cli("-i", 'order={"id": 7}', "--mocks", "mocks.yaml", "--json")
    assert (code, json.loads(out)["status"]) == (1, "failed")
    assert json.loads(out)["error"]["type"] == "rejected"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prise: {output: 1}\n", "no step `prise`"),
        ("mocks: {}\nevent: []\n", "unknown key `event`"),
        ("- price\n", "mapping"),
        ("price: {", "mocks.yaml:2:1"),
    ],
)
def test_mocks_that_cannot_be_used_are_refused(cli: Cli, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mocks.yaml").write_text(text, encoding="utf-8")
    code, _, err = cli("-i", 'order={"id": 7}', "--mocks", "mocks.yaml")
    assert (code, told in err) == (2, True), err


def test_an_answer_that_the_step_cannot_give_ends_the_plan_there(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mocks.yaml").write_text("price: {output: {sum: 1}}\n", encoding="utf-8")
    code, _, err = cli("-i", 'order={"id": 7}', "--mocks", "mocks.yaml")
    assert code == 1
    assert "does not match its output_schema: body: is required" in err


def test_inputs_that_do_not_fit_are_refused_before_anything(cli: Cli) -> None:
    code, out, err = cli("-i", "rush=perhaps")
    assert (code, out) == (2, "")
    assert "order: is required" in err


def test_where_it_stops_for_want_of_an_answer_it_says_what_to_do(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "order.yaml").write_text(
        "id: order\nsteps:\n  - {id: a, type: function, config: {handler: f}}\n"
        '  - {id: b, type: transform, config: {value: "{{ steps.a.output.x | float }}"}}\n',
        encoding="utf-8",
    )
    code, _, err = cli()
    assert code == 1
    assert "expression_error" in err and "--mocks FILE" in err


def test_a_published_flow_needs_no_file(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "order.yaml"]) == 0
    (tmp_path / "order.yaml").unlink()
    capsys.readouterr()
    assert main(["run", "order", "--dry-run", "--json", "-i", 'order={"id": 7}']) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "1"
    assert main(["run", "ordre", "--dry-run"]) == 2
    assert "order" in capsys.readouterr().err


def test_mocks_are_for_dry_runs_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "order.yaml", "--mocks", "mocks.yaml"]) == 2
    assert "--dry-run" in capsys.readouterr().err
