"""order-saga, from its webhook to the books of stock, payment and shipping: all of it, or none."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.e2e.example_services import Services
from tests.e2e.product import Product, ended

Json = Any

NOTHING: Json = {"stock": "free", "shipment": None}


class Shop:
    """Places orders at the flow's webhook and looks into the services' books."""

    def __init__(self, house: Product, services: Services) -> None:
        self.house, self.services = house, services

    def place(self, name: str, *, quantity: int = 2, sku: str = "book") -> str:
        """Start a run for an order of this name; its id."""
        order = {"id": name, "email": mail_of(name), "lines": [{"sku": sku, "quantity": quantity}]}
        url = f"{self.house.settings.gateway_url}/api/webhooks/shop-orders"
        answer = httpx.post(url, json={"order": order}, timeout=60)
        assert answer.status_code in (200, 202), answer.text
        run_id: str = answer.json()["run_id"]
        return run_id

    def book(self, name: str) -> Json:
        """What the services know of an order."""
        return httpx.get(f"{self.services.url}/shop/orders/{name}", timeout=30).json()

    def stock(self) -> Counter[str]:
        return Counter(httpx.get(f"{self.services.url}/shop/stock", timeout=30).json())

    def subjects(self, name: str) -> list[str]:
        """Subjects of the mails that the customer got."""
        return [mail["subject"] for mail in self.services.mails(mail_of(name))]


def mail_of(name: str) -> str:
    return f"{name}@example.com"


def named(word: str) -> str:
    return f"{word}-{uuid4().hex[:8]}"


def undone(run: Json) -> list[tuple[str, str]]:
    """What was undone, in that order, and how it went."""
    return [(entry["path"].rsplit("/")[-1], entry["status"]) for entry in run["error"].get("compensations", [])]


@pytest.fixture
def shop(house: Product, services: Services) -> Shop:
    return Shop(house, services)


def test_an_order_that_succeeds_is_paid_once_shipped_and_confirmed(shop: Shop) -> None:
    name, before = named("good"), shop.stock()
    run_id = shop.place(name)
    assert shop.place(name) == run_id, "a shop that asks again gets the same run"
    run = ended(shop.house, run_id)
    assert run["status"] == "completed", run
    assert run["result"] == {"order": name, "payment": f"payment-{name}", "tracking": f"parcel-{name}"}
    book = shop.book(name)
    assert (book["stock"], book["charged"], book["refunded"]) == ("reserved", 2500, 0)
    assert before - shop.stock() == Counter(book=2)
    assert shop.subjects(name) == [f"Your order {name} is on its way"]


POINTS = {
    "hold": ("/inventory/orders/{}/hold", []),
    "reservation": ("/inventory/orders/{}/reservation", ["reserve_inventory", "validate_order"]),
    "charge": ("/payments/orders/{}/charge", ["process_payment", "reserve_inventory", "validate_order"]),
    "shipment": (
        "/shipping/orders/{}/shipment",
        ["ship_order", "process_payment", "reserve_inventory", "validate_order"],
    ),
    "mail": (
        "/mail/{}@example.com",
        ["send_confirmation", "ship_order", "process_payment", "reserve_inventory", "validate_order"],
    ),
}
"""Where each of the five steps can fail, and what is undone then."""


def test_whichever_step_fails_everything_before_it_is_undone_and_no_money_is_kept(shop: Shop) -> None:
    before, runs = shop.stock(), {}
    for point, (path, _) in POINTS.items():
        name = named(point)
        # A refusal for good where mail fails; an answer that is lost three times everywhere else, the work being done.
        how: Json = {"status": 550, "times": 1} if point == "mail" else {"status": 503, "times": 3, "done": True}
        method = {"hold": "POST", "charge": "POST", "mail": "MAIL"}.get(point, "PUT")
        shop.services.fail(path.format(name), method=method, **how)
        runs[point] = (name, shop.place(name))
    held = Counter[str]()
    for point, (name, run_id) in runs.items():
        run, book = ended(shop.house, run_id), shop.book(name)
        assert run["status"] == "failed", point
        assert undone(run) == [(step, "completed") for step in POINTS[point][1]], point
        assert book["charged"] == book["refunded"], point
        assert book["shipment"] is None, point
        if point == "hold":
            # A hold that nobody knows of is left to end by itself: it may be another run's.
            assert book["stock"] == "held"
            held["book"] += 2
        else:
            assert book["stock"] == "free", point
        assert shop.subjects(name) == ([f"Your order {name} is cancelled"] if point == "mail" else []), point
    assert before - shop.stock() == held
    assert shop.services.calls("/slack", channel="#orders") == []


def test_an_answer_that_is_lost_is_asked_for_again_and_the_card_is_charged_once(shop: Shop) -> None:
    name = named("lost")
    shop.services.fail(f"/payments/orders/{name}/charge", times=2, done=True)
    run = ended(shop.house, shop.place(name))
    assert run["status"] == "completed", run
    calls = shop.services.calls(f"/payments/orders/{name}/charge")
    assert [call["status"] for call in calls] == [503, 503, 201]
    assert len({call["headers"]["idempotency-key"] for call in calls}) == 1
    assert shop.book(name)["charged"] == 2500


def test_a_declined_card_is_not_tried_again(shop: Shop) -> None:
    name = named("declined")
    run = ended(shop.house, shop.place(name, sku="lamp", quantity=26))
    assert (run["status"], run["error"]["type"]) == ("failed", "http_402")
    assert len(shop.services.calls(f"/payments/orders/{name}/charge")) == 1
    assert NOTHING.items() <= shop.book(name).items()


def test_an_order_that_is_done_already_is_refused_and_stays_as_it_is(shop: Shop, house: Product) -> None:
    name = named("twice")
    assert ended(house, shop.place(name))["status"] == "completed"
    # Not through the webhook, which knows the order and answers with its run.
    order = {"id": name, "email": mail_of(name), "lines": [{"sku": "book", "quantity": 2}]}
    url = f"{house.settings.gateway_url}/v1/flows/order-saga/runs"
    started = httpx.post(url, json={"inputs": {"order": order}}, timeout=60)
    run = ended(house, started.json()["run_id"])
    assert (run["status"], run["error"]["type"]) == ("failed", "http_409")
    book = shop.book(name)
    assert (book["stock"], book["shipment"], book["charged"]) == ("reserved", f"parcel-{name}", 2500)


def test_a_compensation_that_fails_does_not_stop_the_others_and_a_person_is_called(shop: Shop) -> None:
    name = named("stuck")
    shop.services.fail(f"/shipping/orders/{name}/shipment", status=500, method="PUT")
    shop.services.fail(f"/payments/orders/{name}/refund", status=500)
    run = ended(shop.house, shop.place(name))
    assert undone(run) == [
        ("ship_order", "completed"),
        ("process_payment", "failed"),
        ("reserve_inventory", "completed"),
        ("validate_order", "completed"),
    ]
    book = shop.book(name)
    assert (book["stock"], book["charged"], book["refunded"]) == ("free", 2500, 0)
    (told,) = shop.services.calls("/slack", channel="#orders")
    assert f"Order {name} failed and was not undone completely" in told["body"]["text"]
    assert "order/process_payment" in str(told["body"])
