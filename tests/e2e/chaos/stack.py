"""Temporal, gateway and workers as processes of their own, each of which can be killed and comes back."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
from temporalio.client import Client
from tests.conftest import start_temporal
from tests.e2e.product import Product
from tests.e2e.warm import Running

from orchestrator.settings import Settings

HERE = Path(__file__).parent
WORKERS = ("worker-1", "worker-2")
VICTIMS = {
    ("worker-1",): 4,
    ("worker-2",): 4,
    WORKERS: 2,
    ("gateway",): 2,
    ("temporal",): 2,
    ("temporal", "worker-1"): 1,
    ("temporal", "gateway", *WORKERS): 1,
}
"""Who is killed together, and how often compared with the others."""


class Stack:
    """All processes of one product around one folder; ``kills`` counts what was killed."""

    def __init__(self, folder: Path, recorder_url: str, model: Mapping[str, str]) -> None:
        self.folder = folder
        self.kills: Counter[str] = Counter()
        self._environment = {"ORCHESTRATOR_ENV_RECORDER": recorder_url, **model}
        self._products: dict[str, Product] = {}
        self._temporal: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        _write_project(folder)

    @property
    def settings(self) -> Settings:
        """How a client of this stack connects."""
        return self._products["gateway"].settings

    def start(self) -> None:
        """Start everything and publish the flows."""
        self._start_temporal()
        self._environment["TEMPORAL_ADDRESS"] = f"127.0.0.1:{self._port}"
        for name in ("gateway", *WORKERS):
            self._launch(name)
        for name in ("gateway", *WORKERS):
            self._wait_for(name)
        published = self._products["gateway"].cli("publish")
        assert published.returncode == 0, published.stderr

    def stop(self) -> None:
        """End everything at once."""
        for product in self._products.values():
            product.stop(signal.SIGKILL)
        self._kill_temporal()

    async def connect(self) -> Client:
        """A client of the Temporal server."""
        return await Client.connect(self.settings.address)

    async def kill_at_random(self, chance: random.Random, most: int, pause: tuple[float, float]) -> None:
        """Kill ``most`` times, ``pause`` seconds apart, each time until what was killed is back; everybody once before
        anybody twice."""
        order = chance.sample(list(VICTIMS), len(VICTIMS))
        order += chance.choices(list(VICTIMS), weights=list(VICTIMS.values()), k=most)
        for victims in order[:most]:
            await asyncio.sleep(chance.uniform(*pause))
            await asyncio.to_thread(self.kill, victims, chance.uniform(0.0, 1.5))

    def kill(self, victims: tuple[str, ...], seconds_down: float) -> None:
        """SIGKILL to all of ``victims`` at once; back after ``seconds_down``."""
        for name in victims:
            self.kills[name.partition("-")[0]] += 1
            self._process(name).kill()
        for name in victims:
            self._process(name).wait()
        time.sleep(seconds_down)
        if "temporal" in victims:
            self._start_temporal()
        products = [name for name in victims if name != "temporal"]
        for name in products:
            self._launch(name)
        for name in products:
            self._wait_for(name)

    def _process(self, name: str) -> Running:
        process = self._temporal if name == "temporal" else self._products[name].process
        assert process is not None
        return process

    def _start_temporal(self) -> None:
        """On the same port and file as before."""
        pragmas = ("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL")
        file = str(self.folder / "temporal.db")
        self._temporal, address = start_temporal(
            self.folder / "temporal.log", "--db-filename", file, *pragmas, port=self._port
        )
        self._port = int(address.rpartition(":")[2])

    def _kill_temporal(self) -> None:
        if self._temporal is not None:
            self._temporal.kill()
            self._temporal.wait()

    def _launch(self, name: str) -> None:
        before = self._products.get(name)
        ports = before.environment if before else {}
        kept = {key: value for key, value in ports.items() if key.endswith("_PORT")}
        self._products[name] = Product(self.folder, name.partition("-")[0], **self._environment, **kept)

    def _wait_for(self, name: str) -> None:
        self._products[name].wait_for("gateway on http" if name == "gateway" else "worker on task queue")


def _write_project(folder: Path) -> None:
    (folder / "workflows").mkdir()
    (folder / "activities").mkdir()
    (folder / "orchestrator.yaml").write_text("contacts: {team: {}}\n", encoding="utf-8")
    shutil.copy(HERE / "flow.yaml", folder / "workflows" / "chaos.yaml")
    shutil.copy(HERE / "child.yaml", folder / "workflows" / "chaos-child.yaml")
    shutil.copy(HERE / "functions.py", folder / "activities" / "functions.py")


class Door:
    """The gateway as a patient caller sees it: what it does not answer is asked again."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=30)

    async def ask(self, method: str, path: str, *fine: int, **request: object) -> httpx.Response:
        """The answer, once its status is one of ``fine``. Raises AssertionError at any other refusal than 503."""
        while True:
            try:
                answer = await self._http.request(method, path, **request)  # type: ignore[arg-type]
            except httpx.TransportError:
                await asyncio.sleep(0.2)
                continue
            if answer.status_code in fine:
                return answer
            assert answer.status_code == 503, f"{method} {path} answered {answer.status_code}: {answer.text}"
            await asyncio.sleep(0.2)

    async def aclose(self) -> None:
        """Hang up."""
        await self._http.aclose()
