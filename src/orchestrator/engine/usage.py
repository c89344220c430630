"""What model calls consumed, summed up over the calls of an agent."""

from __future__ import annotations

from orchestrator.spec.definition import Json

UNPRICED = "unpriced"
"""The cost where a model has no price."""
_TOKENS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")

Usage = dict[str, Json]


def add(total: Usage, more: Json) -> None:
    """Add one call's usage: numbers are summed, a cost nobody knows makes the sum unknown, of the rest the newest
    stays."""
    if not isinstance(more, dict):
        return
    for name, value in more.items():
        known = total.get(name)
        if name == "cost" and UNPRICED in (known, value):
            total[name] = UNPRICED
        elif _is_number(value) and _is_number(known):
            total[name] = round(known + value, 9) if isinstance(known + value, float) else known + value
        else:
            total[name] = value


def tokens(usage: Usage) -> int:
    """Tokens in and out together, cached ones included."""
    return sum(usage.get(name) or 0 for name in _TOKENS)


def cost(usage: Usage) -> float:
    """US dollars, as far as they are known."""
    known = usage.get("cost", 0.0)
    return float(known) if _is_number(known) else 0.0


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
