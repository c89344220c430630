"""Tests of flows under pytest, in a process of its own, as a project that has Orchestrator installed runs it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.flowtests.pytest_plugin import project_of

INI = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
FLOW = """\
id: order
inputs: {amount: number}
steps:
  - {id: price, type: http, config: {url: "https://price.example", query: {amount: "{{ inputs.amount }}"}}}
  - {id: rest, type: wait, config: {duration: 2d}}
output: "{{ steps.price.output.body }}"
"""
CASES = """\
defaults: {inputs: {amount: 5}, mocks: {price: {output: {body: 7}}}}
cases:
  - name: it costs 7
    expect: {output: 7, duration: 2d}
  - name: it costs 8
    expect: {output: 8}
"""
BROKEN = "cases:\n  - name: x\n    mocks: {prise: {output: 1}}\n"
PYTHON = """\
import asyncio
import pytest
from orchestrator.errors import FlowInvalid

MOCKS = {"price": {"output": {"body": 7}}}

def test_a_case_in_python(flow_case):
    result = flow_case("workflows/order.yaml", inputs={"amount": 5}, mocks=MOCKS, expect={"ran": ["price"]})
    assert (result.status, result.output) == ("completed", 7)
    assert [call.config["query"] for call in result.calls] == [{"amount": 5}]

def test_one_that_fails(flow_case):
    with pytest.raises(AssertionError, match="the output differs"):
        flow_case("workflows/order.yaml", inputs={"amount": 5}, mocks=MOCKS, expect={"output": 9})

def test_one_that_cannot_be_used(flow_case):
    with pytest.raises(FlowInvalid, match="prise"):
        flow_case("workflows/order.yaml", inputs={"amount": 5}, mocks={"prise": {"output": 1}})
"""
NOTHING = """\
import sys

def test_nothing_of_it_is_loaded():
    own = {name for name in sys.modules if name.partition(".")[0] == "orchestrator"}
    assert own == {"orchestrator", "orchestrator.flowtests", "orchestrator.flowtests.pytest_plugin"}
    assert "temporalio" not in sys.modules
"""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What pytest says of the project in ``folder``."""
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    # Left out: what other plugins load is not ours, and takes its time.
    others = [f"-pno:{name}" for name in ("schemathesis", "hypothesispytest", "cacheprovider", "anyio", "xdist")]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--no-header", *others, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest writes about a project with good and bad tests of flows, and tests in Python."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "workflows").mkdir()
    for name, text in (
        ("order.yaml", FLOW),
        ("order.test.yaml", CASES),
        ("broken.test.yaml", f"flow: order\n{BROKEN}"),
    ):
        (folder / "workflows" / name).write_text(text, encoding="utf-8")
    (folder / "test_orders.py").write_text(PYTHON, encoding="utf-8")
    ran = pytest_in(folder, "--continue-on-collection-errors")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran.stdout


def test_the_plugin_is_known_to_pytest_once_orchestrator_is_installed() -> None:
    [entry] = [one for one in importlib.metadata.entry_points(group="pytest11") if one.name == "orchestrator"]
    assert entry.value == "orchestrator.flowtests.pytest_plugin"


def test_each_case_is_a_test_and_tells_what_differs(said: str) -> None:
    assert "PASSED workflows/order.test.yaml::it costs 7" in said
    assert "FAILED workflows/order.test.yaml::it costs 8" in said
    assert "workflows/order.test.yaml:6:14: the output differs: it is 7, expected 8" in said
    assert "completed  price (http)" in said


def test_a_file_that_cannot_be_used_is_told_with_its_place(said: str) -> None:
    assert "ERROR workflows/broken.test.yaml" in said
    assert "workflows/broken.test.yaml:4:13:" in said and "did you mean `price`?" in said


def test_a_case_can_be_run_from_python(said: str) -> None:
    assert said.count("PASSED test_orders.py::") == 3
    assert "4 passed, 1 failed, 1 error" in said or "1 failed, 4 passed, 1 error" in said


def test_a_project_without_such_files_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(NOTHING, encoding="utf-8")
    (tmp_path / "data.yaml").write_text("a: 1\n", encoding="utf-8")
    ran = pytest_in(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_a_flow_belongs_to_the_nearest_project_around_it(tmp_path: Path) -> None:
    flow = tmp_path / "shop" / "workflows" / "orders" / "order.yaml"
    assert project_of(tmp_path / "order.yaml", tmp_path) == tmp_path
    assert project_of(flow, tmp_path) == tmp_path / "shop"
    (tmp_path / "shop" / "workflows" / "orders").mkdir(parents=True)
    (tmp_path / "orchestrator.yaml").write_text("", encoding="utf-8")
    assert project_of(flow, tmp_path) == tmp_path, "its file says where the project is"
