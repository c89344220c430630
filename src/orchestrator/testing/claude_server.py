"""The HTTP server behind the Claude stand-in: the Messages API on a free local port."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from orchestrator.testing.claude_persona import Persona
from orchestrator.testing.claude_replies import Answer, Reply, Request, When, as_reply

Json = Any

_REMOVED = ("temperature", "top_p", "top_k")


class ClaudeStandIn:
    """A stand-in for the Claude API that real clients talk to over HTTP.

    ``script`` holds replies, used up in order, and ``When`` rules, which come first whenever they match. When
    nothing is scripted the persona answers. A text stands for a reply with that text::

        async with ClaudeStandIn(["Hello", Reply.rate_limited(2), When("weather", "Sunny")]) as claude:
            client = AsyncAnthropic(api_key="any", base_url=claude.base_url)
            ...
            assert claude.requests[0].model == "claude-sonnet-5-5"

    Requests are checked as the API checks them: a key, the version header, the required members, no sampling
    parameters. ``requests`` logs every call to ``/v1/messages``, ``counted`` those to ``count_tokens``.
    """

    def __init__(
        self,
        script: Iterable[Answer | When] = (),
        *,
        persona: Persona | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        delay: float = 0.0,
    ) -> None:
        self.requests: list[Request] = []
        self.counted: list[Request] = []
        self._rules: list[When] = []
        self._queue: deque[Reply] = deque()
        self._persona = persona or Persona()
        self._host = host
        self._port = port
        self._delay = delay
        self._ids = itertools.count(1)
        self._cached: set[str] = set()
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.add(*script)
        self.app = Starlette(
            routes=[
                Route("/v1/messages", self._messages, methods=["POST"]),
                Route("/v1/messages/count_tokens", self._count_tokens, methods=["POST"]),
                Route("/_stand_in/requests", self._log, methods=["GET"]),
            ],
            exception_handlers={404: self._unknown_path},
        )

    @property
    def base_url(self) -> str:
        """What clients take as base URL, without ``/v1``."""
        return f"http://{self._host}:{self._port}"

    def add(self, *script: Answer | When) -> None:
        """Script more replies."""
        for entry in script:
            if isinstance(entry, When):
                self._rules.append(entry)
            else:
                self._queue.append(as_reply(entry))

    async def __aenter__(self) -> ClaudeStandIn:
        listener = socket.create_server((self._host, self._port))
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def serve_forever(self) -> None:
        """Wait until the server is stopped from outside."""
        if self._serving is not None:
            await self._serving

    async def _unknown_path(self, request: HttpRequest, error: Exception) -> Response:
        return _error(404, f"no such endpoint here: {request.method} {request.url.path}")

    async def _log(self, request: HttpRequest) -> Response:
        hidden = {"authorization", "x-api-key"}
        return JSONResponse(
            [
                {"path": heard.path, "body": heard.body}
                | {"headers": {name: value for name, value in heard.headers.items() if name not in hidden}}
                for heard in self.requests
            ]
        )

    async def _count_tokens(self, request: HttpRequest) -> Response:
        heard = await _read(request, ("model", "messages"))
        if isinstance(heard, Response):
            return heard
        self.counted.append(heard)
        return JSONResponse({"input_tokens": heard.tokens})

    async def _messages(self, request: HttpRequest) -> Response:
        heard = await _read(request, ("model", "messages", "max_tokens"))
        if isinstance(heard, Response):
            return heard
        self.requests.append(heard)
        reply = self._choose(heard)
        await asyncio.sleep(reply.delay or self._delay)
        number = next(self._ids)
        headers = {"request-id": f"req_{number:06d}"} | reply.headers
        if reply.raw is not None:
            return Response(reply.raw, reply.status, headers, media_type="application/json")
        if reply.error is not None:
            return JSONResponse({"type": "error", "error": reply.error}, reply.status, headers)
        message = self._message(heard, reply, number)
        if heard.body.get("stream"):
            return StreamingResponse(_events(message, reply), headers=headers, media_type="text/event-stream")
        if reply.stream_error is not None:
            return JSONResponse({"type": "error", "error": reply.stream_error}, 529, headers)
        return JSONResponse(message, reply.status, headers)

    def _choose(self, heard: Request) -> Reply:
        for rule in self._rules:
            said = rule.answer(heard)
            if said is not None:
                return said
        if self._queue:
            return self._queue.popleft()
        return _cut(self._persona.answer(heard), int(heard.body["max_tokens"]))

    def _message(self, heard: Request, reply: Reply, number: int) -> dict[str, Json]:
        said = sum(len(json.dumps(block.get("text", block), ensure_ascii=False)) for block in reply.content)
        return {
            "id": f"msg_{number:06d}",
            "type": "message",
            "role": "assistant",
            "model": heard.model,
            "content": list(reply.content),
            "stop_reason": reply.stop_reason,
            "stop_sequence": None,
            "stop_details": reply.stop_details,
            "usage": self._usage(heard) | {"output_tokens": (said + 3) // 4} | reply.usage,
        }

    def _usage(self, heard: Request) -> dict[str, Json]:
        """A system prompt with caching asked for is written to the cache by its first call, then read."""
        usage: dict[str, Json] = {
            "input_tokens": heard.tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        }
        if heard.system and "cache_control" in json.dumps(heard.body):
            kept = (len(heard.system) + 3) // 4
            key = f"{heard.model}\n{heard.system}"
            usage["cache_read_input_tokens" if key in self._cached else "cache_creation_input_tokens"] = kept
            usage["input_tokens"] = max(1, heard.tokens - kept)
            self._cached.add(key)
        return usage


class _Server(uvicorn.Server):
    """A server inside somebody else's process: signals are that process's business."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _error(status: int, message: str) -> Response:
    failure = Reply.failure(status, message)
    return JSONResponse({"type": "error", "error": failure.error}, status)


