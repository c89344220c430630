"""What the Claude stand-in says: scripted replies, and rules that pair them with requests."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from orchestrator.testing.claude_request import Request

Json = Any

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer. Build it with the named constructors; refine with ``with_thinking``, ``with_usage``,
    ``after`` and ``in_chunks``."""

    content: tuple[dict[str, Json], ...] = ()
    stop_reason: str = "end_turn"
    stop_details: dict[str, Json] | None = None
    usage: dict[str, Json] = field(default_factory=dict)
    """Overrides of what the stand-in would count."""
    status: int = 200
    error: dict[str, Json] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the first byte."""
    raw: bytes | None = None
    """Sent as the whole body, whatever it is; to a streamed request as the data of one event."""
    ending: Literal["whole", "cut", "dropped", "silent"] = "whole"
    """How the answer ends after its content: properly; without its last events; with the connection dropped; never."""
    stream_error: dict[str, Json] | None = None
    """Sent as an SSE ``error`` event after the content of a streamed reply."""
    chunk: int = 16
    """Characters of one piece of a streamed reply."""
    pause: float = 0.0
    """Seconds between the pieces."""

    @classmethod
    def text(cls, text: str, *, stop_reason: str = "end_turn") -> Reply:
        """Plain text."""
        return cls(content=({"type": "text", "text": text},), stop_reason=stop_reason)

    @classmethod
    def json(cls, value: Json) -> Reply:
        """The value as JSON text, as structured output arrives."""
        return cls.text(jsonlib.dumps(value, ensure_ascii=False))

    @classmethod
    def blocks(cls, blocks: Iterable[Mapping[str, Json]], *, stop_reason: str = "end_turn") -> Reply:
        """Content blocks as they are, known to the API or not."""
        return cls(content=tuple(dict(block) for block in blocks), stop_reason=stop_reason)

    @classmethod
    def tool_use(cls, name: str, arguments: dict[str, Json], *, text: str = "", id: str = "") -> Reply:  # noqa: A002
        """A request to call one tool. Without an ``id`` the stand-in gives it one of its own."""
        return cls.tool_uses([{"name": name, "input": arguments, "id": id}], text=text)

    @classmethod
    def tool_uses(cls, calls: Iterable[tuple[str, dict[str, Json]] | Mapping[str, Json]], *, text: str = "") -> Reply:
        """A request to call several tools at once: pairs of name and arguments, or ``{name, input, id}``."""
        blocks: list[dict[str, Json]] = [{"type": "text", "text": text}] if text else []
        for call in calls:
            named = {"name": call[0], "input": call[1]} if isinstance(call, tuple | list) else dict(call)
            blocks.append({"type": "tool_use", "id": "", "input": {}} | named)
        return cls(content=tuple(blocks), stop_reason="tool_use")

    @classmethod
    def refusal(cls, category: str = "general_harms", explanation: str = "declined") -> Reply:
        """Claude declines: HTTP 200, no content, the category in ``stop_details``."""
        details = {"type": "refusal", "category": category, "explanation": explanation}
        return cls(stop_reason="refusal", stop_details=details)

    @classmethod
    def truncated(cls, text: str) -> Reply:
        """Text that ran into ``max_tokens``."""
        return cls.text(text, stop_reason="max_tokens")

    @classmethod
    def paused(cls, text: str) -> Reply:
        """A turn to be continued by sending it back (``pause_turn``)."""
        return cls.text(text, stop_reason="pause_turn")

    @classmethod
    def failure(
        cls,
        status: int,
        message: str = "scripted failure",
        *,
        type: str | None = None,  # noqa: A002 - the word of the API
        error_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """An error answer with the API's body for ``status``."""
        error: dict[str, Json] = {"type": type or ERROR_TYPES.get(status, "api_error"), "message": message}
        if error_code:
            error["details"] = {"error_code": error_code}
        return cls(status=status, error=error, headers=dict(headers or {}))

    @classmethod
    def rate_limited(cls, retry_after: float | str | None = 1) -> Reply:
        """429, with ``retry-after`` in seconds or as an HTTP date."""
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        return cls.failure(429, "This request would exceed your rate limit.", headers=headers)

    @classmethod
    def overloaded(cls) -> Reply:
        """529."""
        return cls.failure(529, "Overloaded")

    @classmethod
    def malformed(cls, body: bytes = b'{"type": "message", "content": [') -> Reply:
        """200 with a body, or with a stream whose first event, is not JSON."""
        return cls(raw=body)

    @classmethod
    def broken_stream(
        cls,
        text: str = "",
        type: str = "overloaded_error",  # noqa: A002 - the word of the API
        message: str = "Overloaded",
    ) -> Reply:
        """A stream that says ``text`` and then an error, its HTTP status being 200 already."""
        return replace(cls.text(text), stream_error={"type": type, "message": message})

    @classmethod
    def silent(cls, text: str = "") -> Reply:
        """An answer that begins with ``text`` and then says nothing more, the connection staying open."""
        return replace(cls.text(text), ending="silent")

    @classmethod
    def dropped(cls, text: str = "") -> Reply:
        """An answer that begins with ``text``, whose connection is then dropped."""
        return replace(cls.text(text), ending="dropped")

    @classmethod
    def cut(cls, text: str = "") -> Reply:
        """A stream that begins with ``text`` and ends in good order, but too early."""
        return replace(cls.text(text), ending="cut")

    @classmethod
    def from_json(cls, spec: Mapping[str, Json]) -> Reply:
        """A reply from a script file: one of ``text``, ``json``, ``content`` (blocks), ``tool_use {name, input, id}``,
        ``tool_uses`` (a list of those), ``refusal`` (its category), ``truncated``, ``paused``, ``silent``, ``dropped``,
        ``cut`` (texts), ``broken_stream {text, type, message}``, ``malformed`` (the body, or true) and ``error {status,
        message, type, error_code, headers}``; plus ``thinking``, ``usage``, ``delay``, ``chunk``, ``pause`` and
        ``stop_reason``. Raises ValueError for anything else."""
        kinds = [kind for kind in _MAKERS if kind in spec]
        unknown = [key for key in spec if key not in _MAKERS and key not in _REFINEMENTS]
        if len(kinds) != 1 or unknown:
            wrong = f"not {', '.join(unknown)}" if unknown else f"got {' and '.join(kinds) or 'none'}"
            raise ValueError(f"a scripted reply has one of: {', '.join(_MAKERS)}; {wrong}")
        reply = _MAKERS[kinds[0]](spec[kinds[0]])
        if "thinking" in spec:
            reply = reply.with_thinking(spec["thinking"])
        reply = reply.with_usage(**spec.get("usage", {})).after(spec.get("delay", 0.0))
        reply = reply.in_chunks(spec.get("chunk", reply.chunk), pause=spec.get("pause", 0.0))
        return replace(reply, stop_reason=spec.get("stop_reason", reply.stop_reason))

    def with_thinking(self, thinking: str) -> Reply:
        """The same reply after some thinking; the stand-in signs it and wants it back as it was."""
        return replace(self, content=({"type": "thinking", "thinking": thinking}, *self.content))

    def with_usage(self, **usage: Json) -> Reply:
        """The same reply with these members of ``usage``."""
        return replace(self, usage=self.usage | usage)

    def after(self, seconds: float) -> Reply:
        """The same reply, slower."""
        return replace(self, delay=seconds)

    def in_chunks(self, characters: int, *, pause: float = 0.0) -> Reply:
        """The same reply streamed in pieces of so many characters, with so many seconds between them."""
        return replace(self, chunk=max(1, characters), pause=pause)


