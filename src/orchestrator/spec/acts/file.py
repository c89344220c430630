"""Config of ``file`` steps: files in the folders this installation allows."""

from __future__ import annotations

import codecs
from typing import Any, Literal

from pydantic import field_validator, model_validator

from orchestrator.spec.base import ActConfig, act

BASE64 = "base64"


@act("file")
class FileConfig(ActConfig):
    """One operation on one path. Outputs:

    ========= =========================================================================
    operation output
    ========= =========================================================================
    read      ``{path, content, size, sha256, modified}``
    write     ``{path, size, sha256}``; replaces the file in one move, so running it twice is harmless
    append    ``{path, size}``; runs again if a worker is lost right after it
    list      ``{path, entries: [{name, path, type, size, modified}]}`` by name, not recursive
    move      ``{path, to}``; replaces what is at ``to``
    delete    ``{path, deleted}``; ``deleted`` is false where nothing was
    stat      ``{path, exists}`` and, if it exists, ``type, size, modified``
    ========= =========================================================================
    """

    operation: Literal["read", "write", "append", "list", "move", "delete", "stat"]
    path: str
    """Relative to the project folder, inside one of its file roots (``data/`` unless configured); ``read`` and ``stat``
    also take the ``ref`` of a file in ``trigger.files``."""
    content: Any = None
    """Text, or with ``encoding: base64`` bytes as base64; any other value is written as JSON."""
    encoding: str = "utf-8"
    """Of the text in the file, or ``base64`` for content that is not text."""
    to: str | None = None
    """Where ``move`` puts the file."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        if encoding == BASE64:
            return encoding
        try:
            # Encoding a text is what tells text encodings from codecs such as rot13 or zlib.
            "".encode(encoding)
            return codecs.lookup(encoding).name
        except LookupError:
            raise ValueError(f"'{encoding}' is no text encoding; write utf-8, base64 or for example latin-1") from None

    @model_validator(mode="after")
    def _complete(self) -> FileConfig:
        writes = self.operation in ("write", "append")
        if writes and "content" not in self.model_fields_set:
            raise ValueError(f"{self.operation} needs content")
        if not writes and "content" in self.model_fields_set:
            raise ValueError(f"{self.operation} takes no content")
        if (self.operation == "move") != (self.to is not None):
            raise ValueError("move needs 'to', the new path" if self.operation == "move" else "only move takes 'to'")
        return self
