"""Agents on the dev server and on the one that skips time. The tests of a file share a worker and what it has open: one
event loop for each file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from tests.conftest import binary
from tests.engine.agents.bench import AgentBench, open_agents


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here runs in the loop of its file, as the fixtures below do."""
    for item in items:
        if Path(__file__).parent in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(loop_scope="module")
async def temporal(temporal_server: str) -> Client:
    """A client of ``temporal_server``, of the loop that the tests here run in."""
    return await Client.connect(temporal_server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(temporal_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AgentBench]:
    """One worker for a file."""
    temporal = await Client.connect(temporal_server)
    async with open_agents(temporal, tmp_path_factory.mktemp("agents")) as bench:
        yield bench


@pytest_asyncio.fixture(loop_scope="module")
async def agents(shared: AgentBench) -> AsyncIterator[AgentBench]:
    """Agents on the dev server, as if nothing had been before."""
    yield shared
    await shared.reset()


@pytest_asyncio.fixture(loop_scope="module")
async def skipping(tmp_path: Path) -> AsyncIterator[AgentBench]:
    """Agents where a day passes in milliseconds."""
    async with (
        await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=binary("temporal-test-server")
        ) as environment,
        open_agents(environment.client, tmp_path) as bench,
    ):
        yield bench
