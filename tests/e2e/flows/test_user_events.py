"""The flows in user-events: one event, several subscribers that know nothing of each other."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.e2e.example_services import Services
from tests.e2e.flows.runs import start, until, with_client
from tests.e2e.product import Product, ended, run_of, waits_for

from orchestrator.client import Client

Json = Any

PAYMENT_HANDLERS = {"update-subscription", "send-receipt", "unlock-features"}
USER_HANDLERS = {"send-welcome-email", "create-user-profile", "start-onboarding"}


def tell(house: Product, kind: str, event_id: str, data: Json) -> httpx.Response:
    """Tell an event; the answer."""
    event = {"type": kind, "id": event_id, "source": "shop", "data": data}
    return httpx.post(f"{house.settings.gateway_url}/v1/events", json=event, timeout=60)


def started(house: Product, kind: str, event_id: str) -> dict[str, str]:
    """The runs that an event started, by flow, once it has reached everybody."""

    def look() -> dict[str, str]:
        shown = httpx.get(f"{house.settings.gateway_url}/v1/events", params={"type": kind}, timeout=60)
        event = next(one for one in shown.json()["events"] if one["id"] == event_id)
        return {one["flow"]: one["run_id"] for one in event["outcome"] if "flow" in one} if event["routed_at"] else {}

    return until(look)


def register(house: Product, user: str) -> dict[str, str]:
    data = {"user_id": user, "email": f"{user}@example.com", "timestamp": "2026-03-01T09:00:00Z"}
    assert tell(house, "user_registered", f"reg-{user}", data).status_code == 202
    return started(house, "user_registered", f"reg-{user}")


def pay(house: Product, user: str, transaction: str, amount: float) -> dict[str, str]:
    data = {"transaction_id": transaction, "amount": amount, "user_id": user}
    assert tell(house, "payment_completed", transaction, data).status_code == 202
    return started(house, "payment_completed", transaction)


def rows(house: Product, query: str, *values: str) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(house.folder / ".orchestrator" / "users.db", timeout=30)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


def new_user() -> str:
    return f"user-{uuid4().hex[:8]}"


def completed(house: Product, *runs: str) -> None:
    for run in runs:
        shown = ended(house, run)
        assert shown["status"] == "completed", shown


def test_a_registration_starts_its_three_flows_and_the_third_begins_five_minutes_later(
    house: Product, services: Services
) -> None:
    user = new_user()
    runs = register(house, user)
    assert runs.keys() == USER_HANDLERS
    completed(house, runs["send-welcome-email"], runs["create-user-profile"])
    (mail,) = services.mails(f"{user}@example.com")
    assert mail["subject"] == f"Welcome, {user}"
    profiles = rows(house, "SELECT email, registered_at, onboarding FROM user_profiles WHERE user_id = ?", user)
    assert profiles == [(f"{user}@example.com", "2026-03-01T09:00:00.000Z", "none")]

    async def waits(client: Client) -> timedelta:
        described = await client.temporal.get_workflow_handle(runs["start-onboarding"]).describe()
        assert described.execution_time is not None
        return described.execution_time - described.start_time

    assert with_client(house, waits) == timedelta(minutes=5)
    assert run_of(house, runs["start-onboarding"])["status"] == "running"


def test_an_event_that_is_told_twice_counts_once(house: Product, services: Services) -> None:
    user = new_user()
    runs = register(house, user)
    assert register(house, user) == runs
    completed(house, runs["send-welcome-email"])
    assert len(services.mails(f"{user}@example.com")) == 1


def test_a_payment_renews_the_subscription_sends_a_receipt_and_unlocks_what_was_paid_for(
    house: Product, services: Services
) -> None:
    user = new_user()
    completed(house, register(house, user)["create-user-profile"])
    first, second = f"t-{user}-1", f"t-{user}-2"
    small, large = pay(house, user, first, 20), pay(house, user, second, 60.5)
    assert small.keys() == large.keys() == PAYMENT_HANDLERS
    completed(house, *small.values(), *large.values())
    assert rows(house, "SELECT status, paid FROM subscriptions WHERE user_id = ?", user) == [("active", 80.5)]
    receipts = {mail["subject"]: mail["text"] for mail in services.mails(f"{user}@example.com")}
    assert "Amount       20.00" in receipts[f"Receipt {first}"]
    assert "Amount       60.50" in receipts[f"Receipt {second}"]
    unlocked = httpx.get(f"{services.url}/features/{user}", timeout=30).json()["features"]
    assert unlocked == ["api", "priority-support", "reports"]


def test_a_payment_that_overtakes_the_registration_gets_its_receipt_all_the_same(
    house: Product, services: Services
) -> None:
    user = new_user()
    runs = pay(house, user, f"t-{user}", 20)
    # The other handlers do not wait for it.
    completed(house, runs["update-subscription"], runs["unlock-features"])
    register(house, user)
    completed(house, runs["send-receipt"])
    assert f"Receipt t-{user}" in [mail["subject"] for mail in services.mails(f"{user}@example.com")]


def test_a_handler_that_fails_does_not_hold_the_others(house: Product, services: Services) -> None:
    user = new_user()
    completed(house, register(house, user)["create-user-profile"])
    services.fail(f"/features/{user}/reports", status=404)
    runs = pay(house, user, f"t-{user}", 20)
    assert ended(house, runs["unlock-features"])["status"] == "failed"
    completed(house, runs["update-subscription"], runs["send-receipt"])


def test_a_run_that_waits_for_a_first_payment_hears_of_it(house: Product, services: Services) -> None:
    user = new_user()
    completed(house, register(house, user)["create-user-profile"])
    run = start(house, "user-onboarding", {"user_id": user, "email": f"{user}@example.com"})
    until(lambda: waits_for(house, run, "first-payment"))
    pay(house, user, f"t-{user}", 20)
    shown = ended(house, run)
    assert (shown["status"], shown["result"]) == ("completed", "paying")
    assert rows(house, "SELECT onboarding FROM user_profiles WHERE user_id = ?", user) == [("paying",)]
    assert "Your first steps" in [mail["subject"] for mail in services.mails(f"{user}@example.com")]


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        ("user_registered", {"user_id": "ada", "timestamp": "2026-03-01T09:00:00Z"}, "email"),
        ("payment_completed", {"transaction_id": "t", "amount": "twenty", "user_id": "ada"}, "amount"),
    ],
)
def test_an_event_whose_data_does_not_match_the_catalogue_is_refused_and_says_why(
    house: Product, kind: str, data: Json, field: str
) -> None:
    refused = tell(house, kind, f"bad-{uuid4().hex[:8]}", data)
    assert refused.status_code == 422
    assert field in refused.text
