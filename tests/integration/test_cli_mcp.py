"""``orchestrator mcp``: servers tried by hand, by the command line itself and a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.steps.mcp_lab import bare

from orchestrator.cli import main

Cli = Callable[..., tuple[int, str, str]]
TOOL = {
    "name": "search",
    "description": "Look things up.\nSecond line. \u001b[31m",
    "inputSchema": {"type": "object", "properties": {"q": {"type": "string"}, "most": {"type": "integer"}}},
}
BELL = {"name": "bell", "description": "Rings \u0007\u001b[2J", "inputSchema": {}}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("mcp", …)`` in a project with three servers: exit code, stdout, stderr."""
    servers: dict[str, Any] = {
        "good": bare(f"tools={json.dumps([TOOL, BELL])}"),
        "broken": bare("echo=1", env={"TOKEN": "{{ secrets.TOKEN }}"}),
        "gone": {"command": "no-such-command-here"},
        "closed": {"url": "http://127.0.0.1:1/mcp"},
    }
    (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump({"mcp": servers}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_SECRET_TOKEN", "tok-1234567")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["mcp", *arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        assert "tok-1234567" not in said.out + said.err
        return code, said.out, said.err

    return run


def test_list_says_what_can_be_reached_and_why_the_rest_cannot(cli: Cli) -> None:
    code, out, _ = cli("list", "--json")
    found = {row["server"]: row for row in json.loads(out)}
    assert code == 0
    assert (found["good"]["reachable"], found["good"]["tools"]) == (True, 2)
    assert "no-such-command-here" in found["gone"]["error"]
    assert "cannot be reached" in found["closed"]["error"]
    assert found["closed"]["at"] == "http://127.0.0.1:1/mcp"


def test_tools_are_shown_with_their_schemas_and_nothing_that_a_terminal_obeys(cli: Cli) -> None:
    code, out, _ = cli("tools", "good", "--schema")
    assert code == 0
    assert out.startswith("search  Look things up.\n")
    assert '"most"' in out
    assert "\u001b" not in out
    assert "\u0007" not in out
    tools = json.loads(cli("tools", "good", "--json")[1])
    assert tools[0]["inputSchema"] == TOOL["inputSchema"]


def test_call_takes_json_and_single_arguments_and_writes_the_result_as_json(cli: Cli) -> None:
    code, out, _ = cli("call", "good", "search", '{"q": "a"}', "--arg", "most=3")
    assert code == 0
    assert json.loads(json.loads(out)["text"]) == {"q": "a", "most": 3}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("call", "good", "search", "{"), 2, "not JSON"),
        (("call", "good", "search", "[1]"), 2, "a JSON object"),
        (("call", "good", "search", "--arg", "most"), 2, "NAME=VALUE"),
        (("call", "good", "search", "--arg", "most=many"), 2, "most: must be a whole number"),
        (("call", "good", "serch"), 2, "'search'"),
        (("call", "god", "search"), 2, "'good'"),
        (("call", "broken", "secret"), 1, "cannot sign in with ***"),
        (("tools", "closed"), 1, "cannot be reached"),
        (("tools", "gone"), 2, "cannot be started"),
    ],
)
def test_what_goes_wrong_is_a_sentence_and_an_exit_code(
    cli: Cli, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended, out, err = cli(*arguments)
    assert (ended, out) == (code, "")
    assert says in err
