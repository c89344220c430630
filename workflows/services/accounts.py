"""What `customer-onboarding` calls: an address check, accounts, billing and a CRM. Accounts and subscriptions belong to
the run that made them (``reference``): only that run can take them back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

router = APIRouter()

Json = Any

MONTHLY = {"starter": 20, "team": 90, "enterprise": 900}
UNDELIVERABLE = ("nowhere.example",)
"""Domains that take no mail."""


class Address(BaseModel):
    """What is checked."""

    email: str


class Account(BaseModel):
    """Whose account, on which plan."""

    reference: str
    company: str
    plan: str


class Status(BaseModel):
    """What the CRM shows of a customer."""

    status: str


accounts: dict[str, Account] = {}
subscriptions: dict[str, Account] = {}
statuses: dict[str, str] = {}


@router.post("/email-check/check")
def check(address: Address) -> Json:
    """Whether mail arrives there."""
    return {"email": address.email, "deliverable": not address.email.lower().endswith(UNDELIVERABLE)}


@router.put("/accounts/{email}")
def create_account(email: str, wanted: Account) -> Json:
    """The account of an address; one that somebody has already is refused."""
    mine = accounts.setdefault(email.lower(), wanted)
    if mine.reference != wanted.reference:
        raise HTTPException(409, f"{email} has an account")
    return {"id": f"account-{email.lower()}", "plan": mine.plan}


@router.delete("/accounts/{email}")
def delete_account(email: str, reference: str) -> Json:
    """Take it back, if it is this reference's."""
    return {"deleted": _removed(accounts, email, reference)}


@router.put("/billing/subscriptions/{email}")
def subscribe(email: str, wanted: Account) -> Json:
    """What is paid every month."""
    if wanted.plan not in MONTHLY:
        raise HTTPException(422, f"there is no plan {wanted.plan}")
    subscriptions[email.lower()] = wanted
    return {"id": f"subscription-{email.lower()}", "monthly": MONTHLY[wanted.plan]}


@router.delete("/billing/subscriptions/{email}")
def unsubscribe(email: str, reference: str) -> Json:
    """Take it back, if it is this reference's."""
    return {"deleted": _removed(subscriptions, email, reference)}


@router.put("/crm/customers/{email}/status")
def set_status(email: str, wanted: Status) -> Json:
    """Where a customer stands."""
    statuses[email.lower()] = wanted.status
    return {"email": email, "status": wanted.status}


@router.get("/customers/{email}")
def look(email: str) -> Json:
    """Everything known of an address."""
    key = email.lower()
    return {"account": key in accounts, "subscription": key in subscriptions, "status": statuses.get(key)}


def _removed(kept: dict[str, Account], email: str, reference: str) -> bool:
    found = kept.get(email.lower())
    if found is None or found.reference != reference:
        return False
    del kept[email.lower()]
    return True
