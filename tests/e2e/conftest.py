"""Running products, for the tests that need one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.e2e.product import ROOT, Begin, Product, copy_project
from tests.e2e.warm import Forked

TEST_SECONDS = 300
BROWSER_SECONDS = 90
"""How long a page may take to show what a test waits for."""
RESEARCH_ANSWERS = Path(__file__).parent / "research_answers.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here starts interpreters and servers, which takes its time on a busy machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Product]]:
    """``launch(verb, begin, **environment)``: a product in a copy of this project, stopped after the test."""
    folder = copy_project(tmp_path)
    started: list[Product] = []

    def start(verb: str = "up", begin: Begin = Forked, /, **environment: str) -> Product:
        started.append(Product(folder, verb, begin, **environment))
        return started[-1]

    yield start
    for product in started:
        product.stop()


@pytest.fixture(scope="session")
def claude_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Claude stand-in in its own process. It knows the examples' scripts, and before them those of tests."""
    scripts = tmp_path_factory.mktemp("answers")
    for folder, file in (("a", RESEARCH_ANSWERS), ("b", ROOT / "workflows" / "research" / "stand_in.py")):
        (scripts / folder).mkdir()
        shutil.copy(file, scripts / folder / "stand_in.py")
    command = [sys.executable, "-m", "orchestrator.testing.claude_stand_in", "--port", "0", "--script", str(scripts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory, claude_url: str) -> Iterator[Product]:
    """One running ``orchestrator up`` for the tests that only use it."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    running = Product(folder, ANTHROPIC_API_KEY="stand-in", ANTHROPIC_BASE_URL=claude_url)
    running.wait_for("ready")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, for the pages. Its tests are plain functions: while it is open this thread has a running
    event loop, so it lives as long as one module, in which nothing calls ``asyncio.run``."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the pages are looked at with Chromium, which is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        # Playwright starts it without a sandbox unless told otherwise; it sees pages of this machine alone.
        opened = playwright.chromium.launch(executable_path=chromium, args=["--disable-dev-shm-usage"])
        # Its own five seconds are too few on a busy machine.
        expect.set_options(timeout=BROWSER_SECONDS * 1000)
        yield opened
        opened.close()
