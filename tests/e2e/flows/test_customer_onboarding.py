"""The flows in customer-onboarding: from the form or the CRM to an account, and back where it cannot be finished."""

from __future__ import annotations

import json
import sqlite3
from typing import Any
from uuid import uuid4

import httpx
from tests.e2e.example_services import Services
from tests.e2e.flows.runs import deliver, open_task, start, until, with_client
from tests.e2e.product import Product, ended, waits_for

Json = Any

WEBHOOK = "/api/webhooks/new-customer"
NOTHING = {"account": False, "subscription": False, "status": None}


def customer(company: str = "Acme Books", plan: str = "team", country: str = "KR") -> Json:
    """A new customer, with a name of their own: research on a company is kept."""
    name = uuid4().hex[:8]
    return {
        "email": f"kim-{name}@acme.example",
        "company": f"{company} {name}",
        "plan": plan,
        "country": country,
    }


def onboard(house: Product, who: Json) -> str:
    return deliver(house, WEBHOOK, {"customer": who})


def known(services: Services, who: Json) -> Json:
    """What accounts, billing and CRM know."""
    return httpx.get(f"{services.url}/customers/{who['email']}", timeout=30).json()


def waiting(house: Product, who: Json) -> list[tuple[Any, ...]]:
    """Rows of the waiting list."""
    database = sqlite3.connect(house.folder / ".orchestrator" / "customers.db", timeout=30)
    try:
        query = "SELECT customer, reason, tries FROM waiting WHERE email = ?"
        return database.execute(query, (who["email"],)).fetchall()
    except sqlite3.OperationalError:
        return []  # Nobody has ever waited: no worker has made the table.
    finally:
        database.close()


def test_a_customer_of_little_risk_has_an_account_and_is_welcomed(house: Product, services: Services) -> None:
    who = customer()
    run = ended(house, onboard(house, who))
    assert run["status"] == "completed", run
    assert run["result"]["status"] == "onboarded"
    assert run["result"]["approved_by"] == "rules"
    assert known(services, who) == {"account": True, "subscription": True, "status": "onboarded"}
    (mail,) = services.mails(who["email"])
    assert mail["subject"] == f"Welcome, {who['company']}"
    assert "Connect the shop first" in mail["text"], "the practices are those of the industry"
    assert services.calls("/slack", channel="#new-customers")


def test_form_and_crm_tell_of_one_customer_once(house: Product, services: Services) -> None:
    who = customer()
    run_id = onboard(house, who)
    assert ended(house, run_id)["status"] == "completed"
    again = httpx.post(f"{house.settings.gateway_url}{WEBHOOK}", json={"customer": who}, timeout=60)
    assert again.json()["run_id"] == run_id
    event = {"type": "crm.customer.created", "source": "crm", "id": who["email"], "data": who}
    httpx.post(f"{house.settings.gateway_url}/v1/events", json=event, timeout=60).raise_for_status()

    def outcome() -> list[Json]:
        asked = {"type": "crm.customer.created"}
        shown = httpx.get(f"{house.settings.gateway_url}/v1/events", params=asked, timeout=60).json()["events"]
        told = next(one for one in shown if one["id"] == who["email"])
        found: list[Json] = told["outcome"] if told["routed_at"] else []
        return found

    # The CRM writes it differently, so the event starts nothing; it is not answered with the form's run either.
    assert [one for one in until(outcome) if one.get("run_id", run_id) != run_id] == []


def test_the_crm_starts_a_run_too(house: Product, services: Services) -> None:
    who = customer()
    event = {"type": "crm.customer.created", "source": "crm", "id": who["email"], "data": who}
    told = httpx.post(f"{house.settings.gateway_url}/v1/events", json=event, timeout=60)
    assert told.status_code == 202, told.text
    until(lambda: known(services, who)["status"] == "onboarded")


def test_a_risky_customer_is_refused_by_a_person_and_nobody_is_alarmed(house: Product, services: Services) -> None:
    who = customer(country="IR")
    run_id = onboard(house, who)
    until(lambda: waits_for(house, run_id, "manual-review"))
    task = open_task(house, run_id)
    assert task.group == "compliance-team"
    with_client(house, lambda client: client.decide(task.id, "reject", None, "sanctions", by="lee"))
    run = ended(house, run_id)
    assert (run["status"], run["result"]) == ("completed", {"status": "rejected", "because": "sanctions"})
    assert known(services, who) == NOTHING | {"status": "rejected"}
    assert services.mails("ops@example.com") == []


def test_what_cannot_be_finished_is_taken_back_waits_and_is_done_on_monday(house: Product, services: Services) -> None:
    who = customer()
    services.fail(f"/billing/subscriptions/{who['email']}", status=500, method="PUT")
    run = ended(house, onboard(house, who))
    assert (run["status"], run["error"]["type"]) == ("failed", "http_500")
    assert known(services, who) == NOTHING
    (mail,) = services.mails("ops@example.com")
    assert who["company"] in mail["text"]
    until(lambda: waiting(house, who))
    ((kept, reason, tries),) = waiting(house, who)
    assert (json.loads(kept), tries) == (who, 0)
    assert reason.startswith("http_500")

    monday = ended(house, start(house, "onboarding-monday", {}))
    assert monday["status"] == "completed", monday
    assert monday["result"]["tried"] >= 1
    assert waiting(house, who) == []
    assert known(services, who) == {"account": True, "subscription": True, "status": "onboarded"}
