"""What a Claude call costs: US dollars per million tokens, by model, class of token and size of the prompt.

The table is what the vendor's pages said in November 2026; ``prices`` in orchestrator.yaml overrides and
extends it. A price nobody knows is never taken for zero: the cost is then ``unpriced``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.errors import TerminalError
from orchestrator.spec.base import Spec

UNPRICED = "unpriced"
_DATED = re.compile(r"-\d{8}$")


class Price(Spec):
    """Dollars per million tokens. A model has one, or a list of them with rising ``up_to``."""

    input: float = Field(ge=0, strict=False)
    output: float = Field(ge=0, strict=False)
    cache_write: float | None = Field(default=None, ge=0, strict=False)
    """Written to the five-minute cache."""
    cache_write_1h: float | None = Field(default=None, ge=0, strict=False)
    cache_read: float | None = Field(default=None, ge=0, strict=False)
    up_to: int | None = Field(default=None, gt=0)
    """Applies to prompts of at most so many tokens, the cached ones included."""


_PRICES: TypeAdapter[Price | list[Price]] = TypeAdapter(Price | list[Price])


def _price(
    input: float,  # noqa: A002 - the word of the API
    output: float,
    write: float | None = None,
    hour: float | None = None,
    read: float | None = None,
    up_to: int | None = None,
) -> Price:
    return Price(input=input, output=output, cache_write=write, cache_write_1h=hour, cache_read=read, up_to=up_to)


_OPUS_4 = (_price(5, 25, 6.25, 10, 0.50),)
_FABLE_5 = (_price(10, 50),)

PRICES: Mapping[str, tuple[Price, ...]] = {
    "claude-fable-5": _FABLE_5,
    "claude-fable-5-1": _FABLE_5,
    "claude-mythos-5": _FABLE_5,
    "claude-mythos-5-1": _FABLE_5,
    "claude-opus-5-5": (_price(4, 20, 5, 8, 0.20),),
    "claude-opus-5": (_price(5, 25, 6.25, 10, 0.50),),
    "claude-sonnet-5-5": (_price(2, 10, 2.50, 4, 0.20),),
    "claude-sonnet-5": (_price(2, 10, 2.50, 4, 0.20),),
    "claude-haiku-5-5": (
        _price(0.10, 0.50, 0.125, 0.20, up_to=100_000),
        _price(0.50, 2.50, 0.625, 1.0),
    ),
    "claude-haiku-4-5": (_price(1, 5, 1.25, 2, 0.10),),
    "claude-sonnet-4-6": (_price(3, 15, 3.75, 6, 0.30),),
    "claude-opus-4-5": _OPUS_4,
    "claude-opus-4-6": _OPUS_4,
    "claude-opus-4-7": _OPUS_4,
    "claude-opus-4-8": _OPUS_4,
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one call consumed, by class; ``input`` is without the cached tokens."""

    input: int = 0
    output: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0

    @property
    def prompt(self) -> int:
        """All tokens that went in."""
        return self.input + self.cache_write + self.cache_write_1h + self.cache_read


def price_of(model: str, prompt: int, overrides: Mapping[str, Any]) -> Price | None:
    """The price of ``model`` for a prompt of so many tokens; None when unknown. A dated id has its plain
    id's price.

    Raises TerminalError ``invalid_config`` for an entry of ``prices`` that is not a price.
    """
    plain = _DATED.sub("", model)
    for name in (model, plain):
        if name in overrides:
            return _tier(_read(name, overrides[name]), prompt)
    return _tier(PRICES.get(model) or PRICES.get(plain, ()), prompt)


def cost_of(model: str, tokens: Tokens, overrides: Mapping[str, Any]) -> float | None:
    """Dollars for one call, None when any class of token it used has no known price."""
    price = price_of(model, tokens.prompt, overrides)
    if price is None:
        return None
    parts = (
        (tokens.input, price.input),
        (tokens.output, price.output),
        (tokens.cache_write, price.cache_write),
        (tokens.cache_write_1h, price.cache_write_1h),
        (tokens.cache_read, price.cache_read),
    )
    total = 0.0
    for count, rate in parts:
        if count and rate is None:
            return None
        total += count * (rate or 0.0)
    return round(total / 1_000_000, 9)


def _read(model: str, entry: Any) -> tuple[Price, ...]:
    try:
        prices = _PRICES.validate_python(entry)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise TerminalError(
            "invalid_config",
            f"prices.{model} in orchestrator.yaml: {first['msg']}; a price is {{input, output, cache_write, "
            "cache_write_1h, cache_read}} in dollars per million tokens",
        ) from error
    return tuple(prices) if isinstance(prices, list) else (prices,)


def _tier(prices: tuple[Price, ...], prompt: int) -> Price | None:
    return next((price for price in prices if price.up_to is None or prompt <= price.up_to), None)
