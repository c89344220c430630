"""What models cost: the table that ships with the product and what ``prices`` in orchestrator.yaml makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import Field, TypeAdapter

from orchestrator.spec.base import Spec
from orchestrator.spec.findings import Findings, suggestion

_TABLE = Path(__file__).with_name("prices.yaml")
_DATED = re.compile(r"-\d{8}$")


class Price(Spec):
    """US dollars per million tokens of one model. What is left out is as in the shipped table, else unknown."""

    input: float | None = Field(default=None, ge=0, strict=False)
    output: float | None = Field(default=None, ge=0, strict=False)
    cache_write: float | None = Field(default=None, ge=0, strict=False)
    """Written to the five-minute cache."""
    cache_write_1h: float | None = Field(default=None, ge=0, strict=False)
    cache_read: float | None = Field(default=None, ge=0, strict=False)
    batch: float | None = Field(default=None, ge=0, strict=False)
    """Factor for calls served as a batch; 0.5 unless said otherwise."""
    us: float | None = Field(default=None, ge=0, strict=False)
    """Factor for calls with ``inference_geo: us``; 1.1 unless said otherwise."""
    fast: float | None = Field(default=None, ge=0, strict=False)
    """Factor for calls at ``speed: fast``."""
    up_to: int | None = Field(default=None, gt=0)
    """In a list of prices: this one is for prompts of at most so many tokens, the cached ones included."""


Prices = Mapping[str, Price | list[Price]]
_ENTRIES: TypeAdapter[dict[str, Price | list[Price]]] = TypeAdapter(dict[str, Price | list[Price]])


@lru_cache(maxsize=1)
def shipped_prices() -> Prices:
    """The table that comes with this release."""
    return _ENTRIES.validate_python(yaml.safe_load(_TABLE.read_text(encoding="utf-8")))


def tiers_of(model: str, prices: Prices) -> tuple[Price, ...]:
    """The prices of a model by size of prompt, empty when none are known. ``prices`` are the project's: a mapping
    replaces single keys of the shipped price (of each of its tiers), a list replaces it whole. A dated id has the price
    of the plain one."""
    shipped = _named(model, shipped_prices())
    own = _named(model, prices)
    if own is None:
        return _listed(shipped)
    if shipped is None or isinstance(own, list):
        return _listed(own)
    said = {key: value for key, value in own.model_dump().items() if value is not None}
    return tuple(tier.model_copy(update=said) for tier in _listed(shipped))


def check_prices(prices: Prices, findings: Findings) -> None:
    """Report entries of ``prices`` in orchestrator.yaml that leave a model without a usable price."""
    for model, entry in prices.items():
        for index, tier in enumerate(tiers_of(model, prices)):
            path = ("prices", model, index) if isinstance(entry, list) else ("prices", model)
            missing = [key for key in ("input", "output") if getattr(tier, key) is None]
            if missing:
                hint = f"in dollars per million tokens; the shipped table does not know `{model}`"
                near = suggestion(model, shipped_prices())
                if near and near.startswith("did"):
                    hint = near
                findings.error(path, f"the price of `{model}` needs `{'` and `'.join(missing)}`", hint)
        if isinstance(entry, list):
            _check_order(model, entry, findings)
        elif entry.up_to is not None:
            findings.error(("prices", model, "up_to"), "`up_to` belongs in a list of prices", key=True)


def _check_order(model: str, entries: Sequence[Price], findings: Findings) -> None:
    before = 0
    for index, tier in enumerate(entries):
        last = index == len(entries) - 1
        if tier.up_to is None and not last:
            findings.error(("prices", model, index), "only the last price of a list goes without `up_to`")
        elif tier.up_to is not None and tier.up_to <= before:
            findings.error(("prices", model, index, "up_to"), "the prices of a list stand in rising order of `up_to`")
        before = tier.up_to or before
    if not entries:
        findings.error(("prices", model), "the list has no price")


def _named(model: str, prices: Prices) -> Price | list[Price] | None:
    return prices[model] if model in prices else prices.get(_DATED.sub("", model))


def _listed(entry: Price | list[Price] | None) -> tuple[Price, ...]:
    if entry is None:
        return ()
    return tuple(entry) if isinstance(entry, list) else (entry,)