_MAKERS: Mapping[str, Callable[[Any], Reply]] = {
    "text": Reply.text,
    "json": Reply.json,
    "content": Reply.blocks,
    "tool_use": lambda call: Reply.tool_uses([call]),
    "tool_uses": Reply.tool_uses,
    "refusal": Reply.refusal,
    "truncated": Reply.truncated,
    "paused": Reply.paused,
    "silent": Reply.silent,
    "dropped": Reply.dropped,
    "cut": Reply.cut,
    "broken_stream": lambda spec: Reply.broken_stream(**spec),
    "malformed": lambda body: Reply.malformed() if body is True else Reply.malformed(body.encode()),
    "error": lambda spec: Reply.failure(**spec),
}
_REFINEMENTS = ("thinking", "usage", "delay", "chunk", "pause", "stop_reason", "match", "times")

Matcher = str | Callable[[Request], bool]
Answer = Reply | str
Answerer = Callable[[Request], Reply | str | None]


def as_reply(answer: Answer) -> Reply:
    """A text stands for a reply with that text."""
    return Reply.text(answer) if isinstance(answer, str) else answer


@dataclass(slots=True)
class When:
    """A rule: requests that match get this reply, whatever else is scripted.

    ``match`` is a part of the prompt or system text, or a function of the request; ``times`` is how often at
    most.
    """

    match: Matcher
    reply: Answer | Answerer
    times: int | None = None
    used: int = 0

    def answer(self, request: Request) -> Reply | None:
        """The reply, or None when this rule does not apply."""
        if self.times is not None and self.used >= self.times:
            return None
        if isinstance(self.match, str):
            applies = self.match in request.prompt or self.match in request.system
        else:
            applies = self.match(request)
        if not applies:
            return None
        said = self.reply(request) if callable(self.reply) else self.reply
        if said is None:
            return None
        self.used += 1
        return as_reply(said)


