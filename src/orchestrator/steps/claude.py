"""The ``claude`` step: one question to Claude, with structured output, a budget and the cost of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types import Message

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.claude import ClaudeConfig
from orchestrator.spec.inputs import check_json
from orchestrator.steps.claude_errors import SDK_ERRORS, step_error
from orchestrator.steps.claude_schema import api_schema
from orchestrator.steps.context import StepContext
from orchestrator.steps.pricing import UNPRICED, Tokens, cost_of, price_of

Json = Any

TYPE = "claude"
CONFIG = ClaudeConfig

DEFAULT_MODEL = "claude-sonnet-5-5"
_PAUSES = 8
"""How often a paused turn is continued."""
_TIMEOUT = 600.0
"""Seconds for one HTTP exchange; the step's own timeout is usually shorter."""
_FENCE = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL)


class _Repairable(Exception):
    """The answer does not match the schema; the text says how."""


class _Api:
    """The SDK client of one worker."""

    def __init__(self, key: str, base_url: str | None) -> None:
        # Both are given so that the SDK never looks for credentials or addresses by itself; Temporal retries.
        self.sdk = AsyncAnthropic(
            api_key=key, base_url=base_url or "https://api.anthropic.com", max_retries=0, timeout=_TIMEOUT
        )

    async def aclose(self) -> None:
        await self.sdk.close()


async def run(config: ClaudeConfig, context: StepContext) -> Json:
    """The object of ``output_schema`` where the step has one, else ``{"text": …}``. What it consumed is in
    ``context.usage``, also after a failure.

    Raises StepError ``rate_limit_exceeded``, ``temporary_service_unavailable``, ``network_error``,
    ``timeout``, ``invalid_output`` …; TerminalError ``missing_key``, ``max_tokens``, ``refusal``,
    ``budget_exceeded`` and for requests the API refuses.
    """
    call = _Call(config, context, await _connect(context), _model(config, context))
    text = await call.ask()
    if context.output_schema is None:
        return {"text": text}
    try:
        return _parsed(text, context.output_schema)
    except _Repairable as problem:
        call.correct(text, str(problem))
    text = await call.ask()
    try:
        return _parsed(text, context.output_schema)
    except _Repairable as problem:
        raise StepError(
            "invalid_output",
            f"Claude's answer does not match output_schema, also after a correction: {problem}",
            data={"text": text[:2000]},
        ) from None


async def _connect(context: StepContext) -> AsyncAnthropic:
    key = context.settings.anthropic_api_key
    if not key:
        raise TerminalError(
            "missing_key",
            "no key for Claude: set ANTHROPIC_API_KEY for the worker; to try without one, start the stand-in "
            "(python -m orchestrator.testing.claude_stand_in), set ANTHROPIC_BASE_URL to its URL and any key",
        )

    async def opener() -> _Api:
        return _Api(key, context.settings.anthropic_base_url)

    return (await context.resources.shared("claude", opener)).sdk


def _model(config: ClaudeConfig, context: StepContext) -> str:
    """The model id, aliases resolved."""
    aliases = context.project.models
    name = config.model or "default"
    if name in aliases:
        return str(aliases[name])
    return DEFAULT_MODEL if config.model is None else name


