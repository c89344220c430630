"""Servers for the facts about Temporal. Each special server is a fixture of its own, started once per session
and only when a selected test asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from tests.conftest import binary
from tests.engine.lab import Lab, serve


@pytest.fixture(scope="session")
def plain_server() -> Iterator[str]:
    """The development server with its own limits, only made fast."""
    with serve() as address:
        yield address


@pytest.fixture(scope="session")
def untuned_server() -> Iterator[str]:
    """The development server exactly as it comes."""
    with serve(tuned=False) as address:
        yield address


@pytest.fixture(scope="session")
def low_limits_server() -> Iterator[str]:
    """Limits that take minutes to reach by default, lowered so that a test reaches them in a second."""
    with serve(
        "history.maximumSignalsPerExecution=50",
        "history.maxTotalUpdates=20",
        "limit.numPendingChildExecutions.error=20",
    ) as address:
        yield address


@pytest.fixture(scope="session")
def pause_server() -> Iterator[str]:
    """A server on which workflows can be paused. Listing on it breaks, so nothing else uses it."""
    with serve("frontend.WorkflowPauseEnabled=true") as address:
        yield address


@pytest.fixture
async def lab(plain_server: str) -> Lab:
    return Lab(await Client.connect(plain_server))


@pytest.fixture
async def untuned_lab(untuned_server: str) -> Lab:
    return Lab(await Client.connect(untuned_server))


@pytest.fixture
async def low_lab(low_limits_server: str) -> Lab:
    return Lab(await Client.connect(low_limits_server))


@pytest.fixture
async def pause_lab(pause_server: str) -> Lab:
    return Lab(await Client.connect(pause_server))


@pytest.fixture
async def skipping_lab() -> AsyncIterator[Lab]:
    """The test server that skips time whenever every workflow only waits."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server")
    ) as environment:
        yield Lab(environment.client)
