"""The worker as it is served: functions of a project, the pool and the watch that come with it."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from tests.engine.harness import Workbench
from tests.stores import open_store

from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.worker import FlowWorker

FUNCTIONS = """
import os, time
from temporalio import activity
from orchestrator.steps.function import cpu

@activity.defn
async def hold_up(params):
    time.sleep(1.8)

@activity.defn
@cpu
def compute(params):
    return os.getpid()
"""


@pytest.fixture
async def workbench(temporal: Client, tmp_path: Path) -> AsyncIterator[Workbench]:
    (tmp_path / "activities").mkdir()
    (tmp_path / "activities" / "own.py").write_text(FUNCTIONS)
    settings = Settings(project_dir=tmp_path, task_queue=f"orchestrator-{uuid.uuid4().hex[:8]}")
    store = await open_store(settings.store)
    async with FlowWorker(settings, temporal, store, Project):
        yield Workbench(temporal, store, settings)
    await store.aclose()


def flow(handler: str) -> str:
    return f"id: own\nsteps: [{{id: step, type: function, config: {{handler: {handler}, params: {{}}}}}}]\n"


async def test_a_function_that_holds_up_the_worker_is_named_in_its_log(
    workbench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    await workbench.run(flow("hold_up"))
    assert "hold_up (step step of run own-" in caplog.text


async def test_a_flow_can_call_a_function_that_computes(workbench: Workbench) -> None:
    first, second = [await workbench.run(flow("compute")) for _ in range(2)]
    assert first == second != os.getpid()
