"""A web shop that hands out its orders page by page. Every region has its own; orders can be put in.

An export is a snapshot: orders that change while its pages are read are in the next one. The same request for an
export, by its Idempotency-Key, is the same export."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel, Field

Json = Any
router = APIRouter(prefix="/etl")
_orders: dict[str, dict[str, Json]] = {}
_exports: dict[str, list[list[Json]]] = {}
_by_key: dict[str, str] = {}
_numbers = itertools.count(1)


class Order(BaseModel):
    """An order as the shop keeps it."""

    orderId: str
    buyer: str
    countryCode: str
    amountCents: int
    placed: str
    lastUpdate: str


class Export(BaseModel):
    """Orders that changed at ``since`` or later, so many to a page."""

    since: str = ""
    size: int = Field(default=50, ge=1, le=1000)


def _examples(region: str) -> dict[str, Json]:
    """What a region has before anybody puts anything in; only the one of the docs has any."""
    if region != "seoul":
        return {}
    made = [
        Order(
            orderId=f"W-{number:04d}",
            buyer=["Mina Park", "  jun lee ", "EVA KLEIN", "tom  hill"][number % 4],
            countryCode=["kr", "kr", "de", "us"][number % 4],
            amountCents=1990 + 35 * number,
            placed=f"2026-02-{number % 28 + 1:02d}",
            lastUpdate=f"2026-03-01T{number // 60:02d}:{number % 60:02d}:00Z",
        )
        for number in range(120)
    ]
    return {order.orderId: order.model_dump() for order in made}


def _of(region: str) -> dict[str, Json]:
    return _orders.setdefault(region, _examples(region))


@router.put("/{region}/orders", status_code=204)
def put(region: str, orders: list[Order]) -> None:
    """Put orders in, or change them."""
    _of(region).update({order.orderId: order.model_dump() for order in orders})


@router.post("/{region}/exports")
def export(region: str, wanted: Export, idempotency_key: Annotated[str, Header()] = "") -> Json:
    """``{export, pages, orders}``."""
    known = _by_key.get(idempotency_key) if idempotency_key else None
    if known is None:
        changed = [order for order in _of(region).values() if order["lastUpdate"] >= wanted.since]
        changed.sort(key=lambda order: (order["lastUpdate"], order["orderId"]))
        known = f"{region}-{next(_numbers)}"
        _exports[known] = [changed[start : start + wanted.size] for start in range(0, len(changed), wanted.size)]
        if idempotency_key:
            _by_key[idempotency_key] = known
    pages = _exports[known]
    return {"export": known, "pages": len(pages), "orders": sum(map(len, pages))}


@router.get("/exports/{export}/pages/{page}")
def page(export: str, page: int) -> Json:
    """The orders of one page; the first is 0."""
    pages = _exports.get(export)
    if pages is None or not 0 <= page < len(pages):
        raise HTTPException(404, f"export '{export}' has no page {page}")
    return {"orders": pages[page]}
