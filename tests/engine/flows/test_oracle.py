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


@pytest.mark.timeout(1800 if CHAOS else 300)
def test_a_flow_calls_skips_compensates_and_ends_as_the_format_says(playing: Playing) -> None:
    @examples(100, 1500)
    @given(flows(), CHOICES)
    def check(flow: Step, choices: list[int]) -> None:
        playing(flow, choices)

    check()


@pytest.mark.timeout(1800 if CHAOS else 300)
def test_a_flow_does_the_same_where_its_run_continues_as_new_all_the_time(playing: Playing) -> None:
    @examples(30, 800)
    @given(flows(races=False), CHOICES, st.sampled_from((1, 1, 7, 12, 20, 30)))
    def check(flow: Step, choices: list[int], after: int) -> None:
        playing(flow, choices, drains=True, continue_after=after)

    check()


def act(name: str, fails: int = 0, seen: str = "", **around: Any) -> Step:
    """A call that fails so often, and shows the output of a step."""
    params: dict[str, Any] = {"fails": fails, "type": "red", "terminal": False}
    if seen:
        params["seen"] = f"{{{{ steps.{seen}.output | default('none') }}}}"
    return {"id": name, "type": "function", "config": {"handler": "act", "params": params}, "retry": "none"} | around


def step(name: str, type_: str, config: dict[str, Any], **around: Any) -> Step:
    """Any other step."""
    return {"id": name, "type": type_, "config": config} | around


FAIL = step("f", "fail", {"type": "blue", "message": "told to"})
TWICE = {"max_attempts": 2, "initial_interval": "1ms", "on": ["*"]}
ONCE_DIFFERED: dict[str, list[Step]] = {
    "a branch whose failure was handled leaves the race": [
        step("p", "parallel", {"branches": [act("a", 9, on_error="continue"), act("b")]}),
        act("c"),
    ],
    "a count out of reach because of a skip is a failure of the parallel": [
        step("p", "parallel", {"branches": [act("a"), act("b") | {"if": False}], "wait_for": 2}),
    ],
    "what a body did that was run again is undone too, once": [
        step("p", "try", {"steps": [act("a", compensate=[act("u", seen="a")]), FAIL], "retry": TWICE}),
    ],
    "a pass that has begun ends, also where `until` ended the loop beside it": [
        step(
            "p", "for-each", {"items": [1, 2, 3], "concurrency": 2, "until": "item == 1", "steps": [act("x"), act("y")]}
        ),
    ],
    "what was attempted and then done is undone once": [
        step("p", "try", {"steps": [act("a", 1, compensate=[act("u")], compensate_on="attempted")], "retry": TWICE}),
        FAIL,
    ],
    "a parallel names its first failure": [
        step("p", "parallel", {"branches": [act("a"), act("b", 9), act("c", 9)], "on_failure": "finish_all"}),
    ],
    "a failed handler of an error is a failure": [
        step(
            "p", "parallel", {"branches": [act("a", 9, on_error=[act("b", 9)]), act("c")], "on_failure": "finish_all"}
        ),
    ],
}
"""What such flows once found, by what it was."""
CANCELS = ("a count out of reach because of a skip is a failure of the parallel",)
"""Where a drain changes what is begun before it is cancelled."""


@pytest.mark.parametrize("name", ONCE_DIFFERED)
def test_what_once_differed_stays_the_same(playing: Playing, name: str) -> None:
    handlers = {"fallback": [act("back", seen="p")], "finally": [act("last", seen="p")]}
    flow = {"id": "once", "vars": {"n": 0}, "steps": ONCE_DIFFERED[name], "error_handling": handlers}
    for first in (0, 1):
        playing(flow, [first])
    if name not in CANCELS:
        playing(flow, [0], drains=True, continue_after=1)
