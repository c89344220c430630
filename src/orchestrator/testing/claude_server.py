"""The HTTP server behind the Claude stand-in: the Messages API on a free local port."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.testing.claude_checks import cacheable, problem_with, signature_of
from orchestrator.testing.claude_persona import Persona
from orchestrator.testing.claude_replies import Answer, Reply, Rule, Turns, When, as_reply
from orchestrator.testing.claude_request import Request
from orchestrator.testing.claude_stream import Answer as Sent

Json = Any

_GRACE = 1.0
"""Seconds that answers in flight have when the server is stopped."""
_MOMENT = 0.01


class ClaudeStandIn:
    """A stand-in for the Claude API that real clients talk to over HTTP.

    ``script`` holds replies, used up in order, and rules (``When``, ``Turns``), which come first whenever they match.
    When nothing is scripted the persona answers. A text stands for a reply with that text::

        async with ClaudeStandIn(["Hello", Reply.rate_limited(2), When("weather", "Sunny")]) as claude:
            client = AsyncAnthropic(api_key="any", base_url=claude.base_url)
            ...
            assert claude.requests[0].model == "claude-sonnet-5-5"

    Requests are checked as the API checks them: a key, the version header, the required members, no sampling
    parameters, well-formed tools, attachments and conversations (``claude_checks``); with ``models`` every other model
    is a 404. ``requests`` logs every call to ``/v1/messages`` that was well-formed, ``counted`` those to
    ``count_tokens``, ``refused`` the reasons of every 400.
    """

    def __init__(
        self,
        script: Iterable[Answer | Rule] = (),
        *,
        persona: Persona | None = None,
        models: Collection[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        delay: float = 0.0,
    ) -> None:
        self.requests: list[Request] = []
        self.counted: list[Request] = []
        self.refused: list[str] = []
        self._models = models
        self._rules: list[Rule] = []
        self._thoughts: dict[str, list[Json]] = {}
        self._closing = asyncio.Event()
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

    def add(self, *script: Answer | Rule) -> None:
        """Script more replies."""
        for entry in script:
            if isinstance(entry, When | Turns):
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
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None and self._serving is not None:
            self._closing.set()
            self._server.should_exit = True
            self._server.stopped.set()
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
        heard = await self._read(request, ("model", "messages"))
        if isinstance(heard, Response):
            return heard
        self.counted.append(heard)
        return JSONResponse({"input_tokens": heard.tokens})

    async def _messages(self, request: HttpRequest) -> Response:
        heard = await self._read(request, ("model", "messages", "max_tokens"))
        if isinstance(heard, Response):
            return heard
        self.requests.append(heard)
        reply = self._choose(heard)
        if reply.delay or self._delay:
            await self._wait(reply.delay or self._delay)
        number = next(self._ids)
        headers = {"request-id": f"req_{number:06d}"} | reply.headers
        stream = bool(heard.body.get("stream"))
        if reply.error is not None:
            return JSONResponse({"type": "error", "error": reply.error}, reply.status, headers)
        if reply.stream_error is not None and not stream:
            return JSONResponse({"type": "error", "error": reply.stream_error}, 529, headers)
        return Sent(self.message(heard, reply, number), reply, self._wait, headers, stream)

    async def _wait(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _read(self, request: HttpRequest, required: tuple[str, ...]) -> Request | Response:
        """The request, or the answer the API gives to a bad one."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        key = headers.get("authorization", "").removeprefix("Bearer ").strip() or headers.get("x-api-key", "")
        if not key:
            return _error(401, "Authorization: header is required")
        try:
            body = json.loads(await request.body())
        except ValueError:
            return self._refuse("The request body is not valid JSON.")
        problem = _missing(headers, body, required) or problem_with(body, self._thoughts)
        if problem is not None:
            return self._refuse(problem)
        if self._models is not None and body["model"] not in self._models:
            return _error(404, f"model: {body['model']}")
        return Request(request.url.path, headers, body)

    def _refuse(self, why: str) -> Response:
        self.refused.append(why)
        return _error(400, why)

    def _choose(self, heard: Request) -> Reply:
        for rule in self._rules:
            said = rule.answer(heard)
            if said is not None:
                return said
        if self._queue:
            return self._queue.popleft()
        return _cut(self._persona.answer(heard), int(heard.body["max_tokens"]))

    def message(self, heard: Request, reply: Reply, number: int) -> dict[str, Json]:
        """The message of the API that a reply becomes: named, signed, counted."""
        content = [self._block(block, f"toolu_{number:06d}_{index}") for index, block in enumerate(reply.content)]
        thought = [block for block in content if block.get("type") == "thinking"]
        if thought:
            self._thoughts |= {block["id"]: thought for block in content if block.get("type") == "tool_use"}
        said = sum(len(json.dumps(block.get("text", block), ensure_ascii=False)) for block in content)
        return {
            "id": f"msg_{number:06d}",
            "type": "message",
            "role": "assistant",
            "model": heard.model,
            "content": content,
            "stop_reason": reply.stop_reason,
            "stop_sequence": None,
            "stop_details": reply.stop_details,
            "usage": self._usage(heard) | {"output_tokens": (said + 3) // 4} | reply.usage,
        }

    def _block(self, block: dict[str, Json], name: str) -> dict[str, Json]:
        """A block as the API says it: tool calls named, thinking signed."""
        if block.get("type") == "tool_use" and not block.get("id"):
            return block | {"id": name}
        if block.get("type") == "thinking" and "signature" not in block:
            return block | {"signature": signature_of(block["thinking"])}
        return block

    def _usage(self, heard: Request) -> dict[str, Json]:
        """A system prompt with caching asked for is written to the cache by its first call, then read."""
        tokens = heard.tokens
        usage: dict[str, Json] = {
            "input_tokens": tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        }
        if heard.system and any(part.get("cache_control") for part in cacheable(heard.body)):
            kept = (len(heard.system) + 3) // 4
            key = f"{heard.model}\n{heard.system}"
            usage["cache_read_input_tokens" if key in self._cached else "cache_creation_input_tokens"] = kept
            usage["input_tokens"] = max(1, tokens - kept)
            self._cached.add(key)
        return usage


class _Server(uvicorn.Server):
    """A server inside somebody else's process: signals are that process's business, and it ends at once, not at the
    next tenth of a second: tests start and stop many."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.stopped = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(int(_GRACE / _MOMENT)):
            if not self.server_state.connections and not self.server_state.tasks:
                return
            await asyncio.sleep(_MOMENT)
        for task in self.server_state.tasks:
            task.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _error(status: int, message: str) -> Response:
    failure = Reply.failure(status, message)
    return JSONResponse({"type": "error", "error": failure.error}, status)


def _missing(headers: Mapping[str, str], body: Json, required: tuple[str, ...]) -> str | None:
    if "anthropic-version" not in headers:
        return "anthropic-version: header is required"
    if not isinstance(body, dict):
        return "The request body must be an object."
    return next((f"{name}: Field required" for name in required if not body.get(name)), None)


def _cut(reply: Reply, max_tokens: int) -> Reply:
    """A made-up text longer than the caller allows is cut as the API would."""
    text = reply.content[0].get("text", "") if reply.content else ""
    return Reply.truncated(text[: max_tokens * 4]) if len(text) > max_tokens * 4 else reply
