"""How many have to agree: counted by a table, and held against a plain recount by properties."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.quorum import needs, out_of_reach, reached

BOTH = ("approve", "reject")


@pytest.mark.parametrize(
    ("quorum", "decisions", "asked", "needed"),
    [
        (2, BOTH, 3, {"approve": 2, "reject": 1}),
        (2, BOTH, None, {"approve": 2, "reject": 1}),
        ("majority", BOTH, 4, {"approve": 3, "reject": 1}),
        ("majority", BOTH, 5, {"approve": 3, "reject": 1}),
        ("all", BOTH, 3, {"approve": 3, "reject": 1}),
        ({"approve": 2, "reject": 2}, BOTH, 3, {"approve": 2, "reject": 2}),
        ({"approve": "majority"}, BOTH, 3, {"approve": 2, "reject": 1}),
        ({"ship": "all", "reject": "majority"}, ("ship", "hold", "reject"), 5, {"ship": 5, "hold": 1, "reject": 3}),
        (2, ("reject",), 3, {"reject": 2}),
    ],
)
def test_a_quorum_says_how_many_each_decision_needs(
    quorum: Any, decisions: tuple[str, ...], asked: int | None, needed: dict[str, int]
) -> None:
    assert needs(quorum, decisions, asked, "reject") == needed


@pytest.mark.parametrize(
    ("quorum", "asked", "says"),
    [
        (4, 3, "'approve' needs 4 people, and 3 may decide"),
        ({"reject": 2}, 1, "'reject' needs 2 people, and 1 may decide"),
        (1, 0, "and 0 may decide"),
        ("all", None, "give the contact `members`"),
        ({"approve": "majority"}, None, "or write a number"),
    ],
)
def test_a_quorum_that_nobody_could_count_or_reach_is_refused(quorum: Any, asked: int | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        needs(quorum, BOTH, asked, "reject")


@pytest.mark.parametrize(
    ("needed", "votes", "decision"),
    [
        ({"approve": 2, "reject": 1}, [], None),
        ({"approve": 2, "reject": 1}, ["approve"], None),
        ({"approve": 2, "reject": 1}, ["approve", "approve"], "approve"),
        ({"approve": 2, "reject": 1}, ["approve", "reject"], "reject"),
        ({"approve": 2, "reject": 2}, ["reject", "approve", "approve", "reject"], "approve"),
    ],
)
def test_the_first_decision_that_has_its_number_decides(
    needed: dict[str, int], votes: list[str], decision: str | None
) -> None:
    assert reached(needed, votes) == decision


@given(
    needed=st.fixed_dictionaries({name: st.integers(1, 5) for name in "abc"}),
    votes=st.lists(st.sampled_from("abc"), max_size=8),
    left=st.integers(0, 4),
)
def test_counting_agrees_with_a_recount(needed: dict[str, int], votes: list[str], left: int) -> None:
    full = [name for name, number in needed.items() if Counter(votes)[name] >= number]
    assert (reached(needed, votes) is None) == (not full)
    assert reached(needed, votes) in [*full, None]
    # More votes never take a decision back, and what is out of reach is reached by no way the rest may vote.
    assert full == [] or reached(needed, [*votes, "a", "b", "c"]) == reached(needed, votes)
    alone = [reached(needed, votes + [name] * left) for name in "abc"]
    assert out_of_reach(needed, votes, left) == (not full and alone == [None] * 3)
    assert not out_of_reach(needed, votes, None)
