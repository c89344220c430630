"""Whether and when a failed attempt is tried again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.backoff import backoff, next_delay
from orchestrator.spec.definition import Retry

DOWN = {"type": "network_error", "retryable": True}


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        (Retry(backoff="fixed", initial_interval=2), [2, 2, 2, 2]),
        (Retry(backoff="linear", initial_interval=2), [2, 4, 6, 8]),
        (Retry(backoff="exponential", initial_interval=2), [2, 4, 8, 16]),
        (Retry(backoff="exponential", initial_interval=1, multiplier=3, max_interval=5), [1, 3, 5, 5]),
        (Retry(backoff="linear", initial_interval=50), [50, 60, 60, 60]),
    ],
)
def test_each_backoff_grows_as_it_says_up_to_the_cap(policy: Retry, delays: list[float]) -> None:
    assert [backoff(policy, attempt, 0.5) for attempt in (1, 2, 3, 4)] == delays


@given(st.floats(0, 1), st.integers(1, 10**6), st.sampled_from(["fixed", "linear", "exponential"]))
def test_jitter_only_shortens_and_nothing_exceeds_the_cap(chance: float, attempt: int, kind: Any) -> None:
    whole = Retry(backoff=kind)
    assert 0 <= backoff(Retry(backoff=kind, jitter=1.0), attempt, chance) <= backoff(whole, attempt, chance) <= 60
    assert backoff(Retry(backoff=kind, jitter=0.1), attempt, chance) >= backoff(whole, attempt, chance) * 0.9 - 1e-9


def delay(policy: Retry | None = None, **given_: Any) -> float | None:
    options: dict[str, Any] = {"error": DOWN, "attempt": 1, "retry_after": None, "seconds_left": None, "chance": 0.0}
    return next_delay(Retry() if policy is None else policy, **(options | given_))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, 1),
        ({"attempt": 2}, 2),
        ({"attempt": 3}, None),
        ({"error": {"type": "http_409", "status": 409, "retryable": False}}, None),
        ({"policy": Retry(on=("http_4xx",)), "error": {"type": "x", "status": 409, "retryable": False}}, 1),
        ({"policy": Retry(on=("http_4xx",))}, None),
        ({"policy": Retry(on=("*",), not_on=("network_error",))}, None),
        ({"policy": Retry(on=("*",)), "error": {"type": "cancelled"}}, None),
        ({"retry_after": 7}, 7),
        ({"retry_after": 700}, 60),
        ({"retry_after": 0}, 0),
        ({"seconds_left": 1.0}, None),
        ({"seconds_left": 1.5}, 1),
        ({"retry_after": 30, "seconds_left": 20}, None),
    ],
)
def test_an_attempt_is_repeated_as_long_as_the_policy_the_error_and_the_time_allow(
    given_: dict[str, Any], expected: float | None
) -> None:
    assert delay(**given_) == expected


def test_without_a_policy_nothing_is_repeated() -> None:
    assert next_delay(None, DOWN, 1, retry_after=None, seconds_left=None, chance=0.0) is None
