"""MCP servers that could never work are refused when the file is loaded, with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import FlowInvalid, Problem
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project, load_project


def problem(root: Path, text: str) -> Problem:
    (root / "orchestrator.yaml").write_text("mcp:\n" + text, encoding="utf-8")
    with pytest.raises(FlowInvalid) as caught:
        load_project(root)
    [found] = caught.value.problems
    return found


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("  a: {command: npx, arg: [x]}", 2, "unknown key `arg`"),
        ("  a:\n    command: npx\n    timeout: soon", 4, "duration"),
        ("  a: {command: npx, url: 'https://x.example'}", 2, "exactly one of 'command' and 'url'"),
        ("  a: {args: [x]}", 2, "exactly one of 'command' and 'url'"),
        ("  a: npx something", 2, "must be a mapping"),
        ("  a: {url: 'https://x.example', env: {A: b}}", 2, "belong to a server with 'command'"),
        (
            "  a: {url: 'https://x.example', auth: {client_credentials: {client_id: i, client_secret: s}}}",
            2,
            "is missing",
        ),
        ("  a: {command: npx, env: {A: 1}}", 2, "A"),
        ("  a: {use: github, tiemout: 3s}", 2, "unknown key `tiemout`"),
        ("  a:\n    use: githb", 3, "no ready entry 'githb' for mcp; did you mean 'github'"),
        ("  a: {use: github, args: [x]}", 2, "belong to a server with 'command'"),
        ("  a: {url: 'https://x.example/mcp'}\nservices:\n  j:\n    use: jira", 5, "must give base_url"),
    ],
)
def test_an_entry_that_cannot_work_is_refused_where_it_stands(tmp_path: Path, text: str, line: int, says: str) -> None:
    found = problem(tmp_path, text)
    assert found.file == "orchestrator.yaml"
    assert found.line == line
    assert says in f"{found.message} {found.hint}"


def test_secrets_and_ready_entries_are_taken_as_they_are(tmp_path: Path) -> None:
    text = """mcp:
  a: {url: "{{ secrets.URL }}", headers: {Authorization: "Bearer {{ secrets.KEY }}"}, timeout: 5s}
  b: {command: npx, args: ["{{ secrets.A }}"], env: {A: "{{ secrets.A }}"}, shared: false}
  c: {use: github}
  d: {use: github, headers: {X-Mine: "1"}}
"""
    (tmp_path / "orchestrator.yaml").write_text(text, encoding="utf-8")
    assert list(load_project(tmp_path).mcp) == ["a", "b", "c", "d"]


def test_a_server_that_a_flow_declares_is_checked_too() -> None:
    text = "id: f\nmcp:\n  a: {command: npx, comand: y}\nsteps: [{type: mcp, config: {server: a, tool: t}}]\n"
    with pytest.raises(FlowInvalid) as caught:
        load_flow(text, "f.yaml", Project())
    assert (caught.value.problems[0].line, "comand" in caught.value.problems[0].message) == (3, True)
