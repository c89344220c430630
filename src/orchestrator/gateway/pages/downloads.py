"""Files of tasks on their way to a browser: in pieces, by their names, and never as a page of ours."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from orchestrator.client import Client
from orchestrator.errors import NotFound, TerminalError
from orchestrator.gateway.pages.attachments import File, file_of
from orchestrator.steps.data.file import place_of
from orchestrator.store.tasks import Task
from orchestrator.store.uploads import KEPT

PARAMETER = "file"
KEEP = "keep"
"""What the address of a page asks for besides: a file's number, and not to open it."""
_PIECE = 1 << 18
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}
"""What is in a file is somebody else's: it gets no scripts and is no part of our origin, also where it is opened."""

Pieces = AsyncIterator[bytes]


async def asked_for(client: Client, task: Task, request: Request) -> Response | None:
    """The file that a request for a task's page asks for; None where it asks for the page.

    Raises HTTPException 404 for a file that the task does not have, 410 for one that is gone, and Unavailable.
    """
    number = request.query_params.get(PARAMETER)
    if number is None:
        return None
    file = file_of(task, number)
    if file is None:
        raise HTTPException(404, "this task has no such file")
    size, pieces = await _content(client, file)
    opened = file.opens and KEEP not in request.query_params
    return StreamingResponse(pieces, 200, _HEADERS | _described(file, size, opened=opened))


def _described(file: File, size: int, *, opened: bool) -> dict[str, str]:
    plain = file.name.encode("ascii", "replace").decode().replace("?", "_")
    name = f"filename=\"{plain}\"; filename*=UTF-8''{quote(file.name, safe='')}"
    kind = f"{file.kind}; charset=utf-8" if file.text is not None and file.kind.startswith("text/") else file.kind
    return {
        "Content-Disposition": f"{'inline' if opened else 'attachment'}; {name}",
        "Content-Length": str(size),
        "Content-Type": kind,
    }


async def _content(client: Client, file: File) -> tuple[int, Pieces]:
    """How many bytes there are, and they themselves."""
    if file.text is not None:
        content = file.text.encode(errors="replace")
        return len(content), _pieces_of(content)
    if file.sha256 is None:
        try:
            size = await client.store.uploads.size(file.ref)
        except NotFound as error:
            days = f"files that came with a delivery are kept for {KEPT / 86_400:g} days"
            raise HTTPException(410, f"'{file.name}' is not in the store any more: {days}") from error
        return size, client.store.uploads.pieces(file.ref, size, _PIECE)
    try:
        path = await asyncio.to_thread(place_of, file.ref, client.settings)
    except TerminalError as error:
        raise HTTPException(404, f"'{file.name}' is not given out from where it is") from error
    opened = await asyncio.to_thread(_opened, path, file)
    return opened[1], _of_file(*opened)


def _opened(path: Path, file: File) -> tuple[BinaryIO, int]:
    """The file, at its beginning, with its size. It has to be what the flow has seen: whoever names a file has to know
    what is in it."""
    try:
        if not path.is_file():
            raise FileNotFoundError
        source = path.open("rb")
    except OSError as error:
        raise HTTPException(410, f"'{file.name}' is not there any more: it was moved or deleted since") from error
    digest = hashlib.file_digest(source, "sha256").hexdigest()
    size = source.tell()
    if digest != file.sha256:
        source.close()
        raise HTTPException(410, f"'{file.name}' is not there any more as it was: it was changed since")
    source.seek(0)
    return source, size


async def _of_file(source: BinaryIO, size: int) -> Pieces:
    with source:
        while size > 0 and (piece := await asyncio.to_thread(source.read, min(_PIECE, size))):
            size -= len(piece)
            yield piece


async def _pieces_of(content: bytes) -> Pieces:
    for at in range(0, len(content), _PIECE):
        yield content[at : at + _PIECE]
