"""Lanes for code that does not run in an event loop: pytest's items, mostly."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.results import CaseResult
from orchestrator.settings import Settings
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.loading import LoadedFlow

T = TypeVar("T")


class SideLanes:
    """One lane for each project, in an event loop of a thread beside. A lane is opened when its first case runs, and
    closed with the rest."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="flow tests", daemon=True)
        self._thread.start()
        self._lanes: dict[Path, Lane] = {}

    def run(self, project: Path, case: FlowCase, flow: LoadedFlow) -> CaseResult:
        """Run a case. Raises Unavailable where no test server can be had."""
        return self._do(self._run(project, case, flow))

    def close(self) -> None:
        """Stop servers and workers, and the thread."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run(self, project: Path, case: FlowCase, flow: LoadedFlow) -> CaseResult:
        lane = self._lanes.get(project)
        if lane is None:
            settings = dataclasses.replace(Settings.from_environment(), project_dir=project)
            lane = await Lane(settings).__aenter__()
            self._lanes[project] = lane
        return await lane.run(case, flow)

    async def _close(self) -> None:
        while self._lanes:
            _, lane = self._lanes.popitem()
            await lane.__aexit__(None, None, None)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()
