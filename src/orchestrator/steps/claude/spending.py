"""What calls of Claude have consumed, and what a budget leaves for the next one."""

from __future__ import annotations

import json
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types import Message, Usage
from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.steps.claude.errors import SDK_ERRORS, failure_of
from orchestrator.steps.claude.pricing import UNPRICED, Service, Tokens, cost_of, price_of
from orchestrator.steps.context import StepContext

Json = Any

_SPENT = "spent"
_UNCOUNTED = ("max_tokens", "stop_sequences", "metadata", "service_tier", "inference_geo", "speed")
"""Members of a request that the counting of its tokens does not take."""


def add_usage(context: StepContext, request: dict[str, Json], message: Message) -> None:
    """Add what one answer consumed to ``context.usage``: tokens by class, calls, the model that answered, and the cost
    in dollars, ``unpriced`` once a part of it has no known price."""
    tokens = _tokens(message, request)
    model = str(message.model or request["model"])
    cost = None
    if tokens is not None:
        usage = message.usage
        service = Service(usage.service_tier, usage.inference_geo, usage.speed)
        cost = cost_of(model, tokens, context.project.prices, service)
    known = tokens or Tokens()
    total = context.usage
    counts = {
        "input_tokens": known.input,
        "output_tokens": known.output,
        "cache_creation_input_tokens": known.cache_write + known.cache_write_1h,
        "cache_read_input_tokens": known.cache_read,
        "calls": 1,
    }
    for name, count in counts.items():
        total[name] = total.get(name, 0) + count
    total["model"] = model
    so_far = total.get("cost", 0.0)
    total["cost"] = UNPRICED if cost is None or so_far == UNPRICED else round(so_far + cost, 9)


def spent_before() -> dict[str, Json]:
    """The usage that earlier attempts of this activity told with ``tell``: Temporal keeps the newest heartbeat of a
    failed or lost attempt, and nothing else of it once the next succeeds. Empty for express steps, which have none."""
    details = activity.info().heartbeat_details if activity.in_activity() else ()
    told = details[-1] if details else None
    spent = told.get(_SPENT) if isinstance(told, dict) else None
    return dict(spent) if isinstance(spent, dict) else {}


def tell(context: StepContext, **progress: Json) -> None:
    """Tell Temporal how far the attempt is and what it has consumed so far."""
    if activity.in_activity():
        activity.heartbeat({_SPENT: dict(context.usage)} | progress)


def spent_tokens(usage: dict[str, Json]) -> int:
    """All tokens of a usage, in and out."""
    names = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    return sum(int(usage.get(name) or 0) for name in names)


def prompt_after(message: Message, more: list[Json]) -> int | None:
    """How many tokens the prompt has, at most, that follows an answer and adds some messages; None when the answer
    does not say."""
    tokens = _tokens(message, {})
    if tokens is None:
        return None
    # A token is at least one byte.
    added = len(json.dumps(more, ensure_ascii=False).encode()) if more else 0
    return tokens.prompt + tokens.output + added


def known_cost(usage: dict[str, Json]) -> float:
    """The dollars of a usage; 0 where they are not known."""
    cost = usage.get("cost", 0.0)
    return float(cost) if isinstance(cost, float | int) else 0.0


async def answer_limit(
    sdk: AsyncAnthropic,
    request: dict[str, Json],
    context: StepContext,
    *,
    tokens: int | None,
    cost: float | None,
    prompt: int | None = None,
) -> int:
    """How many tokens the answer to ``request`` may have when so many tokens and dollars are left: its ``max_tokens``
    or fewer. The prompt is counted by the API, unless nothing is limited or ``prompt`` is known.

    Raises TerminalError ``budget_exceeded`` where the prompt alone is too much and ``unpriced`` where money is limited
    and the model's price unknown; StepError where counting fails.
    """
    limit = int(request["max_tokens"])
    if tokens is None and cost is None:
        return limit
    if prompt is None:
        prompt = await _counted(sdk, request, context)
    if tokens is not None:
        limit = min(limit, tokens - prompt)
    if cost is not None:
        limit = min(limit, _affordable(request, prompt, cost, context))
    if limit < 1:
        raise TerminalError(
            "budget_exceeded",
            f"the budget does not cover a prompt of {prompt} tokens: raise it or send less",
            data={
                "prompt_tokens": prompt,
                "spent_tokens": spent_tokens(context.usage),
                "spent_cost": context.usage.get("cost", 0.0),
            },
        )
    return limit


async def _counted(sdk: AsyncAnthropic, request: dict[str, Json], context: StepContext) -> int:
    counted = {name: value for name, value in request.items() if name not in _UNCOUNTED}
    try:
        return (await sdk.messages.count_tokens(**counted)).input_tokens
    except SDK_ERRORS as error:
        raise failure_of(error, request, context) from error


def _affordable(request: dict[str, Json], prompt: int, left: float, context: StepContext) -> int:
    """Tokens of an answer that ``left`` dollars pay for, the prompt taken at its dearest class."""
    model = str(request["model"])
    price = price_of(model, prompt, context.project.prices)
    if price is None or price.input is None or price.output is None:
        raise TerminalError(
            UNPRICED, f"a limit on cost needs a price for '{model}': add it under prices in orchestrator.yaml"
        )
    rates = [price.input]
    if request.get("cache_control"):
        rates += [rate for rate in (price.cache_write, price.cache_write_1h) if rate is not None]
    after_prompt = left * 1_000_000 - prompt * max(rates)
    if price.output:
        return int(after_prompt / price.output)
    return int(request["max_tokens"]) if after_prompt >= 0 else 0


def _tokens(message: Message, request: dict[str, Json]) -> Tokens | None:
    """What an answer says it consumed; None when it does not say, or not in numbers: the SDK checks nothing."""
    usage: Usage | None = getattr(message, "usage", None)
    if not isinstance(usage, Usage):
        return None
    parts = usage.cache_creation
    written = usage.cache_creation_input_tokens or 0
    by_hour = written if (request.get("cache_control") or {}).get("ttl") == "1h" else 0
    hour = by_hour if parts is None else getattr(parts, "ephemeral_1h_input_tokens", 0)
    counts = (usage.input_tokens, usage.output_tokens, written, hour, usage.cache_read_input_tokens or 0)
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        return None
    return Tokens(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cache_write=max(0, written - hour),
        cache_write_1h=hour,
        cache_read=usage.cache_read_input_tokens or 0,
    )
