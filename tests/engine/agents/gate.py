"""A gate before the Claude stand-in: holds an answer back before its first byte or in the middle of its stream."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests.engine.agents.model import turn_of

Where = Literal["start", "middle"]


@dataclass
class Held:
    """One answer that is held back: the first to this turn; later ones pass."""

    where: Where
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the answer has come as far as it may."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its last byte was handed over."""
    taken: bool = False


class Gate:
    """Wraps the stand-in's app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._held: dict[tuple[str, int], Held] = {}

    def hold(self, who: str, turn: int, where: Where) -> Held:
        """Hold the answer that an agent gets in one of its turns."""
        held = self._held[(who, turn)] = Held(where)
        return held

    def open(self) -> None:
        """Hold nothing any more."""
        for held in self._held.values():
            held.taken = True
            held.go_on.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/v1/messages":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        held = self._held.get(turn_of(json.loads(body)))
        if held is None or held.taken:
            await self._app(scope, _again(body, receive), send)
            return
        held.taken = True
        pieces = 0

        async def wait(message: Message) -> None:
            nonlocal pieces
            pieces += message["type"] == "http.response.body"
            if (message["type"], held.where) == ("http.response.start", "start") or (pieces, held.where) == (
                3,
                "middle",
            ):
                held.arrived.set()
                await held.go_on.wait()
            await send(message)

        await self._app(scope, _again(body, receive), wait)
        held.sent.set()


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what comes."""
    told = False

    async def read() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return read
