"""What the Claude stand-in hears and says: one request, one scripted reply, and rules that pair them."""

from __future__ import annotations

import contextlib
import json as jsonlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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


def texts_of(content: Json) -> str:
    """The text in a message's or system's ``content``: plain text, or the text blocks joined by newlines."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(block["text"]) for block in content if isinstance(block, dict) and "text" in block)
    return ""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived. ``headers`` have lower-case names."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Json]

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body.get("model", ""))

    @property
    def system(self) -> str:
        """The text of the system prompt."""
        return texts_of(self.body.get("system"))

    @property
    def prompt(self) -> str:
        """The text of the newest user message."""
        messages = self.body.get("messages") or []
        users = [message for message in messages if isinstance(message, dict) and message.get("role") == "user"]
        return texts_of(users[-1].get("content")) if users else ""

    @property
    def schema(self) -> dict[str, Json] | None:
        """The JSON Schema the answer must have: ``output_config.format``, or what the system prompt says after
        ``JSON Schema:``. None when free text is wanted."""
        form = (self.body.get("output_config") or {}).get("format") or {}
        schema = form.get("schema")
        _, told, text = self.system.partition("JSON Schema:")
        if schema is None and told:
            with contextlib.suppress(ValueError):
                schema, _ = jsonlib.JSONDecoder().raw_decode(text.lstrip())
        return schema if isinstance(schema, dict) else None

    @property
    def tokens(self) -> int:
        """What the stand-in counts for this request: a token for every four characters, tools included."""
        heard = [
            self.system,
            *(texts_of(message.get("content")) for message in self.body.get("messages") or []),
        ]
        if self.body.get("tools"):
            heard.append(jsonlib.dumps(self.body["tools"]))
        return max(1, sum((len(text) + 3) // 4 for text in heard))


@dataclass(frozen=True, slots=True)
class Reply:
    """One scripted answer. Build it with the named constructors; refine with ``with_usage`` and ``after``."""

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
    """Sent as the whole body, whatever it is."""
    stream_error: dict[str, Json] | None = None
    """Sent as an SSE ``error`` event after the content of a streamed reply."""

    @classmethod
    def text(cls, text: str, *, stop_reason: str = "end_turn") -> Reply:
        """Plain text."""
        return cls(content=({"type": "text", "text": text},), stop_reason=stop_reason)

    @classmethod
    def json(cls, value: Json) -> Reply:
        """The value as JSON text, as structured output arrives."""
        return cls.text(jsonlib.dumps(value, ensure_ascii=False))

    @classmethod
    def tool_use(cls, name: str, arguments: dict[str, Json], *, text: str = "", id: str = "toolu_1") -> Reply:  # noqa: A002
        """A request to call one tool. For several, join the ``content`` of several replies."""
        said = ({"type": "text", "text": text},) if text else ()
        call = {"type": "tool_use", "id": id, "name": name, "input": arguments}
        return cls(content=(*said, call), stop_reason="tool_use")

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
        """200 with a body that is not JSON."""
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
    def from_json(cls, spec: Mapping[str, Json]) -> Reply:
        """A reply from a script file: one of ``text``, ``json``, ``tool_use {name, input}``, ``refusal``
        (its category), ``error {status, message, type, error_code, headers}``, plus ``usage``, ``delay`` and
        ``stop_reason``."""
        if "error" in spec:
            reply = cls.failure(**spec["error"])
        elif "refusal" in spec:
            reply = cls.refusal(spec["refusal"])
        elif "tool_use" in spec:
            reply = cls.tool_use(spec["tool_use"]["name"], spec["tool_use"].get("input", {}))
        elif "json" in spec:
            reply = cls.json(spec["json"])
        elif "text" in spec:
            reply = cls.text(spec["text"])
        else:
            raise ValueError("a scripted reply has one of: text, json, tool_use, refusal, error")
        reply = reply.with_usage(**spec.get("usage", {})).after(spec.get("delay", 0.0))
        return replace(reply, stop_reason=spec.get("stop_reason", reply.stop_reason))

    def with_usage(self, **usage: Json) -> Reply:
        """The same reply with these members of ``usage``."""
        return replace(self, usage=self.usage | usage)

    def after(self, seconds: float) -> Reply:
        """The same reply, slower."""
        return replace(self, delay=seconds)


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
