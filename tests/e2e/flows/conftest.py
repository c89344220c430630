"""The house of the example flows: `orchestrator up` on a copy of this project, and the services they call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.example_services import Services, copy_house
from tests.e2e.product import Product


@pytest.fixture(scope="session")
def all_services() -> Iterator[Services]:
    started = Services()
    yield started
    started.stop()


@pytest.fixture
def services(all_services: Services) -> Services:
    """The example services, with nothing asked of them yet."""
    all_services.forget()
    return all_services


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, all_services: Services) -> Iterator[Product]:
    """One running `orchestrator up` with every flow of this project; its stand-in for Claude answers from the flows'
    own scripts."""
    running = Product(copy_house(tmp_path_factory.mktemp("house"), all_services))
    running.wait_for("ready")
    yield running
    running.stop()
