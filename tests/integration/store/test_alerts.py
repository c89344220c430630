"""Alerts are kept until their channel has them, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.errors import NotFound
from orchestrator.store.alerts import Alert, alert_id
from orchestrator.store.database import Store

TOLD: dict[str, Any] = {"condition": "attempts > 1", "found": "attempts is 2", "values": {"attempts": 2}}


def alert(number: int, channel: str = "ops") -> Alert:
    return Alert(alert_id("run", "x", number), "f", "1", "run", channel, TOLD)


async def test_an_alert_is_kept_once_and_handed_out_to_one_at_a_time(store: Store) -> None:
    await store.alerts.put([alert(1), alert(2, "slack")])
    await store.alerts.put([alert(1)])
    assert await store.alerts.due_channels() == ["ops", "slack"]
    [taken] = await store.alerts.take("ops", 5, 60.0)
    assert (taken.id, taken.told, taken.attempts) == (alert(1).id, TOLD, 1)
    assert await store.alerts.take("ops", 5, 60.0) == []
    assert await store.alerts.due_channels() == ["slack"]
    await store.alerts.done(taken)
    assert await store.alerts.counts("f", taken.raised_at) == {"sent": 1, "waiting": 1}


async def test_what_was_not_sent_is_due_again_with_what_was(store: Store) -> None:
    await store.alerts.put([alert(1)])
    [first] = await store.alerts.take("ops", 5, 60.0)
    await store.alerts.again(first, "no route", 0.0, {"k": {"id": "1"}})
    [second] = await store.alerts.take("ops", 5, 60.0)
    assert (second.attempts, second.problem, second.sent) == (2, "no route", {"k": {"id": "1"}})
    # Whoever had it first was too slow: it is not theirs any more.
    await store.alerts.done(first)
    assert [one.status for one in await store.alerts.list()] == ["waiting"]


async def test_a_failed_alert_gets_another_chance_and_is_forgotten_only_when_old(store: Store) -> None:
    await store.alerts.put([alert(1)])
    [taken] = await store.alerts.take("ops", 5, 60.0)
    await store.alerts.give_up(taken, "not_found: no contact 'ops'", {})
    [failed] = await store.alerts.list(flow="f", status="failed")
    assert failed.problem == "not_found: no contact 'ops'"
    assert await store.alerts.due_channels() == []
    with pytest.raises(NotFound, match="alerts list"):
        await store.alerts.resend("another")
    assert await store.alerts.resend(failed.id) == 1
    [again] = await store.alerts.take("ops", 5, 60.0)
    assert again.attempts == 1
    assert await store.alerts.purge(-60.0) == 0
    await store.alerts.done(again)
    assert await store.alerts.purge(60.0) == 0
    assert await store.alerts.purge(-60.0) == 1


async def test_how_far_was_looked_is_kept(store: Store) -> None:
    assert await store.ledger.looked_until() is None
    now = datetime.now(UTC)
    for moment in (now, now + timedelta(seconds=5)):
        await store.ledger.look(moment)
        assert await store.ledger.looked_until() == moment
