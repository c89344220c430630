"""Attachments of the claude step."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from tests.integration.steps.asking import Ask, ask, claude

from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.claude import attachments as claude_attachments
from orchestrator.testing import ClaudeStandIn

__all__ = ["ask", "claude"]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
PDF = b"%PDF-1.7\n..."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder that steps may read from."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


async def sent(claude: ClaudeStandIn, ask: Ask, *attachments: Any, **config: Any) -> list[dict[str, Any]]:
    """The blocks of the user's message."""
    await ask({"attachments": list(attachments)} | config)
    return list(claude.requests[-1].body["messages"][-1]["content"])


async def test_files_become_what_their_names_say_and_stand_before_the_question(
    claude: ClaudeStandIn, ask: Ask, data: Path
) -> None:
    (data / "a.PNG").write_bytes(PNG)
    (data / "b.pdf").write_bytes(PDF)
    (data / "c.csv").write_bytes("\ufeff이름,수\n가,1\n".encode())
    blocks = await sent(claude, ask, *[{"file": f"data/{name}"} for name in ("a.PNG", "b.pdf", "c.csv")])
    assert blocks == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(PDF).decode()},
            "title": "b.pdf",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "이름,수\n가,1\n"},
            "title": "c.csv",
        },
        {"type": "text", "text": "Hi"},
    ]  # fmt: skip


async def test_links_and_base64_say_what_they_are(claude: ClaudeStandIn, ask: Ask) -> None:
    image = base64.b64encode(PNG).decode()
    blocks = await sent(
        claude,
        ask,
        {"url": "https://example.com/a.jpg?size=big"},
        {"url": "https://example.com/report", "media_type": "application/pdf", "title": "Q3"},
        {"base64": f"{image[:8]}\n{image[8:]}", "media_type": "image/png"},
        {"base64": base64.b64encode(b"a,b").decode(), "media_type": "text/csv; charset=utf-8", "title": "T"},
    )
    assert blocks[:-1] == [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg?size=big"}},
        {"type": "document", "source": {"type": "url", "url": "https://example.com/report"}, "title": "Q3"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}, "title": "T"},
    ]


async def test_with_messages_they_go_with_the_newest_of_the_user(claude: ClaudeStandIn, ask: Ask) -> None:
    link = {"url": "https://example.com/a.png"}
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ]
    blocks = await sent(claude, ask, link, prompt=None, messages=messages)
    assert [block["type"] for block in blocks] == ["image", "text"]
    assert claude.requests[0].body["messages"][0]["content"] == "one"


@pytest.mark.parametrize(
    ("attachment", "type_", "says"),
    [
        ({"file": "data/none.png"}, "not_found", "there is no 'data/none.png'"),
        ({"file": "../outside.png"}, "path_refused", "outside the folders"),
        ({"file": "/etc/hostname", "media_type": "text/plain"}, "path_refused", "outside the folders"),
        ({"file": "data/link.txt"}, "path_refused", "outside the folders"),
        ({"file": "data/program.exe"}, "unknown_media_type", "cannot read '.exe'"),
        ({"file": "data/README"}, "unknown_media_type", "a name without an ending"),
        ({"file": "data/latin.txt"}, "invalid_encoding", "'data/latin.txt' is not UTF-8 text"),
        ({"file": "data/empty.txt"}, "invalid_encoding", "is empty"),
        ({"file": "data/big.txt"}, "payload_too_large", "together have more than 1000 bytes"),
        ({"file": "data/folder.txt"}, "file_error", "is a folder"),
        ({"url": "https://example.com/page.html"}, "unknown_media_type", "the API fetches images and PDFs"),
        ({"url": "https://example.com/page"}, "unknown_media_type", "attachment 1: Claude cannot read"),
        ({"url": "http://example.com/a.png"}, "invalid_config", "https:// addresses only"),
        ({"base64": "no base64!", "media_type": "image/png"}, "invalid_encoding", "attachment 1 is not base64"),
        ({"base64": "AAAA", "media_type": "video/mp4"}, "unknown_media_type", "cannot read 'video/mp4'"),
        ({"base64": " ", "media_type": "image/png"}, "invalid_encoding", "attachment 1 is empty"),
    ],
)
async def test_what_cannot_be_attached_is_refused_before_anything_is_paid(
    claude: ClaudeStandIn,
    ask: Ask,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    attachment: dict[str, str],
    type_: str,
    says: str,
) -> None:
    monkeypatch.setattr(claude_attachments, "LIMIT", 1000)
    (data.parent / ".env").write_text("SECRET=1")
    (data / "link.txt").symlink_to(data.parent / ".env")
    (data / "latin.txt").write_bytes("é".encode("latin-1"))
    (data / "empty.txt").write_bytes(b"")
    (data / "big.txt").write_bytes(b"x" * 1001)
    (data / "folder.txt").mkdir()
    with pytest.raises(StepError) as caught:
        await ask({"attachments": [attachment]})
    assert isinstance(caught.value, TerminalError)
    assert caught.value.type == type_
    assert says in caught.value.message
    assert claude.requests == []


async def test_attachments_without_a_message_of_the_user_are_refused(claude: ClaudeStandIn, ask: Ask) -> None:
    messages = [{"role": "assistant", "content": "x"}]
    with pytest.raises(TerminalError, match="there is none"):
        await ask({"prompt": None, "messages": messages, "attachments": [{"url": "https://example.com/a.png"}]})
    assert claude.requests == []
