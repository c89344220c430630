"""Functions that flows call by name. A function is an ordinary Temporal activity: typed argument in, JSON out."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity

LIMIT = 100


@dataclass(frozen=True)
class Expense:
    """What was spent, and on what."""

    amount: float
    purpose: str


@activity.defn
def assess_expense(expense: Expense) -> dict[str, bool | str]:
    """Whether a person has to approve it, and why, as ``{needs_approval, reason}``."""
    needs_approval = expense.amount > LIMIT
    compared = "is more than" if needs_approval else "is at most"
    return {"needs_approval": needs_approval, "reason": f"{expense.amount:g} {compared} {LIMIT}"}
