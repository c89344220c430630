"""The services that the example flows call, in a process of their own, and a copy of this project that uses them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from tests.conftest import free_port
from tests.e2e.product import ROOT, copy_project

Json = Any
HTTP, SMTP = "127.0.0.1:8100", "port: 8125"
"""How orchestrator.yaml writes where the example services are; tests put them on free ports."""
ALL_AWAKE = 60.0


class Services:
    """The example services in a process of their own: what was asked of them, and what shall go wrong."""

    def __init__(self) -> None:
        self.port, self.smtp_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ports = ["--port", str(self.port), "--smtp-port", str(self.smtp_port)]
        command = [sys.executable, str(ROOT / "workflows" / "services"), *ports]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + ALL_AWAKE
        while not self._answers():
            assert self.process.poll() is None, "the example services ended"
            assert time.monotonic() < deadline, "the example services do not answer"
            time.sleep(0.1)

    def calls(self, path: str = "/", **body: Json) -> list[Json]:
        """Calls below a path, narrowed to those whose JSON body has these members."""
        found = httpx.get(f"{self.url}/_calls", params={"path": path}, timeout=30).json()
        return [
            call for call in found if body.items() <= (call["body"] if isinstance(call["body"], dict) else {}).items()
        ]

    def mails(self, to: str) -> list[Json]:
        """Mails that came for somebody."""
        return [mail for mail in httpx.get(f"{self.url}/_mails", timeout=30).json() if to in mail["to"]]

    def fail(self, path: str, status: int = 503, times: int = 1, **more: Json) -> None:
        """The next ``times`` requests below a path fail."""
        failure = {"path": path, "status": status, "times": times} | more
        httpx.post(f"{self.url}/_failures", json=failure, timeout=30).raise_for_status()

    def forget(self) -> None:
        """Calls, mails and failures."""
        httpx.delete(f"{self.url}/_calls", timeout=30).raise_for_status()

    def moved(self, text: str) -> str:
        """A text that names the usual addresses, naming those of these services instead."""
        return text.replace(HTTP, f"127.0.0.1:{self.port}").replace(SMTP, f"port: {self.smtp_port}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/_calls", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def copy_house(folder: Path, services: Services) -> Path:
    """A copy of this project whose orchestrator.yaml names the ports of these services."""
    copy_project(folder)
    project = folder / "orchestrator.yaml"
    written = project.read_text(encoding="utf-8")
    assert HTTP in written
    project.write_text(services.moved(written), encoding="utf-8")
    return folder
