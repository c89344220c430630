"""Lines of an MCP server over stdio, however they arrive, and never more of them than may be kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.steps.mcp.stdio import Lines, LongLine

LIMIT = 5_000


def fed(lines: Lines, text: bytes, size: int) -> list[bytes | LongLine]:
    return [line for start in range(0, len(text), size) for line in lines.feed(text[start : start + size])]


@given(st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b" ")), max_size=8), st.integers(1, 50))
def test_lines_are_the_same_in_whatever_pieces_they_arrive(given_lines: list[bytes], size: int) -> None:
    text = b"".join(line + b"\n" for line in given_lines)
    assert fed(Lines(LIMIT), text, size) == given_lines


FILL = "x" * 20_000
RESULT = {"content": [{"type": "text", "text": FILL}]}


@pytest.mark.parametrize("size", [1, 999, 100_000])
@pytest.mark.parametrize(
    ("line", "number"),
    [
        ({"jsonrpc": "2.0", "id": 7, "result": RESULT}, 7),
        ({"id": 7, "result": RESULT, "jsonrpc": "2.0"}, 7),
        ({"result": RESULT, "jsonrpc": "2.0", "id": 7}, 7),
        ({"result": RESULT, "id": 7, "jsonrpc": "2.0"}, 7),
        ({"jsonrpc": "2.0", "result": {"text": FILL, "id": 7}}, None),
        ({"result": {"text": f'{FILL}"id": 7}}'}}, None),
        ({"method": "notifications/message", "params": {"id": 7, "data": FILL}}, None),
    ],
)
def test_whom_a_line_that_is_too_long_answers_is_found_at_its_ends(line: object, number: int | None, size: int) -> None:
    text = f"{json.dumps(line)}\nnext\n".encode()
    assert fed(Lines(LIMIT), text, size) == [LongLine(number), b"next"]


def test_what_is_too_long_is_reported_before_it_ends_and_not_kept() -> None:
    lines = Lines(LIMIT)
    assert list(lines.feed(b'{"jsonrpc":"2.0","id":3,"result":"' + b"x" * LIMIT)) == [LongLine(3)]
    for _ in range(100):
        assert list(lines.feed(b"x" * 100_000)) == []
    assert lines.overflow > 9_000_000
    assert sum(map(len, lines._parts)) + len(lines._last) < 2 * LIMIT
    assert list(lines.feed(b'"}\n{}\n')) == [b"{}"]
