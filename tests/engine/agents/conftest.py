"""Agents on the dev server and on the one that skips time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from tests.conftest import binary
from tests.engine.agents.bench import AgentBench, open_agents


@pytest.fixture
async def agents(temporal: Client, tmp_path: Path) -> AsyncIterator[AgentBench]:
    """Agents on the dev server."""
    async with open_agents(temporal, tmp_path) as bench:
        yield bench


@pytest.fixture
async def skipping(tmp_path: Path) -> AsyncIterator[AgentBench]:
    """Agents where a day passes in milliseconds."""
    async with (
        await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=binary("temporal-test-server")
        ) as environment,
        open_agents(environment.client, tmp_path) as bench,
    ):
        yield bench
