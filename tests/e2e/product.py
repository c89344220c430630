"""A whole product in its own process, on free ports, in a copy of this project."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import free_port
from tests.e2e.warm import Forked, Running, warm_folder

from orchestrator.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 180.0
STOP_SECONDS = 60.0
ENDED_SECONDS = 120.0
"""A few seconds on an idle machine; these bound a busy one."""

Begin = Callable[[str, Mapping[str, str], int], Running]
"""Starts a verb in an environment, its output in an open file."""


def fresh(verb: str, environment: Mapping[str, str], out: int) -> Running:
    """An interpreter of its own, which imports everything anew."""
    return subprocess.Popen([sys.executable, "-m", "orchestrator", verb], env=environment, stdout=out, stderr=out)


class Product:
    """A verb running in a process of its own; what it says is kept in a file, behind what one before it said there.
    ``begin`` starts it: ``fresh`` as a user does, the default sooner."""

    def __init__(self, folder: Path, verb: str = "up", begin: Begin = Forked, /, **environment: str) -> None:
        ports = {f"ORCHESTRATOR_{name}": str(free_port()) for name in ("PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ORCHESTRATOR_", "TEMPORAL_", "ANTHROPIC_"))
        }
        self.folder = folder
        self.environment = inherited | ports | {"ORCHESTRATOR_PROJECT_DIR": str(folder)} | environment
        self.settings = Settings.from_environment(self.environment)
        self.log = folder / f"{verb}-{self.environment['ORCHESTRATOR_PORT']}.log"
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = begin(verb, self.environment, log.fileno())

    def said(self) -> str:
        """Everything it wrote so far."""
        return self.log.read_bytes()[self._said_before :].decode(errors="replace")

    def wait_for(self, text: str, seconds: float = READY_SECONDS) -> None:
        """Until ``text`` was written; fails with what was written instead."""
        deadline = time.monotonic() + seconds
        while text not in self.said():
            if self.process.poll() is not None and text not in self.said():
                pytest.fail(f"it ended with {self.process.poll()} and never said {text!r}:\n{self.said()}")
            if time.monotonic() > deadline:
                pytest.fail(f"it did not say {text!r} within {seconds:g} s:\n{self.said()}")
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"it did not stop within {STOP_SECONDS:g} s:\n{self.said()}")

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another verb with the same settings."""
        return subprocess.run(
            [str(warm_folder() / "orchestrator"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def launch_verb(folder: Path, verb: str, **environment: str) -> Product:
    """A gateway or a worker in a process of its own that is ready."""
    product = Product(folder, verb, **environment)
    product.wait_for("gateway on http" if verb == "gateway" else "worker on task queue")
    return product


def copy_project(folder: Path) -> Path:
    """This repository's flows, functions, templates and project file, in a folder of its own."""
    shutil.copy(ROOT / "orchestrator.yaml", folder)
    for name in ("workflows", "activities", "templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run_of(product: Product, run_id: str) -> dict[str, Any]:
    """The run as the gateway shows it; empty where it does not in time, as just after a crash."""
    try:
        shown = httpx.get(f"{product.settings.gateway_url}/v1/runs/{run_id}", timeout=30)
    except httpx.TransportError:
        return {}
    answer: dict[str, Any] = shown.json() if shown.status_code == 200 else {}
    return answer


def ended(product: Product, run_id: str, seconds: float = ENDED_SECONDS) -> dict[str, Any]:
    """The run as the gateway shows it once it is over."""
    deadline = time.monotonic() + seconds
    while (run := run_of(product, run_id)).get("status") in (None, "running"):
        if time.monotonic() > deadline:
            pytest.fail(f"run {run_id} is not over within {seconds:g} s: {run}")
        time.sleep(0.2)
    return run


def waits_for(product: Product, run_id: str, step: str) -> bool:
    """Whether the run waits for a decision on ``step``."""
    waits = (run_of(product, run_id).get("state") or {}).get("waits", [])
    return any(wait["step"] == step for wait in waits)


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in {"Z", "X"}
