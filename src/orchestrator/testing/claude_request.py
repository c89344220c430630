"""One request as the Claude stand-in heard it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Any

_BINARY = {"image": 1_500, "document": 3_000}
"""Tokens the stand-in counts for what is no text."""


def texts_of(content: Json) -> str:
    """The text in a message's or system's ``content``: plain text, or the text blocks joined by newlines."""
    if isinstance(content, str):
        return content
    return "\n".join(str(block["text"]) for block in blocks_of(content) if "text" in block)


def blocks_of(content: Json) -> list[dict[str, Json]]:
    """The blocks of a message's ``content``; text is one block."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived. ``headers`` have lower-case names."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Json]

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body.get("model", ""))

    @property
    def system(self) -> str:
        """The text of the system prompt."""
        return texts_of(self.body.get("system"))

    @property
    def messages(self) -> list[dict[str, Json]]:
        """The conversation so far."""
        return [message for message in self.body.get("messages") or [] if isinstance(message, dict)]

    @property
    def prompt(self) -> str:
        """The text of the newest user message."""
        return texts_of(users[-1].get("content")) if (users := self._said_by("user")) else ""

    @property
    def opening(self) -> str:
        """The text of the first user message: the goal, where an agent is asking."""
        return texts_of(users[0].get("content")) if (users := self._said_by("user")) else ""

    @property
    def turn(self) -> int:
        """How many answers of Claude the conversation holds: 0 for its first request, the same for a request that is
        made again."""
        return len(self._said_by("assistant"))

    @property
    def results(self) -> list[dict[str, Json]]:
        """The ``tool_result`` blocks of the newest message."""
        newest = blocks_of(self.messages[-1].get("content")) if self.messages else []
        return [block for block in newest if block.get("type") == "tool_result"]

    @property
    def tools(self) -> list[str]:
        """Names of the tools that Claude is offered."""
        return [str(tool.get("name")) for tool in self.body.get("tools") or [] if isinstance(tool, dict)]

    @property
    def schema(self) -> dict[str, Json] | None:
        """The JSON Schema the answer must have: ``output_config.format``, or what the system prompt says after
        ``JSON Schema:``. None when free text is wanted."""
        form = (self.body.get("output_config") or {}).get("format") or {}
        schema = form.get("schema")
        _, told, text = self.system.partition("JSON Schema:")
        if schema is None and told:
            with contextlib.suppress(ValueError):
                schema, _ = json.JSONDecoder().raw_decode(text.lstrip())
        return schema if isinstance(schema, dict) else None

    @property
    def tokens(self) -> int:
        """What the stand-in counts for this request: a token for every four characters, tools included; a fixed number
        for images and documents."""
        return max(1, sum(self._counts()))

    def _counts(self) -> Iterator[int]:
        yield _quarter(self.system)
        if self.body.get("tools"):
            yield _quarter(json.dumps(self.body["tools"]))
        for message in self.messages:
            for block in blocks_of(message.get("content")):
                kind = str(block.get("type", "text"))
                text = block["text"] if "text" in block else json.dumps(block, ensure_ascii=False)
                yield _BINARY[kind] if kind in _BINARY else _quarter(str(text))

    def _said_by(self, role: str) -> list[dict[str, Json]]:
        return [message for message in self.messages if message.get("role") == role]


def _quarter(text: str) -> int:
    return (len(text) + 3) // 4
