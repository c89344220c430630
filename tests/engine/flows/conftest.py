"""A worker per test module, on the shared dev server or on the time-skipping one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from tests.conftest import binary
from tests.engine.flows.stage import Playing, open_stage
from tests.engine.harness import Workbench, open_workbench

settings.register_profile("chaos", max_examples=500, derandomize=False)


@pytest.fixture
async def workbench(temporal: Client, tmp_path: Path) -> AsyncIterator[Workbench]:
    """The real interpreter on the dev server."""
    async with open_workbench(temporal, tmp_path) as bench:
        yield bench


@pytest.fixture
async def skipping(tmp_path: Path) -> AsyncIterator[Workbench]:
    """The real interpreter on the time-skipping test server: a day passes in milliseconds."""
    async with (
        await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=binary("temporal-test-server")
        ) as environment,
        open_workbench(environment.client, tmp_path) as bench,
    ):
        yield bench


@pytest.fixture
def playing(temporal_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Playing]:
    """Flows on the real interpreter and on the oracle in step. No call is taken for lost on a busy machine: an attempt
    more is a difference."""
    monkeypatch.setattr("orchestrator.engine.activities.HEARTBEAT", timedelta(minutes=1))
    with open_stage(temporal_server, tmp_path) as made:
        yield made
