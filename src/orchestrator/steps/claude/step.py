"""The ``claude`` step: one question to Claude, with attachments, structured output, a budget and the cost of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types import Message

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.claude import ClaudeConfig
from orchestrator.steps.claude.attachments import attached
from orchestrator.steps.claude.call import as_turn, check_end, connect, resolve_model, send, text_of
from orchestrator.steps.claude.schema import AnswerMismatch, api_schema, read_answer, told_schema
from orchestrator.steps.claude.spending import answer_limit, known_cost, prompt_after, spent_before, spent_tokens, tell
from orchestrator.steps.context import StepContext

Json = Any

TYPE = "claude"
CONFIG = ClaudeConfig

_PAUSES = 8
"""How often a paused turn is continued."""
_UNAVAILABLE = ("temporary_service_unavailable", "refusal")
"""Errors after which the next of ``fallback_models`` is asked; so is it when the API does not know the model."""


async def run(config: ClaudeConfig, context: StepContext) -> Json:
    """The object of ``output_schema`` where the step has one, else ``{"text": …}``. What it consumed is in
    ``context.usage``, also after a failure, with what the attempts before consumed in vain.

    Raises StepError ``rate_limit_exceeded``, ``temporary_service_unavailable``, ``network_error``,
    ``timeout``, ``invalid_output`` …; TerminalError ``missing_key``, ``max_tokens``, ``refusal``,
    ``budget_exceeded``, what is wrong with an attachment, and for requests the API refuses.
    """
    before = spent_before()
    before.pop("fallback_from", None)
    context.usage.update(before)
    try:
        return await _first_answer(config, context, before)
    except (StepError, asyncio.CancelledError):
        tell(context)
        raise


async def _first_answer(config: ClaudeConfig, context: StepContext, before: dict[str, Json]) -> Json:
    """The output that the first model gives which can."""
    sdk = await connect(context)
    opening = _opening(config, await attached(config.attachments or [], context.settings))
    failures: dict[str, StepError] = {}
    for name in (config.model, *(config.fallback_models or ())):
        model = resolve_model(name, context)
        if model in failures:
            continue
        try:
            output = await _Conversation(config, context, sdk, model, list(opening), before).output()
        except StepError as error:
            failures[model] = error
            if error.type not in _UNAVAILABLE and error.status != 404:
                break
        else:
            if failures:
                context.usage["fallback_from"] = list(failures)
            return output
    raise _failure(failures)


def _failure(failures: dict[str, StepError]) -> StepError:
    """One error for all models: the first that may pass, else the last."""
    passing = [model for model, error in failures.items() if error.retryable]
    model = (passing or list(failures)[-1:])[0]
    error = failures.pop(model)
    others = ", ".join(f"'{other}': {failed.type}" for other, failed in failures.items())
    if others:
        error.message = f"'{model}': {error.message} (and {others})"
        error.args = (error.message,)
    return error


def _opening(config: ClaudeConfig, attachments: list[Json]) -> list[Json]:
    """The conversation as it begins, attachments before the text of its newest question."""
    if config.messages is None:
        messages: list[Json] = [{"role": "user", "content": config.prompt}]
    else:
        messages = [{"role": message.role, "content": message.content} for message in config.messages]
    if attachments:
        asked = [message for message in messages if message["role"] == "user"]
        if not asked:
            raise TerminalError("invalid_config", "attachments go with a message of the user; there is none")
        said = asked[-1]["content"]
        blocks = said if isinstance(said, list) else [{"type": "text", "text": said}] if said else []
        asked[-1]["content"] = [*attachments, *blocks]
    return messages


@dataclass
class _Conversation:
    """One attempt with one model: usually one request, more for paused turns and one correction."""

    config: ClaudeConfig
    context: StepContext
    sdk: AsyncAnthropic
    model: str
    messages: list[Json]
    before: dict[str, Json]
    """The usage of earlier attempts: a budget is one attempt's."""
    newest: Message | None = None
    """The answer before the request that is made next."""

    async def output(self) -> Json:
        """The step's output from this model. Raises as ``run``."""
        schema = self.context.output_schema
        text = await self._ask()
        if schema is None:
            return {"text": text}
        try:
            return read_answer(text, schema)
        except AnswerMismatch as problem:
            self._correct(text, str(problem))
        text = await self._ask()
        try:
            return read_answer(text, schema)
        except AnswerMismatch as problem:
            raise StepError(
                "invalid_output",
                f"Claude's answer does not match output_schema, also after a correction: {problem}",
                data={"text": text[:2000]},
            ) from None

    async def _ask(self) -> str:
        """The text of Claude's whole turn."""
        said = []
        for _ in range(_PAUSES):
            request = self._request()
            request["max_tokens"] = limit = await self._within_budget(request)
            self.newest = message = await send(self.sdk, request, self.context)
            tell(self.context)
            said.append(text_of(message))
            if message.stop_reason != "pause_turn":
                check_end(message, limit, self.config.max_tokens)
                return "".join(said)
            turn = as_turn(message)
            self.messages += [turn] if turn["content"] else []
        raise TerminalError("pause_limit", f"Claude paused its turn {_PAUSES} times without ending it")

    def _correct(self, answer: str, problem: str) -> None:
        """Go on with a request to answer again."""
        self.messages += [
            {"role": "assistant", "content": answer or "(no text)"},
            {
                "role": "user",
                "content": f"That answer does not match the schema: {problem}. Answer again, JSON alone.",
            },
        ]

    def _asked_since(self) -> list[Json]:
        """What was added to the conversation after the newest answer."""
        return [message for message in self.messages[-1:] if message["role"] == "user"]

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
            tokens = budget.max_tokens - spent_tokens(usage) + spent_tokens(self.before)
        if budget is not None and budget.max_cost is not None:
            cost = budget.max_cost - known_cost(usage) + known_cost(self.before)
        # The API counts the first prompt; what comes after it is that and what was said since.
        prompt = None if self.newest is None else prompt_after(self.newest, self._asked_since())
        return await answer_limit(self.sdk, request, self.context, tokens=tokens, cost=cost, prompt=prompt)


def _cache_control(cache: bool | str) -> dict[str, str] | None:
    if cache is False:
        return None
    return {"type": "ephemeral"} | ({"ttl": cache} if isinstance(cache, str) else {})
