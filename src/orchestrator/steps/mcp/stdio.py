"""A command that speaks MCP on its stdin and stdout.

The SDK's own transport keeps whatever a line may hold and logs every line that is no message. Here a line has a
limit, what is no message is counted and dropped, and the end of the command is told at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from orchestrator.spec.acts.mcp import McpServer
from orchestrator.steps.mcp.call import TooLarge

_CHUNK = 65_536
_ENDS = 4_096
"""Bytes of a line that is too long which are looked at: its id stands near its beginning or its end."""
_ID_FIRST = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d+)\s*,')
_ID_LAST = re.compile(rb'"id"\s*:\s*(\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_NOISE = 1_000_000
"""Bytes of stdout that are no messages which a server may write between two messages."""
_WORDS = 4_000
"""Bytes of stderr that are kept."""
_PATIENCE = 2.0
"""Seconds a command has to end by itself when its stdin is closed, and again after SIGTERM."""
_LAST = 0.5
"""Seconds its pipes have to close once it has ended."""

TOO_LARGE = -32_099
"""Code of the error that stands for an answer which was too large to be kept."""

Reading = MemoryObjectReceiveStream[SessionMessage | Exception]
Writing = MemoryObjectSendStream[SessionMessage]


class Babble(Exception):
    """The command writes to stdout what is no message, and does not stop."""


class Stderr:
    """The last words of a command."""

    def __init__(self) -> None:
        self._kept = b""

    def add(self, data: bytes) -> None:
        """Keep the end of what was said."""
        self._kept = (self._kept + data)[-_WORDS:]

    def __str__(self) -> str:
        return self._kept.decode(errors="replace").strip()[-500:]


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit: the id of the request that it answers, where it can be told."""

    id: int | None


class Lines:
    """Splits a stream into lines and never holds more than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._last = b""
        self._told = False

    @property
    def overflow(self) -> int:
        """Bytes over the limit that the line being read has."""
        return max(0, self._size - self._limit)

    def feed(self, data: bytes) -> Iterator[bytes | LongLine]:
        """Every line that ends in ``data``. One that grows too long is reported as soon as its id is known."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            yield from self._add(piece)
            line = self._line()
            if line is not None:
                yield line
        yield from self._add(rest)

    def _add(self, piece: bytes) -> Iterator[LongLine]:
        within = self._size <= self._limit
        self._size += len(piece)
        if self._size <= self._limit:
            self._parts.append(piece)
            return
        if within:
            first = b"".join(self._parts)[:_ENDS] or piece[:_ENDS]
            self._parts = []
            if found := _ID_FIRST.match(first):
                self._told = True
                yield LongLine(int(found[1]))
        self._last = (self._last + piece)[-_ENDS:]

    def _line(self) -> bytes | LongLine | None:
        parts, told, last, long = self._parts, self._told, self._last, self._size > self._limit
        self._parts, self._size, self._told, self._last = [], 0, False, b""
        if not long:
            return b"".join(parts)
        if told:
            return None
        found = _ID_LAST.search(last)
        return LongLine(int(found[1]) if found else None)


def _environment() -> dict[str, str]:
    """What every command gets. It is found beside the worker's Python first: ``python`` is the one with the project's
    packages, whether or not its environment was activated."""
    given = get_default_environment()
    path = [str(Path(sys.executable).parent), given.get("PATH", os.defpath)]
    return given | {"PATH": os.pathsep.join(path)}


@contextlib.asynccontextmanager
async def command_transport(
    server: McpServer, root: Path, limit: int, stderr: Stderr, lost: Callable[[Exception | None], None]
) -> AsyncIterator[tuple[Reading, Writing]]:
    """Start the command of ``server`` and speak with it, in the shape the SDK wants. ``lost`` is called when its
    output ends, with the reason if it is one of ours. Raises OSError where it cannot be started."""
    process = await asyncio.create_subprocess_exec(
        server.command or "",
        *server.args,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=_environment() | server.env,
        cwd=root / server.cwd if server.cwd else root,
        start_new_session=True,
        limit=_CHUNK,
    )
    came, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    writing, goes = anyio.create_memory_object_stream[SessionMessage](0)
    drained = anyio.Event()

    async def read() -> None:
        lost(await _read(process, came, limit))
        came.close()
        await _drain(process)
        drained.set()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(_write, process, goes)
            tasks.start_soon(_listen, process, stderr)
            try:
                yield reading, writing
            finally:
                with anyio.CancelScope(shield=True):
                    reading.close()
                    writing.close()
                    await _end(process)
                    with anyio.move_on_after(_LAST):
                        await drained.wait()
                tasks.cancel_scope.cancel()
    finally:
        _kill(process, signal.SIGKILL)
        for stream in (came, reading, writing, goes):
            stream.close()


async def _read(
    process: Process, came: MemoryObjectSendStream[SessionMessage | Exception], limit: int
) -> Exception | None:
    """Hand on every message until the output ends. The reason why it was ended here, if it was."""
    try:
        await _messages(process, came, limit)
    except (TooLarge, Babble) as error:
        _kill(process, signal.SIGKILL)
        return error
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
        pass
    return None


async def _write(process: Process, goes: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError, RuntimeError):
        async with goes:
            async for message in goes:
                process.stdin.write(_encoded(message))
                await process.stdin.drain()


async def _listen(process: Process, stderr: Stderr) -> None:
    assert process.stderr is not None
    while data := await process.stderr.read(_CHUNK):
        stderr.add(data)


async def _drain(process: Process) -> None:
    """Pipes close when everything that was written has been read."""
    assert process.stdout is not None
    while await process.stdout.read(_CHUNK):
        pass


async def _messages(process: Process, came: MemoryObjectSendStream[SessionMessage | Exception], limit: int) -> None:
    assert process.stdout is not None
    lines, noise = Lines(limit), 0
    while data := await process.stdout.read(_CHUNK):
        for line in lines.feed(data):
            message = _too_large(line, limit) if isinstance(line, LongLine) else _message(line)
            if message is None:
                noise += len(line) + 1 if isinstance(line, bytes) else 0
            else:
                noise = 0
                await came.send(message)
        if noise > _NOISE or lines.overflow > limit * 100:
            raise Babble(f"it wrote {max(noise, lines.overflow)} bytes to stdout that are no messages")


def _too_large(line: LongLine, limit: int) -> SessionMessage:
    if line.id is None:
        # Nobody knows who waits for it.
        raise TooLarge(limit)
    error = ErrorData(code=TOO_LARGE, message=f"more than {limit} bytes")
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=line.id, error=error))


def _message(line: bytes) -> SessionMessage | None:
    """A line as a message; None where it is none. An answer that is not as the protocol wants it is an error for
    whoever waits."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        pass
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict) or type(given.get("id")) is not int or "method" in given:
        return None
    error = ErrorData(code=PARSE_ERROR, message="the answer is no JSON-RPC message")
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=given["id"], error=error))


def _encoded(message: SessionMessage) -> bytes:
    return message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"


async def _end(process: Process) -> None:
    """As the protocol wants it: stdin closed, then asked, then made to; and whatever it leaves behind with it."""
    assert process.stdin is not None
    process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _PATIENCE)
            break
        _kill(process, number)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _PATIENCE)
    _kill(process, signal.SIGKILL)


def _kill(process: Process, number: int) -> None:
    """The command and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
