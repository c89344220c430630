"""How many of the people asked have to agree before a task is decided. Pure counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

Share = Annotated[int, Field(ge=1)] | Literal["majority", "all"]
"""A number of people, or a part of those who are asked."""
Quorum = Share | dict[str, Share]
"""One share for every decision but a rejection, of which one is a veto; or shares by decision, the others' being 1."""


def needs(quorum: Quorum, decisions: Sequence[str], asked: int | None, veto: str) -> dict[str, int]:
    """How many people each decision needs. ``asked`` is how many may vote, None where nobody counts them; ``veto`` is
    the decision of which one is enough unless the author says otherwise.

    Raises ValueError where a share cannot be counted, or where more are needed than are asked.
    """
    if isinstance(quorum, dict):
        shares: dict[str, Share] = {name: quorum.get(name, 1) for name in decisions}
    else:
        shares = {name: 1 if name == veto and len(decisions) > 1 else quorum for name in decisions}
    return {name: _counted(name, share, asked) for name, share in shares.items()}


def _counted(name: str, share: Share, asked: int | None) -> int:
    if isinstance(share, str):
        if asked is None:
            raise ValueError(
                f"'{share}' can be counted only of declared people: give the contact `members`, or write a number"
            )
        return max(1, asked if share == "all" else asked // 2 + 1)
    if asked is not None and share > asked:
        raise ValueError(f"'{name}' needs {share} people, and {asked} may decide")
    return share


def reached(needed: Mapping[str, int], votes: Sequence[str]) -> str | None:
    """The decision that has its number, None while there is none. Of two, the one that had it first."""
    counts = dict.fromkeys(needed, 0)
    for vote in votes:
        counts[vote] += 1
        if counts[vote] >= needed[vote]:
            return vote
    return None


def out_of_reach(needed: Mapping[str, int], votes: Sequence[str], left: int | None) -> bool:
    """Whether no decision can get its number any more from those who are ``left`` to vote; None: nobody counts them."""
    if left is None or reached(needed, votes) is not None:
        return False
    return all(votes.count(name) + left < number for name, number in needed.items())
