"""Functions of the customer-onboarding flow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.steps.function.handlers import discover, invoke_arguments

FUNCTIONS = discover(Path(__file__).parents[2] / "activities")
Json = Any


def call(name: str, given: Json) -> Json:
    """The function with JSON, as the worker calls it."""
    function = FUNCTIONS[name]
    return function.call(*invoke_arguments(function, [given]))


def customer(email: str, plan: str, country: str = "KR") -> Json:
    return {"email": email, "company": "Acme", "plan": plan, "country": country}


@pytest.mark.parametrize(
    ("who", "score", "reasons"),
    [
        (customer("kim@acme.example", "team"), 0, 0),
        (customer("kim@gmail.com", "starter"), 0, 0),
        (customer("kim@gmail.com", "team"), 0.35, 1),
        (customer("kim@acme.example", "enterprise"), 0.4, 1),
        (customer("kim@naver.com", "enterprise"), 0.75, 2),
        (customer("kim@acme.example", "team", "ir"), 0.75, 1),
        (customer("kim@GMAIL.com", "enterprise", "IR"), 1, 3),
    ],
)
def test_each_reason_adds_its_share_to_the_risk_up_to_certainty(who: Json, score: float, reasons: int) -> None:
    assessed = call("assess_customer_risk", {"customer": who})
    assert (assessed["score"], len(assessed["reasons"])) == (score, reasons)


def test_an_approval_says_who_and_why() -> None:
    note = call("approve_customer", {"customer": customer("kim@acme.example", "team"), "score": 0.35})
    assert note == {"by": "rules", "because": "Acme has a risk of 0.35"}
