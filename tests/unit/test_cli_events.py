"""What the command line says became of an event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.cli.events import _became
from orchestrator.store.events import Event, KeptEvent

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ({"flow": "f", "trigger": "event-1", "run_id": "r1"}, "started r1"),
        ({"run_id": "r2", "delivered": True}, "delivered to r2"),
        ({"flow": "f", "trigger": "event-1", "collector": "c1"}, "is gathered for f"),
        ({"flow": "f", "trigger": "event-1", "run_id": "r3", "held_for": 5.0}, "started r3"),
        ({"flow": "f", "error": {"type": "invalid_inputs", "message": "no n"}}, "did not start f: no n"),
    ],
)
def test_every_outcome_is_told(outcome: dict[str, Any], says: str) -> None:
    event = Event(id="e", type="t", source="s", time="2026-03-01T00:00:00Z")
    assert _became(KeptEvent(event, NOW, NOW, (outcome,))) == says
