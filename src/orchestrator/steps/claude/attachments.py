"""Attachments of the claude step as content blocks of the Messages API: images, PDFs and texts."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from orchestrator.errors import TerminalError
from orchestrator.settings import Settings
from orchestrator.spec.acts.claude import ClaudeAttachment
from orchestrator.steps.data.file import read_bytes

Json = Any

LIMIT = 24_000_000
"""Bytes of all attachments of a request together; the API takes 32 MB of JSON, where they are a third larger."""
_PDF = "application/pdf"
_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": _PDF,
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".html": "text/html",
    ".htm": "text/html",
    ".xml": "text/xml",
    ".log": "text/plain",
    ".json": "application/json",
    ".jsonl": "application/json",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_TEXTS = ("application/json", "application/yaml", "application/xml")
_SPACE = re.compile(r"\s+")


async def attached(attachments: Sequence[ClaudeAttachment], settings: Settings) -> list[Json]:
    """The content blocks of all attachments, in order. Files are read here, within the folders that the file step may
    touch.

    Raises TerminalError ``unknown_media_type``, ``invalid_encoding``, ``payload_too_large``, and for files
    ``not_found``, ``path_refused``, ``permission_denied`` or ``file_error`` (StepError where the disk may recover).
    """
    blocks: list[Json] = []
    left = LIMIT
    for number, one in enumerate(attachments, 1):
        if one.url is not None:
            blocks.append(_linked(one, one.url, f"attachment {number}"))
            continue
        block, size = (
            _encoded(one, f"attachment {number}") if one.file is None else await _read(one, one.file, settings)
        )
        left -= size
        if left < 0:
            raise TerminalError("payload_too_large", f"the attachments together have more than {LIMIT} bytes")
        blocks.append(block)
    return blocks


def _linked(one: ClaudeAttachment, url: str, called: str) -> Json:
    """A block whose content the API fetches itself."""
    if not url.lower().startswith("https://"):
        raise TerminalError("invalid_config", f"{called}: the API fetches https:// addresses only")
    media = _media_type(one, urlsplit(url).path, called)
    if media not in _IMAGES and media != _PDF:
        raise TerminalError(
            "unknown_media_type",
            f"{called}: the API fetches images and PDFs, and {media} is neither; get it with an http step and put its "
            "text into the prompt",
        )
    return _block(one, media, {"type": "url", "url": url})


async def _read(one: ClaudeAttachment, file: str, settings: Settings) -> tuple[Json, int]:
    media = _media_type(one, file, f"'{file}'")
    found, content = await read_bytes(file, settings)
    titled = one if one.title is not None else one.model_copy(update={"title": found.name})
    return await asyncio.to_thread(_filled, titled, media, content, f"'{file}'"), len(content)


def _encoded(one: ClaudeAttachment, called: str) -> tuple[Json, int]:
    media = _media_type(one, "", called)
    try:
        content = base64.b64decode(_SPACE.sub("", one.base64 or ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise TerminalError("invalid_encoding", f"{called} is not base64: {error}") from error
    return _filled(one, media, content, called), len(content)


def _filled(one: ClaudeAttachment, media: str, content: bytes, called: str) -> Json:
    """A block that carries its content."""
    if not content:
        raise TerminalError("invalid_encoding", f"{called} is empty")
    if media in _IMAGES or media == _PDF:
        data = base64.b64encode(content).decode()
        return _block(one, media, {"type": "base64", "media_type": media, "data": data})
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TerminalError("invalid_encoding", f"{called} is not UTF-8 text (byte {error.start})") from error
    return _block(one, media, {"type": "text", "media_type": "text/plain", "data": text})


def _block(one: ClaudeAttachment, media: str, source: Json) -> Json:
    if media in _IMAGES:
        return {"type": "image", "source": source}
    title = {} if one.title is None else {"title": one.title}
    return {"type": "document", "source": source} | title


def _media_type(one: ClaudeAttachment, path: str, called: str) -> str:
    """What the author says it is, else what the name's ending says."""
    ending = PurePosixPath(path).suffix.lower()
    media = (one.media_type or _TYPES.get(ending, "")).partition(";")[0].strip().lower()
    if media in _IMAGES or media == _PDF or media.startswith("text/") or media in _TEXTS:
        return media
    what = f"'{media}'" if media else f"'{ending}'" if ending else "a name without an ending"
    raise TerminalError(
        "unknown_media_type",
        f"{called}: Claude cannot read {what}; it reads {', '.join(_IMAGES)}, {_PDF} and text: say which one it is "
        "with 'media_type'",
    )
