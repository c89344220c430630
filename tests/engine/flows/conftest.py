"""A worker per test module, on the shared dev server or on the time-skipping one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from tests.conftest import binary
from tests.engine.harness import Workbench, open_workbench


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