async def _read(request: HttpRequest, required: tuple[str, ...]) -> Request | Response:
    """The request, or the answer the API gives to a bad one."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    key = headers.get("authorization", "").removeprefix("Bearer ").strip() or headers.get("x-api-key", "")
    if not key:
        return _error(401, "Authorization: header is required")
    if "anthropic-version" not in headers:
        return _error(400, "anthropic-version: header is required")
    try:
        body = json.loads(await request.body())
    except ValueError:
        return _error(400, "The request body is not valid JSON.")
    if not isinstance(body, dict):
        return _error(400, "The request body must be an object.")
    for name in required:
        if not body.get(name):
            return _error(400, f"{name}: Field required")
    for name in _REMOVED:
        if name in body:
            return _error(400, f"{name}: this parameter is not supported")
    return Request(request.url.path, headers, body)


def _cut(reply: Reply, max_tokens: int) -> Reply:
    """A made-up text longer than the caller allows is cut as the API would."""
    text = reply.content[0].get("text", "") if reply.content else ""
    return Reply.truncated(text[: max_tokens * 4]) if len(text) > max_tokens * 4 else reply


def _event(name: str, **data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name} | data, ensure_ascii=False)}\n\n".encode()


async def _events(message: dict[str, Json], reply: Reply) -> AsyncIterator[bytes]:
    """The message as server-sent events: start, each block in a few deltas, the end or the scripted error."""
    usage = message["usage"]
    start = message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    yield _event("message_start", message=start)
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty, kind, whole = block | {"text": ""}, ("text_delta", "text"), block["text"]
        else:
            empty = block | {"input": {}}
            kind, whole = ("input_json_delta", "partial_json"), json.dumps(block["input"], ensure_ascii=False)
        yield _event("content_block_start", index=index, content_block=empty)
        for at in range(0, len(whole), 16):
            yield _event("content_block_delta", index=index, delta={"type": kind[0], kind[1]: whole[at : at + 16]})
        yield _event("content_block_stop", index=index)
    if reply.stream_error is not None:
        yield _event("error", error=reply.stream_error)
        return
    end = {
        "stop_reason": message["stop_reason"],
        "stop_sequence": None,
        "stop_details": message["stop_details"],
    }
    yield _event("message_delta", delta=end, usage=usage)
    yield _event("message_stop")
