"""A shop's stock, payments and shipping, for `order-saga`. Everything is kept by order: what arrives twice, attempts of
one step included, happens once, and what never happened can be undone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, Field

router = APIRouter()

Json = Any
Key = Annotated[str, Header(alias="Idempotency-Key")]
"""The same for all attempts of one step."""

PRICES = {"book": Decimal("12.50"), "lamp": Decimal(40), "sold-out": Decimal(5)}
STOCK = Counter({"book": 100_000, "lamp": 100_000})
LARGEST_CHARGE = Decimal(1000)
"""What a card is good for."""


class Line(BaseModel):
    """So many pieces of something."""

    sku: str
    quantity: int = Field(ge=1)


class Order(BaseModel):
    """What is bought."""

    lines: list[Line] = Field(min_length=1)


class Amount(BaseModel):
    """What is paid, in cents: money is not counted in fractions."""

    cents: int = Field(ge=1)


@dataclass
class Case:
    """What the shop knows of one order."""

    held_by: str = ""
    """Key of the request that holds the stock; empty: nobody does."""
    lines: list[Line] = field(default_factory=list)
    reserved: bool = False
    payments: list[Json] = field(default_factory=list)
    shipment: str = ""

    @property
    def charged(self) -> int:
        return sum(entry["cents"] for entry in self.payments if entry["type"] == "charge")

    @property
    def refunded(self) -> int:
        return sum(entry["cents"] for entry in self.payments if entry["type"] == "refund")


cases: dict[str, Case] = {}


def case_of(order: str) -> Case:
    return cases.setdefault(order, Case())


@router.get("/shop/stock")
def stock() -> Json:
    """Pieces of each article that nobody has taken."""
    return dict(STOCK)


@router.get("/shop/orders/{order}")
def look(order: str) -> Json:
    """Everything known of an order."""
    case = case_of(order)
    state = "reserved" if case.reserved else "held" if case.held_by else "free"
    money = {"charged": case.charged, "refunded": case.refunded}
    return {"stock": state, "shipment": case.shipment or None, "payments": case.payments} | money


@router.post("/inventory/orders/{order}/hold", status_code=201)
def hold(order: str, wanted: Order, key: Key) -> Json:
    """Check the order against list and stock, and hold its pieces while it is paid. An order that is under way or done
    already is refused."""
    case = case_of(order)
    if case.held_by not in ("", key):
        raise HTTPException(409, f"order {order} is under way or done already")
    if not case.held_by:
        for line in wanted.lines:
            if line.sku not in PRICES:
                raise HTTPException(422, f"nothing is called {line.sku}")
        pieces: Counter[str] = Counter()
        for line in wanted.lines:
            pieces[line.sku] += line.quantity
        missing = [sku for sku, quantity in pieces.items() if STOCK[sku] < quantity]
        if missing:
            raise HTTPException(409, f"not in stock: {', '.join(missing)}")
        STOCK.subtract(pieces)
        case.held_by, case.lines = key, wanted.lines
    total = sum((PRICES[line.sku] * line.quantity for line in case.lines), Decimal(0))
    return {"hold": f"hold-{order}", "cents": int(total * 100)}


@router.delete("/inventory/orders/{order}/hold")
def release(order: str) -> Json:
    """Give the held pieces back."""
    case = case_of(order)
    if case.reserved:
        raise HTTPException(409, f"the pieces of order {order} are reserved: cancel the reservation first")
    STOCK.update({line.sku: 0 for line in case.lines})
    for line in case.lines:
        STOCK[line.sku] += line.quantity
    case.held_by, case.lines = "", []
    return {"released": True}


@router.put("/inventory/orders/{order}/reservation")
def reserve(order: str) -> Json:
    """Take the held pieces off the shelf."""
    case = case_of(order)
    if not case.held_by:
        raise HTTPException(409, f"nothing is held for order {order}")
    case.reserved = True
    return {"reservation": f"reservation-{order}"}


@router.delete("/inventory/orders/{order}/reservation")
def unreserve(order: str) -> Json:
    """Put them back; they stay held."""
    case_of(order).reserved = False
    return {"cancelled": True}


@router.post("/payments/orders/{order}/charge", status_code=201)
def charge(order: str, amount: Amount, key: Key) -> Json:
    """Take the money, once for each key."""
    case = case_of(order)
    if amount.cents > LARGEST_CHARGE * 100:
        raise HTTPException(402, "the card is declined")
    if all(entry["key"] != key for entry in case.payments):
        case.payments.append({"type": "charge", "cents": amount.cents, "key": key})
    return {"payment": f"payment-{order}", "cents": amount.cents}


@router.post("/payments/orders/{order}/refund", status_code=201)
def refund(order: str) -> Json:
    """Give back what was taken and not given back yet, which may be nothing."""
    case = case_of(order)
    open_cents = case.charged - case.refunded
    if open_cents:
        case.payments.append({"type": "refund", "cents": open_cents, "key": ""})
    return {"refunded": open_cents}


@router.put("/shipping/orders/{order}/shipment")
def ship(order: str) -> Json:
    """Have it fetched."""
    case_of(order).shipment = f"parcel-{order}"
    return {"tracking": f"parcel-{order}"}


@router.delete("/shipping/orders/{order}/shipment")
def unship(order: str) -> Json:
    """Call the parcel back."""
    case_of(order).shipment = ""
    return {"cancelled": True}
