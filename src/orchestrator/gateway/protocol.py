"""HTTP/1.1 as the gateway speaks it: uvicorn's, with an end to how much a request may say before its body, and how
long it may take to say it. uvicorn itself would wait for ever and keep all of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD = 64 * 1024
"""Bytes of the address and all headers."""
MOST_HEADERS = 200
HEAD_SECONDS = 30.0
"""In which a head has to be here, from the first byte of the connection or request on."""
_TOO_LARGE = f"the address and headers of a request have at most {LARGEST_HEAD} bytes in {MOST_HEADERS} headers"
_TOO_SLOW = f"the headers were not here after {HEAD_SECONDS:g}s"


class _HeadTooLarge(Exception):
    """The parser is told to stop."""


def _answer(status: int, phrase: str, code: str, detail: str) -> bytes:
    problem = {"type": f"urn:orchestrator:problem:{code}", "title": phrase, "status": status, "detail": detail}
    body = json.dumps(problem).encode()
    head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class BoundedProtocol(HttpToolsProtocol):
    """Refuses a head that is too large with 431 and one that is too slow with 408, and closes the connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_request = False
        self._received = 0
        """Bytes since the head began, or since the last of the body came: what the parser keeps of a header that does
        not end is seen nowhere else, and headers may follow a body in chunks."""
        self._size = 0
        self._fields = 0
        self._too_large = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected, and may not say nothing for ever."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of the connection."""
        self._received += len(data)
        super().data_received(data)
        if self._in_request and self._received > LARGEST_HEAD and not self.transport.is_closing():
            self._refuse(_answer(431, "Request Header Fields Too Large", "headers_too_large", _TOO_LARGE))

    def send_400_response(self, msg: str) -> None:
        """The parser has given up."""
        if self._too_large:
            self._refuse(_answer(431, "Request Header Fields Too Large", "headers_too_large", _TOO_LARGE))
        else:
            self._refuse(_answer(400, "Bad Request", "invalid_request", msg))

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_request = True
        self._received = self._size = self._fields = 0
        self._expect_head()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header is complete."""
        self._fields += 1
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete; what comes now is the body."""
        self._received = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._received = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete; what comes now is the next one."""
        self._in_request = False
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > LARGEST_HEAD or self._fields > MOST_HEADERS:
            self._too_large = True
            raise _HeadTooLarge

    def _expect_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self._refuse(_answer(408, "Request Timeout", "request_timeout", _TOO_SLOW))

    def _refuse(self, answer: bytes) -> None:
        self._stop_timer()
        self.transport.write(answer)
        self.transport.close()
