"""Request bodies: read up to a limit, parsed strictly."""

from __future__ import annotations

import asyncio
import email.message
import hashlib
import json
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.gateway.charsets import UTF8, decoded, known_charset
from orchestrator.gateway.sendable import DEEPEST, is_too_deep

Json = Any

_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MOST_FIELDS = 1000
_MOST_FILES = 100
_LONGEST_TYPE = 200
_BOUNDARY = re.compile(r"[!#-\[\]-~ ]{0,199}[!#-\[\]-~]")
"""Any of ASCII that a quoted text can hold as it is."""
BODY_SECONDS = 30.0
"""A body that is not here after this long is given up, unless a door says otherwise."""
_DRAIN_BYTES = 4_000_000
_DRAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form. ``field`` is the form's name for it, ``name`` the sender's."""

    field: str
    name: str
    content_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the content, in hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body. ``textual`` is True where its values are text because the format has nothing else."""

    raw: bytes
    value: Json
    textual: bool
    files: tuple[File, ...] = ()
    in_parts: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what was sent. A form in parts is the same whatever its sender puts between them."""
        if not self.in_parts:
            return hashlib.sha256(self.raw).hexdigest()
        files = [[file.field, file.name, file.sha256] for file in self.files]
        return hashlib.sha256(json.dumps([self.value, files], sort_keys=True).encode()).hexdigest()


async def read_body(request: Request, limit: int) -> Body:
    """Read and parse a request's body, which holds no files.

    Raises what ``read_raw`` and ``parse_body`` do, and HTTPException 415 for files.
    """
    body = await parse_body(request, await read_raw(request, limit))
    if body.files:
        field = body.files[0].field
        raise HTTPException(415, f"the form's field '{field}' is a file, and files cannot be taken here")
    return body


async def parse_body(request: Request, raw: bytes) -> Body:
    """The body as its content type says: JSON, forms, text and nothing are understood; nothing is ``{}``.

    Raises HTTPException 400 for a body that is not what its content type says, 415 for binary data.
    """
    if not raw:
        return Body(raw, {}, True)
    given = request.headers.get("content-type")
    kind, charset = _content_type(given or "application/octet-stream")
    if kind == "application/json" or kind.endswith("+json"):
        return Body(raw, parse_json(decoded(raw, charset)), False)
    if kind == "application/x-www-form-urlencoded":
        return Body(raw, _form(decoded(raw, charset)), True)
    if kind == "multipart/form-data":
        return await _multipart(_boundary(given or ""), charset, raw)
    if given is None:
        return _guessed(raw)
    if kind.startswith("text/") or kind.endswith(("/xml", "+xml", "/yaml", "/x-ndjson", "/csv")):
        return Body(raw, decoded(raw, charset), True)
    raise HTTPException(
        415, f"a body of type {kind} cannot be taken; send JSON, a form (files as multipart/form-data) or text"
    )


@lru_cache(maxsize=128)
def _content_type(given: str) -> tuple[str, str]:
    """Type and charset that a header names."""
    header = email.message.Message()
    header["content-type"] = given
    return header.get_content_type(), str(header.get_param("charset") or UTF8).strip("'\"")


def _boundary(given: str) -> str:
    """What lies between the parts of a form. Raises HTTPException 400."""
    header = email.message.Message()
    header["content-type"] = given
    boundary = header.get_boundary("")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise HTTPException(400, "the form cannot be read: its Content-Type has to name the boundary of its parts")
    return boundary


def parse_json(text: str) -> Json:
    """Strict JSON: no NaN or Infinity, no numbers beyond a float, no halves of characters, no more levels than flows
    can look at. Raises HTTPException 400."""
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        if text.count("[") + text.count("{") > DEEPEST and is_too_deep(value):
            raise HTTPException(400, f"the JSON body is nested too deeply: {DEEPEST} levels are the limit")
        if _LONE_SURROGATE.search(text.encode("utf-8", "surrogatepass")):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise HTTPException(400, "the JSON body is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise HTTPException(400, "the JSON body has half of a character (a lone surrogate)") from error
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error
    return value


class BodyLimit:
    """ASGI middleware: no request of the API may have a larger body, chunked ones included, or take longer to send it
    than ``seconds``."""

    def __init__(self, app: ASGIApp, limit: int, prefix: str, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._limit = limit
        self._prefix = prefix
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        size, whole = 0, False
        until = asyncio.get_running_loop().time() + self._seconds

        async def counted() -> Message:
            nonlocal size, whole
            if whole:
                # What is waited for now is that the sender goes away.
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                raise too_slow(self._seconds) from error
            whole = not message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > self._limit:
                raise too_large(self._limit)
            return message

        await self._app(scope, counted, send)


def too_large(limit: int) -> HTTPException:
    """The answer to a body above ``limit`` bytes. The rest of it is not read."""
    return HTTPException(
        413, f"the body is larger than {limit} bytes, which is the limit here", {"Connection": "close"}
    )


def too_slow(seconds: float) -> HTTPException:
    """The answer to a body that has not come."""
    return HTTPException(
        408, f"the body was not here after {seconds:g}s; send it faster, or less", {"Connection": "close"}
    )


async def read_raw(request: Request, limit: int, drain: int = _DRAIN_BYTES, seconds: float = BODY_SECONDS) -> bytes:
    """The bytes of a body. Raises HTTPException 413 for more than ``limit``, of which up to ``drain`` are let go, 408
    where not all of it has come after so many ``seconds``, 400 where the sender went away."""
    try:
        async with asyncio.timeout(seconds):
            return await _raw(request, limit, drain)
    except TimeoutError as error:
        raise too_slow(seconds) from error


async def _raw(request: Request, limit: int, drain: int) -> bytes:
    declared = request.headers.get("content-length", "")
    parts: list[bytes] = []
    size = int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 20 else 0
    stream = request.stream()
    try:
        if size > limit:
            await _drain(stream, drain)
            raise too_large(limit)
        size = 0
        async for part in stream:
            size += len(part)
            if size > limit:
                await _drain(stream, drain)
                raise too_large(limit)
            parts.append(part)
    except ClientDisconnect as error:
        raise HTTPException(400, "the body ended before all of it was sent") from error
    return b"".join(parts)


async def _drain(stream: AsyncIterator[bytes], most: int) -> None:
    """Let go of a little more of a body that is refused: a connection closed under a sender's hands is reset,
    and the sender would see that instead of the answer."""
    size = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for part in stream:
                size += len(part)
                if size > most:
                    return
    except TimeoutError:
        return


def _guessed(raw: bytes) -> Body:
    text = decoded(raw)
    try:
        return Body(raw, parse_json(text), False)
    except HTTPException:
        return Body(raw, text, True)


def _form(text: str) -> Json:
    if text.lstrip().startswith("{"):
        raise HTTPException(
            415, "the body looks like JSON and is sent as a form; add the header Content-Type: application/json"
        )
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except UnicodeError as error:
        raise HTTPException(400, "the form is not UTF-8 text") from error
    except ValueError as error:
        raise HTTPException(400, f"the form has more than {_MOST_FIELDS} fields") from error
    return gathered(pairs)


def gathered(pairs: list[tuple[str, str]]) -> dict[str, Json]:
    """Names with their values; a name that comes more than once has a list."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


async def _multipart(boundary: str, charset: str, raw: bytes) -> Body:
    if f"--{boundary}--".encode() not in raw:
        raise HTTPException(400, "the form cannot be read: it ends before its last part does; send all of it")

    async def once() -> AsyncGenerator[bytes, None]:
        yield raw

    # Written anew, so that the parser sees the charset that was looked at.
    kind = f'multipart/form-data; boundary="{boundary}"; charset={known_charset(charset)}'
    parser = MultiPartParser(
        Headers({"content-type": kind}),
        once(),
        max_fields=_MOST_FIELDS,
        max_files=_MOST_FILES,
        max_part_size=len(raw) + 1,
    )
    pairs: list[tuple[str, str]] = []
    files: list[File] = []
    try:
        form = await parser.parse()
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                pairs.append((name, value))
            elif value.filename or value.size:
                # A browser sends a nameless, empty file where a person chose none.
                content = await value.read()
                kind = (value.content_type or "application/octet-stream")[:_LONGEST_TYPE]
                files.append(File(name, value.filename or "file", kind, content))
        await form.close()
    except (MultiPartException, KeyError, UnicodeError, LookupError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    return Body(raw, gathered(pairs), True, tuple(files), in_parts=True)


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:30]} is too large")
    return number
