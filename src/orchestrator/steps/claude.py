"""The ``claude`` step: one question to Claude, with structured output, a budget and the cost of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from anthropic import AsyncAnthropic

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.claude import ClaudeConfig
from orchestrator.steps.claude_call import as_turn, check_end, connect, resolve_model, send, text_of
from orchestrator.steps.claude_schema import AnswerMismatch, api_schema, read_answer, told_schema
from orchestrator.steps.claude_spending import answer_limit, spent_tokens
from orchestrator.steps.context import StepContext

Json = Any

TYPE = "claude"
CONFIG = ClaudeConfig

_PAUSES = 8
"""How often a paused turn is continued."""


async def run(config: ClaudeConfig, context: StepContext) -> Json:
    """The object of ``output_schema`` where the step has one, else ``{"text": …}``. What it consumed is in
    ``context.usage``, also after a failure.

    Raises StepError ``rate_limit_exceeded``, ``temporary_service_unavailable``, ``network_error``,
    ``timeout``, ``invalid_output`` …; TerminalError ``missing_key``, ``max_tokens``, ``refusal``,
    ``budget_exceeded`` and for requests the API refuses.
    """
    call = _Call(config, context, await connect(context), resolve_model(config.model, context))
    text = await call.ask()
    if context.output_schema is None:
        return {"text": text}
    try:
        return read_answer(text, context.output_schema)
    except AnswerMismatch as problem:
        call.correct(text, str(problem))
    text = await call.ask()
    try:
        return read_answer(text, context.output_schema)
    except AnswerMismatch as problem:
        raise StepError(
            "invalid_output",
            f"Claude's answer does not match output_schema, also after a correction: {problem}",
            data={"text": text[:2000]},
        ) from None


@dataclass
class _Call:
    """The conversation of one attempt: usually one request, more for paused turns and one correction."""

    config: ClaudeConfig
    context: StepContext
    sdk: AsyncAnthropic
    model: str
    messages: list[Json] = field(default_factory=list)

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
            request["max_tokens"] = limit = await self._within_budget(request)
            message = await send(self.sdk, request, self.context)
            said.append(text_of(message))
            if message.stop_reason != "pause_turn":
                check_end(message, limit, self.config.max_tokens)
                return "".join(said)
            self.messages.append(as_turn(message))
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
        request: dict[str, Json] = {
            "model": self.model,
            "max_tokens": config.max_tokens,
            "messages": self.messages,
        }
        output: dict[str, Json] = {}
        system = config.system
        if schema is not None:
            held = api_schema(schema)
            if held is not None:
                output["format"] = {"type": "json_schema", "schema": held}
            else:
                told = told_schema(schema)
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
        budget, usage = self.config.budget, self.context.usage
        tokens = cost = None
        if budget is not None and budget.max_tokens is not None:
            tokens = budget.max_tokens - spent_tokens(usage)
        if budget is not None and budget.max_cost is not None:
            spent = usage.get("cost", 0.0)
            cost = budget.max_cost - (spent if isinstance(spent, float | int) else 0.0)
        return await answer_limit(self.sdk, request, self.context, tokens=tokens, cost=cost)


def _cache_control(cache: bool | str) -> dict[str, str] | None:
    if cache is False:
        return None
    return {"type": "ephemeral"} | ({"ttl": cache} if isinstance(cache, str) else {})