@dataclass(slots=True)
class Turns:
    """The script of a whole conversation: its first request gets the first reply, the request that holds one answer
    already the second, and so on. A request made again gets the same reply again.

    ``match`` is a part of the conversation's first user message or of the system text, or a function of the request.
    """

    match: Matcher
    replies: Sequence[Answer | Answerer]

    def answer(self, request: Request) -> Reply | None:
        """The reply, or None when this is another conversation or the script is over."""
        if isinstance(self.match, str):
            applies = self.match in request.opening or self.match in request.system
        else:
            applies = self.match(request)
        if not applies or request.turn >= len(self.replies):
            return None
        scripted = self.replies[request.turn]
        said = scripted(request) if callable(scripted) else scripted
        return None if said is None else as_reply(said)


Rule = When | Turns

_MATCHED: Mapping[str, Callable[[Request, Any], bool]] = {
    "prompt": lambda request, text: text in request.prompt,
    "opening": lambda request, text: text in request.opening,
    "system": lambda request, text: text in request.system,
    "model": lambda request, name: request.model == name,
    "tool": lambda request, name: name in request.tools,
    "turn": lambda request, number: request.turn == number,
}


def rule_from_json(spec: Mapping[str, Json]) -> Rule:
    """A rule from a script file: a reply with ``match`` (a text, or ``{prompt, opening, system, model, tool, turn}``,
    all of which must apply) and perhaps ``times``; or ``match`` and ``turns``, the replies of a conversation. Raises
    ValueError."""
    match: Matcher = _matcher(spec["match"])
    if "turns" in spec:
        return Turns(match, [Reply.from_json(reply) for reply in spec["turns"]])
    return When(match, Reply.from_json(spec), spec.get("times"))


def _matcher(spec: Json) -> Matcher:
    if isinstance(spec, str):
        return spec
    unknown = [key for key in spec if key not in _MATCHED]
    if unknown or not spec:
        raise ValueError(f"match is a text or has some of: {', '.join(_MATCHED)}; not {', '.join(unknown) or 'empty'}")
    return lambda request: all(_MATCHED[key](request, value) for key, value in spec.items())
