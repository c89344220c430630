"""Flows made up at random do on the engine what the format says they do, also where the run continues as new at every
step. More of them: ``pytest tests/engine/flows/test_oracle.py --hypothesis-profile=chaos``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.flows.generator import flows
from tests.engine.flows.stage import Playing
from tests.engine.flows.walks import Step

CHAOS = settings.get_current_profile_name() == "chaos"
CHOICES = st.lists(st.integers(0, 5), min_size=1, max_size=5)


def examples(usual: int, chaos: int) -> settings:
    """The same ones every time, unless chaos is asked for."""
    return settings(
        max_examples=chaos if CHAOS else usual,
        derandomize=not CHAOS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(1800 if CHAOS else 120)
def test_a_flow_calls_skips_compensates_and_ends_as_the_format_says(playing: Playing) -> None:
    @examples(40, 500)
    @given(flows(), CHOICES)
    def check(flow: Step, choices: list[int]) -> None:
        playing(flow, choices)

    check()


@pytest.mark.timeout(1800 if CHAOS else 120)
def test_a_flow_does_the_same_where_its_run_continues_as_new_all_the_time(playing: Playing) -> None:
    @examples(25, 300)
    @given(flows(races=False), CHOICES, st.sampled_from((1, 1, 7, 12, 20, 30)))
    def check(flow: Step, choices: list[int], after: int) -> None:
        playing(flow, choices, drains=True, continue_after=after)

    check()


def act(name: str, fails: int = 0, **around: Any) -> Step:
    """A call that fails so often."""
    params = {"fails": fails, "type": "red", "terminal": False}
    return {"id": name, "type": "function", "config": {"handler": "act", "params": params}, "retry": "none"} | around


def step(name: str, type_: str, config: dict[str, Any], **around: Any) -> Step:
    """Any other step."""
    return {"id": name, "type": type_, "config": config} | around


ONCE_DIFFERED: dict[str, list[Step]] = {
    "a branch whose failure was handled leaves the race": [
        step("p", "parallel", {"branches": [act("a", 9, on_error="continue"), act("b")]}),
        act("c"),
    ],
    "a count out of reach because of a skip is a failure of the parallel": [
        step("p", "parallel", {"branches": [act("a"), act("b", **{"if": False})], "wait_for": 2}),
    ],
}
"""What such flows once found, by what it was."""


@pytest.mark.parametrize("name", ONCE_DIFFERED)
def test_what_once_differed_stays_the_same(playing: Playing, name: str) -> None:
    flow = {"id": "once", "vars": {"n": 0}, "steps": ONCE_DIFFERED[name]}
    playing(flow, [0])
    playing(flow, [1])
