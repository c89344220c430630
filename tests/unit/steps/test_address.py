"""E-mail addresses and headers made of any text: one address stays one, and no text becomes a header."""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP, default

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import TerminalError
from orchestrator.steps.notify.address import address
from orchestrator.steps.notify.mail_header import people, words

NASTY = st.text(st.sampled_from('ab@.,;:<>()[]"\\ \r\n\t=?_ü김\u2028\x00'), max_size=30)


@settings(max_examples=150, deadline=None)
@given(st.one_of(NASTY, st.text(max_size=40), NASTY.map(lambda text: f"{text} <kim@example.com>")))
@example("=?utf-8?q?a=0D=0ABcc:_eve@example.com?= <kim@example.com>")
@example("=?utf-8?q?kim=2C_eve=40example.com=2C?= <kim@example.com>")
@example('"a\\" <eve@example.com>, " <kim@example.com>')
def test_whatever_is_written_is_one_address_or_refused(text: str) -> None:
    try:
        found = address(text, "config.to")
    except TerminalError as error:
        assert error.type == "invalid_address"
        return
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["To"] = people("To", [found, found])
    message["Subject"] = words("Subject", text if text.isprintable() else "x")
    message.set_content("x")
    back = message_from_bytes(message.as_bytes(), policy=default)
    assert isinstance(back, EmailMessage)
    assert sorted(back.keys()) == sorted(["To", "Subject", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"])
    assert [one.addr_spec for one in back["To"].addresses] == [found.addr_spec, found.addr_spec]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kim@example.com", "kim@example.com"),
        (" Kim Lee <kim@example.com> ", "Kim Lee <kim@example.com>"),
        ('"Lee, Kim" <kim@example.com>', '"Lee, Kim" <kim@example.com>'),
        ("김 <kim@bücher.example>", "김 <kim@xn--bcher-kva.example>"),
        ("o'neil+tag@sub.example.com", "o'neil+tag@sub.example.com"),
    ],
)
def test_what_people_write_is_understood(text: str, said: str) -> None:
    assert str(address(text, "config.to")) == said


@settings(max_examples=150, deadline=None)
@given(st.one_of(NASTY, st.text(max_size=200)).filter(str.isprintable))
@example("=?utf-8?q?a=0D=0ABcc:_eve@example.com?=")
@example("a =?utf-8?b?DQpCY2M6IGE=?= b")
@example("x" * 3000)
def test_a_subject_arrives_as_it_was_written_and_never_as_a_header(text: str) -> None:
    message = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    message["Subject"] = words("Subject", text)
    message.set_content("x")
    raw = message.as_bytes()
    assert raw.isascii()
    assert max(len(line) for line in raw.splitlines()) <= 78
    back = message_from_bytes(raw)
    assert "Bcc" not in back
    assert "".join(str(make_header(decode_header(back["Subject"]))).split()) == "".join(text.split())
