"""``orchestrator init``, ``test --mutate`` and ``test --record`` as they are typed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import temporalio.client

from orchestrator.cli import main
from orchestrator.client import Client
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.spec.source import read_source
from orchestrator.worker import FlowWorker

LONG = 60


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A new project, as ``init`` makes it, with nothing running."""
    for name in ("ORCHESTRATOR_STORE_URL", "ORCHESTRATOR_STATE_DIR", "ORCHESTRATOR_TASK_QUEUE", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORCHESTRATOR_TEMPORAL_PORT", "1")
    monkeypatch.setenv("ORCHESTRATOR_PROJECT_DIR", str(tmp_path / "shop"))
    assert main(["init", str(tmp_path / "shop")]) == 0
    capsys.readouterr()
    return tmp_path / "shop"


def test_a_new_project_passes_its_tests_and_they_miss_every_step(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test"]) == 0
    assert "3 passed" in capsys.readouterr().out
    assert main(["test", "--mutate"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "workflows/expense.yaml: 3 steps left out one by one, 3 missed by its tests",
        "3 steps left out, all noticed",
    ]
    assert not (project / ".orchestrator").exists(), "nothing is left behind"


def test_a_step_that_no_case_misses_is_told_with_its_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = project / "workflows" / "expense.yaml"
    text = flow.read_text(encoding="utf-8")
    added = (
        "  - {id: tell, type: notification, on_error: continue, config: {target: finance, message: done}}\n\noutput:"
    )
    flow.write_text(text.replace("\noutput:", added), encoding="utf-8")
    tests = project / "workflows" / "expense.test.yaml"
    tests.write_text(
        tests.read_text(encoding="utf-8").replace("defaults:\n", "defaults:\n  mocks: {tell: {output: {id: n}}}\n"),
        encoding="utf-8",
    )
    assert main(["test", "--mutate"]) == 1
    line = next(number for number, one in enumerate(flow.read_text(encoding="utf-8").splitlines(), 1) if "tell" in one)
    out = capsys.readouterr().out
    assert f"workflows/expense.yaml:{line}:5: without step `tell` (notification) every case still passes" in out
    assert "4 steps left out, 1 of them unnoticed" in out
    assert main(["test", "--mutate", "--json"]) == 1
    [found] = json.loads(capsys.readouterr().out)
    assert [survivor["step"] for survivor in found["survivors"]] == ["tell"]


def test_nothing_is_left_out_of_a_flow_whose_tests_fail(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tests = project / "workflows" / "expense.test.yaml"
    tests.write_text(tests.read_text(encoding="utf-8").replace("by: the rules", "by: nobody"), encoding="utf-8")
    assert main(["test", "--mutate"]) == 1
    error = capsys.readouterr().err
    assert "a small expense is paid at once" in error and "nothing was left out" in error


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--mutate", "-k", "small"), "-k does not go with --mutate"),
        (("--mutate", "-o", "x.test.yaml"), "-o does not go with --mutate"),
        (("--record", "r1", "--mutate"), "--mutate does not go with --record"),
        (("-o", "x.test.yaml"), "-o does not go with a run of tests"),
    ],
)
def test_what_would_do_nothing_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], told: str
) -> None:
    assert main(["test", *given]) == 2
    assert told in capsys.readouterr().err


@pytest.fixture
async def finished(
    project: Path, temporal: temporalio.client.Client, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """The id of a finished run of the project's flow, while a worker can still be asked about it."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.service_client.config.target_host)
    monkeypatch.setenv("ORCHESTRATOR_TASK_QUEUE", f"orchestrator-{uuid4().hex[:8]}")
    settings = Settings.from_environment()
    async with (
        await Client.connect(settings) as client,
        FlowWorker(settings, client.temporal, client.store, Project),
    ):
        await client.publish(project / "workflows" / "expense.yaml")
        run = await client.start("expense", {"employee": "Ada", "amount": 40, "purpose": "books"})
        await run.result(LONG)
        yield run.id


async def test_a_run_is_written_behind_the_cases_of_its_flow_and_passes(
    project: Path, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = project / "workflows" / "expense.test.yaml"
    before = tests.read_text(encoding="utf-8")
    assert await asyncio.to_thread(main, ["test", "--record", finished]) == 0
    said = capsys.readouterr()
    assert "it passes" in said.out and f"as in run {finished}" in said.out
    after = tests.read_text(encoding="utf-8")
    assert after.startswith(before)
    case = read_source(after, "expense.test.yaml").data["cases"][-1]
    assert case["mocks"] == {"assess": {"output": {"needs_approval": False, "reason": "40 is at most 100"}}}
    assert case["expect"]["output"] == {"approved": True, "by": "the rules", "reason": "40 is at most 100"}
    assert await asyncio.to_thread(main, ["test", "-k", finished]) == 0


async def test_a_run_can_be_written_to_another_file_beside_its_flow_and_nowhere_else(
    project: Path, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = project / "workflows" / "expense-recorded.test.yaml"
    assert await asyncio.to_thread(main, ["test", "--record", finished, "-o", str(other)]) == 0
    assert other.read_text(encoding="utf-8").startswith("flow: expense\n\ncases:\n  - name: as in run")
    assert await asyncio.to_thread(main, ["test", "--record", finished, "-o", str(project / "x.test.yaml")]) == 2
    assert "name one beside it" in capsys.readouterr().err
    assert await asyncio.to_thread(main, ["test", "--record", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err


def test_an_attempt_that_fails_as_the_case_says_leaves_no_trace_in_the_log(
    project: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (project / "workflows" / "refused.yaml").write_text(
        "id: refused\nsteps:\n  - {id: act, type: run-steps, config: {steps: nothing, allow: [transform]}}\n"
    )
    tests = project / "workflows" / "refused.test.yaml"
    tests.write_text("cases:\n  - {name: it is refused, expect: {status: failed, error: {type: invalid_steps}}}\n")
    assert main(["test", str(tests)]) == 0, capsys.readouterr().out
    assert [record.getMessage() for record in caplog.records if record.name == "temporalio.activity"] == []
