"""Finished runs are kept once each, on both databases, and rates are taken over the newest of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.store.database import Store
from orchestrator.store.ledger import Line, Recent

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def line(number: int, status: str = "completed", flow: str = "f") -> Line:
    end = NOON + timedelta(seconds=number)
    return Line(f"run-{number}", flow, "1", status, NOON, end, float(number), steps={"a": {"runs": number}})


async def test_a_run_is_kept_as_it_was_last_written(store: Store) -> None:
    first = replace(line(1), tokens=5_000_000_000, cost=0.25, attempts=2, trigger="api", execution="x")
    await store.ledger.write(first)
    await store.ledger.write(replace(first, status="failed", error="broken"))
    [kept] = await store.ledger.window("f", NOON, NOON + timedelta(hours=1), 10)
    assert kept == replace(first, status="failed", error="broken", execution="")


async def test_the_same_run_id_used_again_is_another_run(store: Store) -> None:
    await store.ledger.write(replace(line(1, "failed"), execution="x"))
    await store.ledger.write(replace(line(1), execution="y"))
    assert await store.ledger.recent("f", 10) == Recent(2, 1)


async def test_a_rate_is_that_of_the_newest_runs_which_nobody_cancelled(store: Store) -> None:
    assert (await store.ledger.recent("f", 3)).success_rate is None
    for number, status in enumerate(["failed", "failed", "completed", "timed_out", "cancelled", "completed"]):
        await store.ledger.write(line(number, status))
    await store.ledger.write(line(9, "failed", flow="another"))
    assert await store.ledger.recent("f", 3) == Recent(3, 2)
    assert (await store.ledger.recent("f", 100)).success_rate == 0.4


async def test_a_window_holds_what_ended_in_it_newest_first(store: Store) -> None:
    for number in range(5):
        await store.ledger.write(line(number))
    found = await store.ledger.window("f", NOON + timedelta(seconds=1), NOON + timedelta(seconds=4), 3)
    assert [one.run_id for one in found] == ["run-4", "run-3", "run-2"]


async def test_a_lasting_condition_begins_once(store: Store) -> None:
    begun = []
    for number, held in enumerate([[], ["low"], ["low", "slow"], ["slow"], ["low"]]):
        await store.ledger.write(line(number))
        begun.append(await store.ledger.begun(line(number), held))
        await store.ledger.hold(line(number), held)
    assert begun == [[], ["low"], ["slow"], [], ["low"]]
    # A worker that was lost asks again and hears the same.
    assert await store.ledger.begun(line(4), ["low"]) == ["low"]


async def test_old_runs_are_forgotten(store: Store) -> None:
    await store.ledger.write(line(1))
    now = datetime.now(UTC)
    await store.ledger.write(replace(line(2), finished_at=now))
    assert await store.ledger.purge(86400.0) == 1
    [left] = await store.ledger.window("f", NOON - timedelta(days=1), now + timedelta(days=1), 10)
    assert left.run_id == "run-2"


async def test_a_line_that_is_added_replaces_none_and_is_judged_until_that_is_noted(store: Store) -> None:
    await store.ledger.write(line(1))
    assert not await store.ledger.add(replace(line(1), status="terminated"))
    [kept] = await store.ledger.window("f", NOON, NOON + timedelta(hours=1), 10)
    assert kept.status == "completed"
    assert [await store.ledger.add(line(2)) for _ in range(2)] == [True, True]
    await store.ledger.hold(line(2), [])
    assert not await store.ledger.add(line(2))
