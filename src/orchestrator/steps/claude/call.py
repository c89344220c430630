"""One call of Claude: connect, stream the answer, count it, and say in types how it failed.

The ``claude`` step and the turns of agents are built on it. In order: ``connect``, ``resolve_model``, a ``request`` of
plain JSON as the Messages API takes it, ``answer_limit`` of ``spending`` where there is a budget, ``send``,
``check_end``, and ``as_turn`` for what goes into the conversation.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx2
from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient
from anthropic.lib.streaming import AsyncMessageStream
from anthropic.types import Message
from pydantic import BaseModel, model_validator

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.models import resolve_alias
from orchestrator.steps.claude.errors import SDK_ERRORS, brief, failure_of
from orchestrator.steps.claude.spending import add_usage, tell
from orchestrator.steps.context import StepContext

Json = Any

_CONNECT_SECONDS = 10.0
_PROGRESS_EVERY = 2.0
"""Seconds between two reports of progress."""
_BROKEN = (ValueError, TypeError, LookupError, AttributeError, RuntimeError)
"""What the SDK is known to raise over a stream whose events are not what the API promises."""


class _Api:
    """The SDK client of one worker."""

    def __init__(self, key: str, address: str, silence: float) -> None:
        # Both are given so that the SDK never looks for credentials or addresses by itself; Temporal retries.
        self.sdk = AsyncAnthropic(
            api_key=key,
            base_url=address,
            max_retries=0,
            timeout=httpx2.Timeout(silence, connect=_CONNECT_SECONDS),
            http_client=_directly(urlsplit(address).hostname or ""),
        )

    async def aclose(self) -> None:
        await self.sdk.close()


def _directly(host: str) -> httpx2.AsyncClient | None:
    """A client that reaches a stand-in on this machine past the proxies of the environment; None where they apply."""
    if host != "localhost" and not host.startswith("127."):
        return None
    return DefaultAsyncHttpxClient(mounts={f"all://{host}": None})


async def connect(context: StepContext) -> AsyncAnthropic:
    """The SDK client that all steps of this worker share. Raises TerminalError ``missing_key``, and ``invalid_config``
    for an ANTHROPIC_BASE_URL that is none."""
    settings = context.settings
    key = settings.anthropic_api_key
    if not key:
        raise TerminalError(
            "missing_key",
            "no key for Claude: set ANTHROPIC_API_KEY for the worker; to try without one, start the stand-in "
            "(python -m orchestrator.testing.claude_stand_in), set ANTHROPIC_BASE_URL to its URL and any key",
        )

    async def opener() -> _Api:
        address = settings.anthropic_base_url or "https://api.anthropic.com"
        try:
            if not address.startswith(("http://", "https://")):
                raise ValueError("it does not begin with http:// or https://")
            return _Api(key, address, settings.claude_silence)
        except (ValueError, httpx2.InvalidURL) as error:
            raise TerminalError("invalid_config", f"ANTHROPIC_BASE_URL={address} cannot be used: {error}") from error

    return (await context.resources.shared("claude", opener)).sdk


def resolve_model(name: str | None, context: StepContext) -> str:
    """The model id for what an author wrote: an alias of ``models`` in orchestrator.yaml, or an id; None is the alias
    ``default``."""
    return resolve_alias(name, context.project.models)


async def send(sdk: AsyncAnthropic, request: dict[str, Json], context: StepContext) -> Message:
    """The answer to one request (members of the Messages API, ``max_tokens`` included), streamed; how far it is goes
    out as heartbeat details. What it consumed is added to ``context.usage``, also where the answer breaks off.

    Raises StepError (``rate_limit_exceeded``, ``temporary_service_unavailable``, ``network_error``, ``timeout`` …) or
    TerminalError (``authentication_error``, ``not_found_error``, ``invalid_request_error`` …); refusals and cut
    answers are answers: ``check_end`` judges them.
    """
    try:
        async with _stream(sdk, request) as stream:
            message = await _heard(stream, request, context)
    except SDK_ERRORS as error:
        raise failure_of(error, request, context) from error
    add_usage(context, request, message)
    return message


def check_end(message: Message, limit: int, wanted: int) -> None:
    """Raise TerminalError unless Claude ended its answer as it should; asking for tools, pausing and reasons that are
    yet unknown are good ends. ``limit`` is the ``max_tokens`` of the request, ``wanted`` what the author allows: where
    a budget made the limit smaller, a cut answer is ``budget_exceeded``."""
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
        case "max_tokens" if limit < wanted:
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
                f"prompt and answer exceed what '{message.model}' can hold: send less or use a larger one",
            )
        case _:
            return


def as_turn(message: Message) -> dict[str, Json]:
    """The answer as the message of a conversation, in plain JSON, every block as it arrived: blocks of thinking must
    go back unchanged, and blocks this release does not know must not be lost. Only empty texts are left out, which the
    API says and does not take back."""
    blocks = [block.to_dict(mode="json", warnings=False) for block in message.content]
    return {"role": "assistant", "content": [block for block in blocks if block.get("text") or block["type"] != "text"]}


def text_of(message: Message) -> str:
    """The text of an answer, its blocks joined."""
    # By the word, not the class: the SDK reads blocks it does not know into the class that comes first.
    return "".join(block.text or "" for block in message.content if block.type == "text")


def _stream(sdk: AsyncAnthropic, request: dict[str, Json]) -> Any:
    """The SDK's stream, not yet started. It warns of retired models on the worker's stderr, where no author looks:
    `validate` says it at the line of the flow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sdk.messages.stream(**request)


async def _heard(stream: AsyncMessageStream[None], request: dict[str, Json], context: StepContext) -> Message:
    """The whole answer. Raises StepError where the stream breaks off, goes silent or is none."""
    begun: Message | None = None
    clock = asyncio.get_running_loop().time
    seen, told = 0, clock()
    try:
        async for event in stream:
            if begun is None and event.type == "message_start":
                begun = stream.current_message_snapshot
            elif event.type == "content_block_delta":
                seen += _length(event.delta)
                if clock() - told >= _PROGRESS_EVERY:
                    told = clock()
                    tell(context, model=request["model"], output_tokens=seen // 4)
        if begun is None or begun.stop_reason is None:
            raise StepError("network_error", "Claude's answer broke off before its end")
        _Answer.model_validate(begun.to_dict(mode="json", warnings=False))
        return begun
    except (StepError, asyncio.CancelledError, anthropic.AnthropicError, httpx2.HTTPError, *_BROKEN) as error:
        if begun is not None:
            # What was read and written until then is paid for.
            add_usage(context, request, begun)
        if isinstance(error, _BROKEN) and not isinstance(error, json.JSONDecodeError):
            raise StepError(
                "network_error", f"Claude's answer was not what the API promises: {brief(error)}"
            ) from error
        raise


class _Block(BaseModel):
    """What is relied upon in a block of content: the SDK checks nothing."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Json = None

    @model_validator(mode="after")
    def _whole(self) -> _Block:
        if self.type == "tool_use" and not (self.id and self.name and isinstance(self.input, dict)):
            raise ValueError("a tool call needs id, name and input")
        return self


class _Answer(BaseModel):
    """What is relied upon in an answer."""

    model: str
    content: list[_Block]
    stop_reason: str


def _length(delta: Any) -> int:
    """Characters in a piece of an answer, whatever it is a piece of."""
    return max(len(getattr(delta, name, None) or "") for name in ("text", "thinking", "partial_json"))
