"""Functions of the `order-check` flow."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from temporalio import activity

HOME = "KR"
LARGE_ORDER = Decimal(1000)
MANY_PIECES = 20


@dataclass(frozen=True)
class Line:
    """One line of an order; ``price`` is per piece."""

    sku: str
    quantity: int
    price: Decimal


@dataclass(frozen=True)
class Order:
    """An order as the shop sends it."""

    id: str
    country: str
    lines: list[Line]


@dataclass(frozen=True)
class OrderCase:
    """What the flow passes: its ``params`` object."""

    order: Order


@activity.defn
def order_total(case: OrderCase) -> float:
    """The sum over all lines, rounded to cents."""
    return float(round(total_of(case.order), 2))


@activity.defn
def assess_order_risk(case: OrderCase) -> dict[str, object]:
    """``{score, reasons}``: 0 is harmless, 1 is certain trouble; each reason adds its share."""
    order = case.order
    shares = {
        "large order": 0.4 if total_of(order) >= LARGE_ORDER else 0.0,
        "many pieces": 0.35 if sum(line.quantity for line in order.lines) >= MANY_PIECES else 0.0,
        "foreign country": 0.2 if order.country.upper() != HOME else 0.0,
    }
    return {
        "score": round(sum(shares.values()), 2),
        "reasons": [reason for reason, share in shares.items() if share],
    }


def total_of(order: Order) -> Decimal:
    """The exact sum."""
    return sum((line.price * line.quantity for line in order.lines), Decimal(0))
