"""What the small pattern flows ask: suppliers, exchange rates, an archive, reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel

Json = Any
Supplier = Literal["north", "south", "west"]

router = APIRouter(prefix="/patterns")

STOCK: dict[Supplier, int] = {"north": 12, "south": 5, "west": 30}
PRICES: dict[Supplier, float] = {"north": 9.9, "south": 9.5, "west": 10.4}
VERDICTS: dict[Supplier, bool] = {"north": True, "south": True, "west": False}
RATES = {"EUR": 1.0, "KRW": 1480.0, "USD": 1.08}
_reports: dict[str, Json] = {}


class Wanted(BaseModel):
    """A report to be built."""

    month: str


@router.get("/suppliers/{supplier}/stock")
def stock(supplier: Supplier) -> Json:
    """Pieces in stock."""
    return {"pieces": STOCK[supplier]}


@router.get("/suppliers/{supplier}/price")
def price(supplier: Supplier) -> Json:
    """What one piece costs."""
    return {"supplier": supplier, "price": PRICES[supplier]}


@router.get("/suppliers/{supplier}/verdict")
def verdict(supplier: Supplier) -> Json:
    """Whether an address looks right to a supplier."""
    return {"good": VERDICTS[supplier]}


@router.get("/rates/{currency}")
def rate(currency: str) -> Json:
    """What one euro is worth."""
    return {"currency": currency, "rate": RATES.get(currency, 1.0)}


@router.get("/archive/{customer}")
def archive(customer: str) -> Json:
    """Everything a customer ever bought: a lot, and slow to gather elsewhere."""
    return {"customer": customer, "orders": [{"total": 120}, {"total": 80}]}


@router.post("/reports", status_code=201)
def report(wanted: Wanted, key: Annotated[str, Header(alias="Idempotency-Key")]) -> Json:
    """Build a report; a key that comes again gets the same one."""
    return _reports.setdefault(key, {"id": f"report-{len(_reports) + 1}", "month": wanted.month})
