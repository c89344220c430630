"""What the integration tests share."""

from __future__ import annotations

from uuid import uuid4

import pytest


@pytest.fixture
def key() -> str:
    """An idempotency key of this test alone: the same flow and key are the same run for every store on one Temporal
    server."""
    return uuid4().hex
