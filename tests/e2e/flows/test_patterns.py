"""The small pattern flows do what their pages say, seen from the services and the database."""

from __future__ import annotations

import sqlite3
from typing import Any

import httpx
from tests.e2e.example_services import Services
from tests.e2e.flows.runs import error, records, result, start, until
from tests.e2e.product import Product

Json = Any

ADMIN = "admin@example.com"


def rows(house: Product, query: str, *values: str) -> list[tuple[Any, ...]]:
    """What the patterns' database holds."""
    database = sqlite3.connect(house.folder / ".orchestrator" / "patterns.db")
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


def paths(services: Services) -> list[str]:
    """What the patterns asked of the services, in order."""
    return [call["path"].removeprefix("/patterns") for call in services.calls("/patterns")]


def test_all_branches_are_waited_for_or_the_first_or_most(house: Product, services: Services) -> None:
    run_id = start(house, "pattern-parallel", {})
    done = result(house, run_id)
    assert done["pieces"] == 47
    assert done["from"] == records(house, run_id)["price"]["winner"].removeprefix("price-")
    assert done["price"] == {"north": 9.9, "south": 9.5, "west": 10.4}[done["from"]]
    assert done["answers"] >= 2


def test_any_and_majority_bear_failures_that_all_does_not(house: Product, services: Services) -> None:
    for supplier in ("north", "south"):
        services.fail(f"/patterns/suppliers/{supplier}/price", status=400)
    services.fail("/patterns/suppliers/north/verdict", status=400)
    done = result(house, start(house, "pattern-parallel", {}))
    assert (done["from"], done["answers"]) == ("west", 2)
    services.fail("/patterns/suppliers/south/stock", status=400)
    assert error(house, start(house, "pattern-parallel", {}))["step"]["id"] == "stock-south"


def test_a_rate_is_asked_for_once_for_all_runs(house: Product, services: Services) -> None:
    first = start(house, "pattern-caching", {"amount": 1, "currency": "KRW"})
    assert result(house, first) == {"amount": 1480.0, "currency": "KRW"}
    again = start(house, "pattern-caching", {"amount": 2, "currency": "KRW"})
    assert result(house, again)["amount"] == 2960.0
    assert records(house, again)["rate"]["cached"] is True
    assert result(house, start(house, "pattern-caching", {"amount": 100, "currency": "USD"}))["amount"] == 108.0
    assert paths(services) == ["/rates/KRW", "/rates/USD"]


def test_events_are_gathered_and_every_one_is_stored_once(house: Product, services: Services) -> None:
    events = [
        {
            "specversion": "1.0",
            "type": "measurement.taken",
            "source": "roof",
            "id": f"m-{number}",
            "data": {"id": f"m-{number}", "sensor": "roof", "value": number / 2},
        }
        for number in range(100)
    ]
    url = f"{house.settings.gateway_url}/v1/events"
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    assert httpx.post(url, json=events, headers=headers, timeout=60).status_code == 202
    listed = f"{house.settings.gateway_url}/v1/runs?flow=pattern-batching"

    def gathered() -> list[Json]:
        """What the runs gave: one, or a few where a slow machine takes longer than `max_wait` to hand them over."""
        runs = httpx.get(listed, timeout=60).json()["runs"]
        return [result(house, run["id"]) for run in runs]

    until(lambda: sum(one["measurements"] for one in gathered()) >= 100)
    assert sum(one["measurements"] for one in gathered()) == 100
    assert all(one["statements"] == -(-one["measurements"] // 25) for one in gathered())
    assert rows(house, "SELECT count(*), sum(value) FROM measurements") == [(100, 2475.0)]


def test_the_archive_is_asked_for_large_orders_only_and_once(house: Product, services: Services) -> None:
    small = result(house, start(house, "pattern-lazy-loading", {"customer": "kim-7", "total": 50}))
    assert small == {"looked_up": False, "decision": "accept"}
    assert paths(services) == []
    large = result(house, start(house, "pattern-lazy-loading", {"customer": "kim-7", "total": 5000}))
    assert large == {"looked_up": True, "decision": "review"}
    fair = result(house, start(house, "pattern-lazy-loading", {"customer": "kim-7", "total": 1100}))
    assert fair == {"looked_up": True, "decision": "accept"}
    assert paths(services) == ["/archive/kim-7"]


def test_a_job_within_its_limits_is_marked_completed(house: Product, services: Services) -> None:
    services.fail("/patterns/reports", status=429)
    done = result(house, start(house, "pattern-timeouts", {"job": "job-1", "month": "2026-02"}))
    assert done["report"].startswith("report-")
    assert paths(services) == ["/reports", "/reports"], "a rate limit is waited out"
    assert rows(house, "SELECT status, reason FROM jobs WHERE id = 'job-1'") == [("completed", None)]


def test_a_job_that_cannot_be_done_is_marked_failed_and_the_admins_are_told(house: Product, services: Services) -> None:
    services.fail("/patterns/reports", status=503, times=3)
    run_id = start(house, "pattern-timeouts", {"job": "job-2", "month": "2026-02"})
    assert error(house, run_id)["type"] == "temporary_service_unavailable"
    assert paths(services) == ["/reports"] * 3
    expected = [("failed", "temporary_service_unavailable")]
    assert rows(house, "SELECT status, reason FROM jobs WHERE id = 'job-2'") == expected
    subject = "[error] Job job-2 failed: temporary_service_unavailable"
    assert [mail["subject"] for mail in services.mails(ADMIN)] == [subject]
    assert len(services.calls("/slack", channel="#admins")) == 1
