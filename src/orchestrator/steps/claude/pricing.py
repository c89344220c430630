"""What a Claude call costs, by model, class of token, size of the prompt and how it was served. A price nobody knows is
never taken for zero: the cost is then ``unpriced``."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.spec.prices import Price, Prices, tiers_of

UNPRICED = "unpriced"
_BATCH, _US = 0.5, 1.1
"""Factors of models that name none."""


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


@dataclass(frozen=True, slots=True)
class Service:
    """How a call was served, in the words of the API's ``usage``."""

    tier: str | None = None
    geo: str | None = None
    speed: str | None = None


def price_of(model: str, prompt: int, prices: Prices) -> Price | None:
    """The price of ``model`` for a prompt of so many tokens; None when unknown. ``prices`` are the project's."""
    fitting = (tier for tier in tiers_of(model, prices) if tier.up_to is None or prompt <= tier.up_to)
    return next(fitting, None)


def cost_of(model: str, tokens: Tokens, prices: Prices, service: Service | None = None) -> float | None:
    """Dollars for one call, None when any class of token it used, or the way it was served, has no known price."""
    price = price_of(model, tokens.prompt, prices)
    factor = None if price is None else _factor(price, service or Service())
    if price is None or factor is None or price.input is None or price.output is None:
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
    return round(total * factor / 1_000_000, 9)


def _factor(price: Price, service: Service) -> float | None:
    factor = 1.0
    if service.tier == "batch":
        factor *= _BATCH if price.batch is None else price.batch
    if service.geo == "us":
        factor *= _US if price.us is None else price.us
    if service.speed == "fast":
        if price.fast is None:
            return None
        factor *= price.fast
    return factor
