"""Whether and when a failed attempt is tried again (FLOW_FORMAT §6, ENGINE §6). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.spec.definition import Retry
from orchestrator.spec.filters import matches


def next_delay(
    policy: Retry | None,
    error: Mapping[str, Any],
    attempt: int,
    *,
    retry_after: float | None,
    seconds_left: float | None,
    chance: float,
) -> float | None:
    """Seconds until the next attempt, or None where there is none: the policy is used up, the error is not one it
    names, or the wait would end after the step's total time. ``chance`` is a random number from 0 to 1."""
    if policy is None or attempt >= policy.max_attempts:
        return None
    if not matches(policy.on, error) or matches(policy.not_on, error):
        return None
    wanted = backoff(policy, attempt, chance) if retry_after is None else retry_after
    delay = min(policy.max_interval, wanted)
    return None if seconds_left is not None and delay >= seconds_left else delay


def backoff(policy: Retry, attempt: int, chance: float) -> float:
    """The policy's own wait after ``attempt`` (1 is the first try), jitter included."""
    match policy.backoff:
        case "fixed":
            delay = policy.initial_interval
        case "linear":
            delay = policy.initial_interval * attempt
        case "exponential":
            delay = policy.initial_interval * policy.multiplier ** min(attempt - 1, 64)
    delay = min(delay, policy.max_interval)
    # Full jitter spreads over the whole delay, a share of it only around the end.
    return delay * (1 - policy.jitter * chance)
