"""Functions of the `customer-onboarding` flow."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity

FREE_MAIL = frozenset({"gmail.com", "outlook.com", "naver.com", "free.example"})
WATCHED = frozenset({"IR", "KP", "SY"})
"""Countries that compliance always looks at."""
LARGE = "enterprise"


@dataclass(frozen=True)
class Customer:
    """A new customer as forms and the CRM give it."""

    email: str
    company: str
    plan: str
    country: str = "KR"


@dataclass(frozen=True)
class CustomerCase:
    """What the flow passes: its ``params`` object."""

    customer: Customer


@dataclass(frozen=True)
class Approval:
    """A customer and the score that allowed it."""

    customer: Customer
    score: float


@activity.defn
def assess_customer_risk(case: CustomerCase) -> dict[str, object]:
    """``{score, reasons}``: 0 is harmless, 1 is certain trouble; each reason adds its share."""
    customer = case.customer
    domain = customer.email.rsplit("@", 1)[-1].lower()
    shares = {
        "country on the watch list": 0.75 if customer.country.upper() in WATCHED else 0.0,
        "large plan on credit": 0.4 if customer.plan == LARGE else 0.0,
        "private mail address for a paid plan": 0.35 if domain in FREE_MAIL and customer.plan != "starter" else 0.0,
    }
    score = min(1.0, sum(shares.values()))
    return {"score": round(score, 2), "reasons": [reason for reason, share in shares.items() if share]}


@activity.defn
def approve_customer(approval: Approval) -> dict[str, object]:
    """Who approved, and why: the note that an audit asks for."""
    return {"by": "rules", "because": f"{approval.customer.company} has a risk of {approval.score:g}"}
