"""The Claude stand-in's answers on the wire: as one JSON body or as server-sent events, ending well or badly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from orchestrator.testing.claude_replies import Reply

Json = Any
Wait = Callable[[float | None], Awaitable[None]]
"""Waits so many seconds, None meaning for ever; shorter when the server ends."""

_PIECES = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "input"),
    "server_tool_use": ("input_json_delta", "input"),
}
"""Kind of block: its kind of delta, and the member that comes in pieces."""


class Answer(Response):
    """One answer with status 200, sent as its reply says."""

    def __init__(
        self, message: dict[str, Json], reply: Reply, wait: Wait, headers: dict[str, str], stream: bool
    ) -> None:
        super().__init__(None, 200, headers, "text/event-stream" if stream else "application/json")
        del self.headers["content-length"]
        self._message = message
        self._reply = reply
        self._wait = wait
        self._streamed = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for part in self._parts():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        if self._reply.ending == "silent":
            await self._wait(None)
        if self._reply.ending != "dropped":
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _parts(self) -> AsyncIterator[bytes]:
        reply = self._reply
        if reply.raw is not None:
            yield b"event: message_start\ndata: " + reply.raw + b"\n\n" if self._streamed else reply.raw
        elif self._streamed:
            for part in wire_events(self._message, reply):
                yield part
                if reply.pause:
                    await self._wait(reply.pause)
        else:
            body = json.dumps(self._message, ensure_ascii=False).encode()
            yield body if reply.ending == "whole" else body[: len(body) // 2]


def _event(name: str, **data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name} | data, ensure_ascii=False)}\n\n".encode()


def wire_events(message: dict[str, Json], reply: Reply) -> Iterator[bytes]:
    """The message as events: start, each block in pieces, the end or what the reply has in its place."""
    usage = message["usage"]
    yield _event(
        "message_start",
        message=message | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}},
    )
    yield _event("ping")
    for index, block in enumerate(message["content"]):
        yield from _block(index, block, reply.chunk)
    if reply.stream_error is not None:
        yield _event("error", error=reply.stream_error)
    elif reply.ending == "whole":
        end = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
        yield _event("message_delta", delta=end, usage=usage)
        yield _event("message_stop")


def _block(index: int, block: dict[str, Json], chunk: int) -> Iterator[bytes]:
    kind = str(block.get("type"))
    if kind not in _PIECES:
        # Blocks of other kinds come whole.
        yield _event("content_block_start", index=index, content_block=block)
        yield _event("content_block_stop", index=index)
        return
    delta, member = _PIECES[kind]
    value = block[member]
    whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    empty: dict[str, Json] = {member: "" if isinstance(value, str) else {}}
    if kind == "thinking":
        empty["signature"] = ""
    yield _event("content_block_start", index=index, content_block=block | empty)
    name = "partial_json" if member == "input" else member
    for at in range(0, len(whole), chunk):
        yield _event("content_block_delta", index=index, delta={"type": delta, name: whole[at : at + chunk]})
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": block["signature"]}
        yield _event("content_block_delta", index=index, delta=signed)
    yield _event("content_block_stop", index=index)