@dataclass
class _Call:
    """The conversation of one attempt: usually one request, more for paused turns and one correction."""

    config: ClaudeConfig
    context: StepContext
    sdk: AsyncAnthropic
    model: str
    messages: list[Json] = field(default_factory=list)
    spent_tokens: int = 0
    spent_cost: float = 0.0

    def __post_init__(self) -> None:
        given = self.config.messages
        if given is None:
            self.messages = [{"role": "user", "content": self.config.prompt}]
        else:
            self.messages = [{"role": message.role, "content": message.content} for message in given]

    async def ask(self) -> str:
        """The text of Claude's whole turn."""
        said = []
        for _ in range(_PAUSES):
            request = self._request()
            limit = await self._within_budget(request)
            try:
                message = await self.sdk.messages.create(**request | {"max_tokens": limit})
            except SDK_ERRORS as error:
                raise step_error(error) from error
            self._record(message)
            said.append("".join(block.text for block in message.content if block.type == "text"))
            if message.stop_reason != "pause_turn":
                self._check_end(message, limit)
                return "".join(said)
            self.messages.append(message.to_param())
        raise TerminalError("pause_limit", f"Claude paused its turn {_PAUSES} times without ending it")

    def correct(self, answer: str, problem: str) -> None:
        """Go on with a request to answer again."""
        self.messages += [
            {"role": "assistant", "content": answer or "(no text)"},
            {
                "role": "user",
                "content": f"That answer does not match the schema: {problem}. Answer again, JSON alone.",
            },
        ]

    def _request(self) -> dict[str, Json]:
        config, schema = self.config, self.context.output_schema
        request: dict[str, Json] = {"model": self.model, "messages": self.messages}
        output: dict[str, Json] = {}
        system = config.system
        if schema is not None:
            held = api_schema(schema)
            if held is not None:
                output["format"] = {"type": "json_schema", "schema": held}
            else:
                told = json.dumps(schema, ensure_ascii=False)
                told = f"Answer with JSON alone, valid for this JSON Schema:\n{told}"
                system = f"{system}\n\n{told}" if system else told
        if config.effort is not None:
            output["effort"] = config.effort
        optional: dict[str, Json] = {
            "system": system,
            "output_config": output or None,
            "stop_sequences": config.stop,
            "thinking": {"type": config.thinking} if isinstance(config.thinking, str) else config.thinking,
            "cache_control": _cache_control(config.cache),
        }
        return request | {name: value for name, value in optional.items() if value is not None}

    async def _within_budget(self, request: dict[str, Json]) -> int:
        """How many tokens the next answer may have. Raises TerminalError when the budget cannot pay for
        it."""
        budget, limit = self.config.budget, self.config.max_tokens
        if budget is None:
            return limit
        counted = {name: value for name, value in request.items() if name != "stop_sequences"}
        try:
            prompt = (await self.sdk.messages.count_tokens(**counted)).input_tokens
        except SDK_ERRORS as error:
            raise step_error(error) from error
        if budget.max_tokens is not None:
            limit = min(limit, budget.max_tokens - self.spent_tokens - prompt)
        if budget.max_cost is not None:
            limit = min(limit, self._affordable(prompt, budget.max_cost - self.spent_cost))
        if limit < 1:
            raise TerminalError(
                "budget_exceeded",
                f"the budget does not cover a prompt of {prompt} tokens: raise 'budget' or send less",
                data={
                    "prompt_tokens": prompt,
                    "spent_tokens": self.spent_tokens,
                    "spent_cost": self.spent_cost,
                },
            )
        return limit

    def _affordable(self, prompt: int, left: float) -> int:
        price = price_of(self.model, prompt, self.context.project.prices)
        if price is None:
            raise TerminalError(
                UNPRICED,
                f"budget.max_cost needs a price for '{self.model}': add it under prices in orchestrator.yaml",
            )
        rates = [price.input]
        if self.config.cache:
            rates += [rate for rate in (price.cache_write, price.cache_write_1h) if rate is not None]
        after_prompt = left * 1_000_000 - prompt * max(rates)
        return int(after_prompt / price.output) if price.output else self.config.max_tokens * (after_prompt >= 0)

    def _record(self, message: Message) -> None:
        """Add one call to the step's usage."""
        usage = message.usage
        hour = usage.cache_creation.ephemeral_1h_input_tokens if usage.cache_creation is not None else 0
        written = usage.cache_creation_input_tokens or 0
        if usage.cache_creation is None and self.config.cache == "1h":
            hour = written
        tokens = Tokens(
            input=usage.input_tokens,
            output=usage.output_tokens,
            cache_write=max(0, written - hour),
            cache_write_1h=hour,
            cache_read=usage.cache_read_input_tokens or 0,
        )
        cost = cost_of(message.model or self.model, tokens, self.context.project.prices)
        self.spent_tokens += tokens.prompt + tokens.output
        self.spent_cost += cost or 0.0
        self._add(tokens, written, cost, message.model or self.model)

    def _add(self, tokens: Tokens, written: int, cost: float | None, model: str) -> None:
        total = self.context.usage
        counts = {
            "input_tokens": tokens.input,
            "output_tokens": tokens.output,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": tokens.cache_read,
            "calls": 1,
        }
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
        total["model"] = model
        known = total.get("cost", 0.0)
        total["cost"] = UNPRICED if cost is None or known == UNPRICED else round(known + cost, 9)

    def _check_end(self, message: Message, limit: int) -> None:
        """Raise unless Claude ended its turn as it should."""
        match message.stop_reason:
            case "refusal":
                details = message.stop_details
                category = details.category if details is not None else None
                why = f": {details.explanation}" if details is not None and details.explanation else ""
                raise TerminalError(
                    "refusal",
                    f"Claude declined to answer ({category or 'no category'}){why}",
                    data={"category": category},
                )
            case "max_tokens" if limit < self.config.max_tokens:
                raise TerminalError(
                    "budget_exceeded",
                    f"the budget left {limit} tokens for the answer, it needs more: raise 'budget'",
                )
            case "max_tokens":
                raise TerminalError(
                    "max_tokens", f"the answer did not fit in max_tokens: {limit}; raise it or ask for less"
                )
            case "model_context_window_exceeded":
                raise TerminalError(
                    "model_context_window_exceeded",
                    f"prompt and answer exceed what '{self.model}' can hold: send less or use a larger one",
                )
            case _:
                return


def _cache_control(cache: bool | str) -> dict[str, str] | None:
    if cache is False:
        return None
    return {"type": "ephemeral"} | ({"ttl": cache} if isinstance(cache, str) else {})


def _parsed(text: str, schema: dict[str, Json]) -> Json:
    """The JSON value in ``text``. Raises _Repairable when it is not JSON or does not match."""
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except ValueError as error:
        raise _Repairable(f"it is not JSON ({error})") from error
    problems = check_json(schema, value)
    if problems:
        listed = "; ".join(f"{problem.field or 'the answer'}: {problem.message}" for problem in problems[:5])
        raise _Repairable(listed)
    return value
