"""What the Claude API refuses with 400, as far as clients get it wrong: the words are close to the API's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.testing.claude_request import blocks_of

Json = Any

_REMOVED = ("temperature", "top_p", "top_k")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_UNFORCED = re.compile(r"claude-(opus|sonnet)-5-5|claude-fable-5-1")
_ALWAYS_THINKING = re.compile(r"claude-opus-5-5|claude-fable-5-1")
_CACHED = 4
"""Blocks that may carry cache_control."""


def signature_of(thinking: str) -> str:
    """The signature that the stand-in puts under a block of thinking."""
    return "sig-" + hashlib.sha256(thinking.encode()).hexdigest()[:32]


def problem_with(body: Mapping[str, Json], thoughts: Mapping[str, list[Json]]) -> str | None:
    """The first reason to refuse a request, or None. ``thoughts`` are the blocks of thinking that were said together
    with a tool call, by its id."""
    checks = (_parameters(body), _tools(body), _conversation(body), _thinking(body, thoughts), _output(body))
    return next((problem for check in checks for problem in check), None)


def _parameters(body: Mapping[str, Json]) -> Iterator[str]:
    model = str(body["model"])
    for name in _REMOVED:
        if name in body:
            yield f"{name}: this parameter is not supported"
    if (body.get("thinking") or {}).get("type") == "disabled" and _ALWAYS_THINKING.match(model):
        yield f"thinking.type: 'disabled' is not supported by {model}"
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool") and _UNFORCED.match(model):
        yield f"tool_choice.type: forced tool use is not supported by {model}"
    marked = sum(bool(part.get("cache_control")) for part in cacheable(body))
    if marked > _CACHED:
        yield f"A maximum of {_CACHED} blocks with cache_control may be provided. Found {marked}."


def cacheable(body: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """Every part of a request that may carry ``cache_control``."""
    yield body
    yield from (tool for tool in body.get("tools") or [] if isinstance(tool, dict))
    yield from blocks_of(body.get("system"))
    for message in body["messages"]:
        yield from blocks_of(message.get("content") if isinstance(message, dict) else None)


def _tools(body: Mapping[str, Json]) -> Iterator[str]:
    seen: set[str] = set()
    for index, tool in enumerate(body.get("tools") or []):
        name = str(tool.get("name", ""))
        if not _TOOL_NAME.fullmatch(name):
            yield f"tools.{index}.custom.name: String should match pattern '^{_TOOL_NAME.pattern}$'"
        if name in seen:
            yield "tools: Tool names must be unique."
        seen.add(name)
        schema = tool.get("input_schema")
        if "type" in tool and tool["type"] != "custom":
            continue
        if not isinstance(schema, dict) or schema.get("type") != "object":
            yield f"tools.{index}.custom.input_schema.type: Input should be 'object'"
        elif any(key in schema for key in ("oneOf", "allOf", "anyOf")):
            yield (
                f"tools.{index}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf "
                "at the top level"
            )


def _conversation(body: Mapping[str, Json]) -> Iterator[str]:
    for index, message in enumerate(body["messages"]):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            yield f"messages.{index}.role: Input should be 'user' or 'assistant'"
            return
        if index == 0 and message["role"] != "user":
            yield 'messages: first message must use the "user" role'
        yield from _content(index, message)
    yield from _results(_joined(body["messages"]))


def _joined(messages: list[Json]) -> list[dict[str, Json]]:
    """Messages of one role in a row are one turn for the API; a paused turn that is continued makes such a row."""
    joined: list[dict[str, Json]] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            said = blocks_of(joined[-1]["content"]) + blocks_of(message["content"])
            joined[-1] = {"role": message["role"], "content": said}
        else:
            joined.append(message)
    return joined


def _content(index: int, message: Mapping[str, Json]) -> Iterator[str]:
    content = message.get("content")
    if not isinstance(content, str | list) or not content:
        yield f"messages.{index}: {message['role']} messages must have non-empty content"
        return
    for number, block in enumerate(blocks_of(content)):
        where = f"messages.{index}.content.{number}"
        kind = block.get("type")
        if kind == "text" and not str(block.get("text") or ""):
            yield "messages: text content blocks must be non-empty"
        if kind == "text" and message["role"] == "user" and block.get("citations"):
            yield f"{where}.text.citations: not allowed in user messages"
        if kind in ("image", "document"):
            if message["role"] == "assistant":
                yield f"{where}: '{kind}' blocks are not allowed in assistant messages"
            yield from _source(f"{where}.{kind}.source", str(kind), block.get("source"))
        if kind == "tool_use" and (not block.get("id") or not isinstance(block.get("input"), dict)):
            yield f"{where}.tool_use: id and input are required"


def _source(where: str, kind: str, source: Json) -> Iterator[str]:
    match source:
        case {"type": "base64", "media_type": media, "data": str(data)}:
            allowed = _IMAGES if kind == "image" else ("application/pdf",)
            if media not in allowed:
                yield f"{where}.base64.media_type: Input should be {' or '.join(allowed)}"
            try:
                base64.b64decode(data, validate=True)
            except binascii.Error:
                yield f"{where}.base64.data: invalid base64 data"
        case {"type": "url", "url": str(url)}:
            if not url.startswith("https://"):
                yield f"{where}.url.url: Only HTTPS URLs are supported."
        case {"type": "text", "media_type": "text/plain", "data": str()} if kind == "document":
            return
        case {"type": "file", "file_id": str()} | {"type": "content"}:
            return
        case _:
            yield f"{where}: Input tag does not match any of the expected tags"


def _results(messages: list[Json]) -> Iterator[str]:
    """Every tool call is answered in the next message, before anything else in it, and nothing else is."""
    asked: list[str] = []
    seen: set[str] = set()
    for index, message in enumerate(messages):
        blocks = blocks_of(message.get("content"))
        kinds = [block.get("type") for block in blocks]
        answered = [str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"]
        stray = [name for name in answered if name not in asked]
        if stray:
            yield (
                f"messages.{index}.content: unexpected `tool_use_id` found in `tool_result` blocks: {stray[0]}. Each "
                "`tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if len(answered) != len(set(answered)):
            yield f"messages.{index}.content: each tool_use must have a single result"
        first = kinds[: len(answered)]
        missing = [name for name in asked if name not in answered]
        if missing or (asked and any(kind != "tool_result" for kind in first)):
            yield (
                f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing or asked)}. Each `tool_use` block must have a corresponding `tool_result` block "
                "in the next message."
            )
        asked = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"]
        if seen.intersection(asked) or len(asked) != len(set(asked)):
            yield "messages: `tool_use` ids must be unique"
        seen.update(asked)
    if asked:
        yield (
            f"messages.{len(messages) - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(asked)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _thinking(body: Mapping[str, Json], thoughts: Mapping[str, list[Json]]) -> Iterator[str]:
    messages = body["messages"]
    for index, message in enumerate(messages):
        for block in blocks_of(message.get("content")):
            if block.get("type") == "thinking" and block.get("signature") != signature_of(str(block.get("thinking"))):
                yield f"messages.{index}: Invalid `signature` in `thinking` block"
    answers = [message for message in messages if message.get("role") == "assistant"]
    newest: dict[str, Json] = answers[-1] if answers else {}
    blocks = blocks_of(newest.get("content"))
    expected = next((thoughts[block["id"]] for block in blocks if block.get("id") in thoughts), None)
    if expected is not None and [block for block in blocks if block.get("type") == "thinking"] != expected:
        yield (
            f"messages.{messages.index(newest)}: `thinking` or `redacted_thinking` blocks in the latest assistant "
            "message cannot be modified. These blocks must remain as they were in the original response."
        )


def _output(body: Mapping[str, Json]) -> Iterator[str]:
    form = (body.get("output_config") or {}).get("format")
    if form is not None:
        yield from _closed(form.get("schema"), "output_config.format.schema")


def _closed(schema: Json, where: str) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _closed(item, where)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        yield f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false"
    for key in ("items", "anyOf", "oneOf", "allOf"):
        yield from _closed(schema.get(key), where)
    for key in ("properties", "$defs"):
        yield from _closed(list((schema.get(key) or {}).values()), where)
