"""What a call costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import TerminalError
from orchestrator.steps.pricing import PRICES, Tokens, cost_of, price_of

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


def test_the_project_overrides_and_extends_the_table() -> None:
    prices: dict[str, Any] = {
        "claude-sonnet-5-5": {"input": 1, "output": 1},
        "house-model": [{"input": 1, "output": 1, "up_to": 10}, {"input": 3, "output": 1}],
    }
    assert cost_of("claude-sonnet-5-5", Tokens(input=MILLION), prices) == 1.0
    assert cost_of("house-model", Tokens(input=10), prices) == pytest.approx(0.00001)
    assert cost_of("house-model", Tokens(input=11), prices) == pytest.approx(0.000033)


@pytest.mark.parametrize(
    "entry", [{"input": 1}, {"input": -1, "output": 1}, "cheap", {"input": 1, "output": 1, "x": 1}]
)
def test_an_entry_that_is_no_price_names_itself(entry: Any) -> None:
    with pytest.raises(TerminalError, match=r"prices\.m in orchestrator\.yaml"):
        cost_of("m", Tokens(), {"m": entry})


@given(st.sampled_from(sorted(PRICES)), st.integers(0, 10**7), st.integers(0, 10**6))
def test_more_tokens_never_cost_less(model: str, prompt: int, output: int) -> None:
    one, more = (cost_of(model, Tokens(input=prompt, output=output + extra), {}) for extra in (0, 1))
    assert one is not None
    assert more is not None
    assert 0 <= one <= more
