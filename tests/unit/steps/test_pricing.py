"""What a call costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.prices import Price, Prices, shipped_prices, tiers_of
from orchestrator.steps.claude.pricing import Service, Tokens, cost_of, price_of

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "tokens", "dollars"),
    [
        ("claude-sonnet-5-5", Tokens(input=MILLION), 2.0),
        ("claude-sonnet-5-5", Tokens(output=MILLION), 10.0),
        ("claude-sonnet-5-5", Tokens(cache_write=MILLION), 2.5),
        ("claude-sonnet-5-5", Tokens(cache_write_1h=MILLION), 4.0),
        ("claude-opus-5-5", Tokens(cache_read=MILLION), 0.2),
        ("claude-haiku-5-5", Tokens(input=100_000), 0.01),
        ("claude-haiku-5-5", Tokens(input=100_001), 0.0500005),
        ("claude-haiku-4-5-20251001", Tokens(input=MILLION), 1.0),
    ],
)
def test_each_class_of_token_has_its_price(model: str, tokens: Tokens, dollars: float) -> None:
    assert cost_of(model, tokens, {}) == pytest.approx(dollars)


def test_cached_tokens_count_for_the_size_of_the_prompt() -> None:
    below, above = price_of("claude-haiku-5-5", 100_000, {}), price_of("claude-haiku-5-5", 100_001, {})
    assert below is not None
    assert above is not None
    assert (below.input, above.input) == (0.10, 0.50)
    assert Tokens(input=1, cache_write=2, cache_write_1h=3, cache_read=4).prompt == 10


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("claude-fable-5-2", Tokens(input=1)), ("claude-haiku-5-5", Tokens(cache_read=1)), ("", Tokens())],
)
def test_a_price_nobody_knows_is_not_zero(model: str, tokens: Tokens) -> None:
    assert cost_of(model, tokens, {}) is None


def test_the_project_overrides_single_keys_and_extends_the_table() -> None:
    prices: Prices = {
        "claude-sonnet-5-5": Price(input=1),
        "claude-haiku-5-5": Price(cache_read=0.01),
        "claude-opus-5": [Price(input=7, output=7)],
        "house-model": [Price(input=1, output=1, up_to=10), Price(input=3, output=1)],
    }
    assert cost_of("claude-sonnet-5-5", Tokens(input=MILLION), prices) == 1.0
    assert cost_of("claude-sonnet-5-5", Tokens(output=MILLION), prices) == 10.0
    assert cost_of("claude-haiku-5-5", Tokens(cache_read=MILLION), prices) == pytest.approx(0.01)
    assert cost_of("claude-haiku-5-5", Tokens(input=MILLION), prices) == pytest.approx(0.5), "tiers stay"
    assert cost_of("claude-opus-5", Tokens(cache_read=1), prices) is None, "a list replaces the whole"
    assert cost_of("house-model", Tokens(input=10), prices) == pytest.approx(0.00001)
    assert cost_of("house-model", Tokens(input=11), prices) == pytest.approx(0.000033)


@pytest.mark.parametrize(
    ("service", "dollars"),
    [
        (Service(), 4.0),
        (Service(tier="standard", geo="global", speed="standard"), 4.0),
        (Service(tier="batch"), 2.0),
        (Service(geo="us"), 4.4),
        (Service(speed="fast"), 8.0),
        (Service(tier="batch", geo="us"), 2.2),
    ],
)
def test_how_a_call_was_served_has_its_factor(service: Service, dollars: float) -> None:
    assert cost_of("claude-opus-5-5", Tokens(input=MILLION), {}, service) == pytest.approx(dollars)


def test_a_factor_nobody_knows_is_not_one() -> None:
    fast = Service(speed="fast")
    assert cost_of("claude-sonnet-5-5", Tokens(input=1), {}, fast) is None
    assert cost_of("claude-sonnet-5-5", Tokens(input=MILLION), {"claude-sonnet-5-5": Price(fast=3)}, fast) == 6.0


def test_every_shipped_price_is_whole() -> None:
    for model in shipped_prices():
        tiers = tiers_of(model, {})
        assert all(tier.input is not None and tier.output is not None for tier in tiers), model
        assert [tier.up_to is None for tier in tiers] == [*[False] * (len(tiers) - 1), True], model


@given(st.sampled_from(sorted(shipped_prices())), st.integers(0, 10**7), st.integers(0, 10**6))
def test_more_tokens_never_cost_less(model: str, prompt: int, output: int) -> None:
    one, more = (cost_of(model, Tokens(input=prompt, output=output + extra), {}) for extra in (0, 1))
    assert one is not None
    assert more is not None
    assert 0 <= one <= more
