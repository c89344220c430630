"""Every block of the README and of docs/ is executed: flows load, commands run against the real product in the order
of the page, Python runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.example_services import Services, copy_house
from tests.e2e.product import ROOT, Product
from tests.e2e.warm import warm_folder

from orchestrator.settings import PREFIX, READERS
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project, load_project

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)( \w+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BY_HAND = ("make ", ". .venv", "python workflows/services")
"""Lines a reader types that a test cannot: they would run the tests again, change the reader's own shell, or start what
runs already."""
SLOW = 280
"""Seconds a page may take: each command starts an interpreter, on a machine that may have little left for it."""


PATIENT = 'patient() { for _ in {1..40}; do "$@" && return; sleep 0.25; done; "$@"; }\n'
"""A reader is slower than a script: what a step has not reached yet is asked for again."""


def blocks(language: str) -> list[tuple[str, str, str]]:
    """Page, marker and text of every block in a language."""
    return [
        (page.name, (match[2] or "").strip(), match[3])
        for page in PAGES
        for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if match[1] == language
    ]


def named(cases: list[tuple[str, str, str]]) -> list[str]:
    return [page for page, _, _ in cases]


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project file of the docs."""
    folder = tmp_path_factory.mktemp("documented")
    text = "\n".join(text for _, marker, text in blocks("yaml") if marker == "project")
    (folder / "orchestrator.yaml").write_text(text, encoding="utf-8")
    return load_project(folder)


FLOWS = [case for case in blocks("yaml") if case[1] not in ("project", "tests")]


@pytest.mark.parametrize(("page", "marker", "text"), FLOWS, ids=named(FLOWS))
def test_a_flow_of_the_docs_loads_and_this_release_can_run_it(
    page: str, marker: str, text: str, documented: Project
) -> None:
    loaded = load_flow(text, page, documented)
    assert loaded.unsupported == ()
    assert loaded.warnings == ()


def test_the_examples_that_commands_use_are_the_flows_of_the_pages() -> None:
    shown = [re.sub(r"^#.*\n", "", text) for _, _, text in blocks("yaml")]
    for example in (ROOT / "docs" / "examples").glob("*.yaml"):
        assert re.sub(r"^#.*\n", "", example.read_text(encoding="utf-8")) in shown, example


def commands(text: str) -> str:
    """The shell lines of a block that a test can run."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(BY_HAND))


PAGES_WITH_SHELL = sorted({page for page, _, text in blocks("sh") if commands(text).strip()})


@pytest.fixture(scope="module")
def example_services() -> Iterator[Services]:
    started = Services()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, example_services: Services) -> Iterator[Product]:
    """A running product in a copy of this project, docs included, as a new user has it: without a key, the example
    services beside it."""
    folder = copy_house(tmp_path_factory.mktemp("docs"), example_services)
    shutil.copytree(ROOT / "docs", folder / "docs")
    running = Product(folder)
    running.wait_for("ready")
    yield running
    running.stop()


@pytest.mark.parametrize("page", PAGES_WITH_SHELL)
def test_the_commands_of_a_page_run_in_order(page: str, served: Product, example_services: Services) -> None:
    script = "\n".join(commands(text) for name, _, text in blocks("sh") if name == page)
    script = script.replace("\norchestrator tasks", "\npatient orchestrator tasks").replace(
        "curl -s", "patient curl -sSf"
    )
    script = script.replace("127.0.0.1:8000", f"127.0.0.1:{served.settings.port}")
    script = example_services.moved(script)
    path = f"{warm_folder()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = served.environment | {"PATH": path, "TEMPORAL_ADDRESS": served.settings.address}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", PATIENT + script],
        cwd=served.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SLOW,
        check=False,
    )
    assert run.returncode == 0, f"{script}\n---\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"


def test_every_make_target_of_the_docs_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named_in_docs = {
        target for _, _, text in blocks("sh") for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
    }
    assert named_in_docs
    assert named_in_docs <= targets


PYTHON = blocks("python")


@pytest.mark.parametrize(("page", "marker", "text"), PYTHON, ids=named(PYTHON))
def test_the_python_of_a_page_runs(page: str, marker: str, text: str, served: Product) -> None:
    program = text
    if "async with" in text:
        body = "\n".join(f"    {line}" for line in text.splitlines())
        program = f"import asyncio\nasync def main():\n{body}\nasyncio.run(main())\n"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=served.folder,
        env=served.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_the_settings_table_names_every_setting() -> None:
    page = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(ORCHESTRATOR_[A-Z_]+)`", page)) == {PREFIX + name.upper() for name in READERS}


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
