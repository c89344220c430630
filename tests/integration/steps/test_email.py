"""The email step against a real SMTP server."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.testing import ActivityEnvironment

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.email import EmailConfig
from orchestrator.steps.context import StepContext
from orchestrator.steps.notify.email import run

from .conftest import MakeContext
from .mail_server import MailBox, certificate, mail_server

Project = Callable[..., StepContext]


@pytest.fixture
async def box() -> AsyncIterator[MailBox]:
    async with mail_server() as made:
        yield made


@pytest.fixture
def project(make_context: MakeContext, tmp_path: Path) -> Project:
    """A context whose project sends through 127.0.0.1 at ``port``; other arguments are members of ``mail``."""

    def make(port: int, contacts: Any = None, secrets: dict[str, str] | None = None, **changes: Any) -> StepContext:
        mail = {
            "server": "127.0.0.1",
            "port": port,
            "security": "none",
            "from": "Shop <shop@example.com>",
            "timeout": 5,
        }
        file = {"mail": mail | changes, "contacts": contacts or {}}
        (tmp_path / "orchestrator.yaml").write_text(yaml.safe_dump(file))
        return make_context(step_type="email", secrets=secrets)

    return make


def email(**config: Any) -> EmailConfig:
    given = {"to": "kim@example.com", "subject": "Hello", "text": "Hi."} | config
    return EmailConfig.model_validate({key: value for key, value in given.items() if value is not ...})


def template(folder: Path, **files: str) -> None:
    (folder / "templates").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "templates" / name.replace("__", ".")).write_text(text)


async def test_a_message_arrives_as_it_was_written(project: Project, box: MailBox) -> None:
    config = email(
        to=["Kim Lee <kim@example.com>", "ann@example.com"], cc="bob@example.com", bcc=["eve@example.com"],
        reply_to="help@example.com", subject="Größe 김", text="Grüße\n김", html="<p>Grüße</p>",
    )  # fmt: skip
    output = await run(config, project(box.port))
    [mail] = box.mails
    message = mail.message
    assert mail.sender == "shop@example.com"
    assert mail.recipients == ["kim@example.com", "ann@example.com", "bob@example.com", "eve@example.com"]
    assert (message["From"], message["To"]) == ("Shop <shop@example.com>", "Kim Lee <kim@example.com>, ann@example.com")
    assert (message["Cc"], message["Reply-To"]) == ("bob@example.com", "help@example.com")
    assert message["Subject"] == "Größe 김"
    assert (mail.text(), mail.text("html")) == ("Grüße\n김\n", "<p>Grüße</p>\n")
    assert output == {"id": message["Message-ID"], "refused": []}
    assert b"eve@" not in mail.raw
    assert all(byte < 128 for byte in mail.raw)


async def test_attempts_of_one_step_have_one_message_id_and_other_steps_another(
    project: Project, box: MailBox, make_context: MakeContext
) -> None:
    first = await run(email(), project(box.port))
    second = await run(email(), make_context(attempt=2))
    other = await run(email(), make_context(idempotency_key="run-1:other:0"))
    assert first["id"] == second["id"] != other["id"]


async def test_what_an_earlier_attempt_has_sent_is_not_sent_again(project: Project, box: MailBox) -> None:
    context = project(box.port)
    noted: list[Any] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: noted.extend(details)
    output = await environment.run(run, email(), context)
    again = ActivityEnvironment()
    again.info = ActivityEnvironment.default_info().__class__(
        **{**vars(ActivityEnvironment.default_info()), "heartbeat_details": noted[-1:]}
    )
    assert await again.run(run, email(), context) == output
    assert len(box.mails) == 1


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"to": "a@b.example\r\nBcc: eve@example.com"}, "is not one e-mail address"),
        ({"to": "a@b.example, eve@example.com"}, "several are written as a list"),
        ({"cc": "Kim\n<kim@example.com>"}, "config.cc"),
        ({"to": "nobody"}, "write for example Kim"),
        ({"to": "größe@example.com"}, "plain letters only"),
        ({"to": []}, "config.to is empty"),
        ({"reply_to": "a@b.c\nX: y"}, "config.reply_to"),
        ({"subject": "Hi\r\nBcc: eve@example.com"}, "config.subject holds a line break"),
        ({"subject": "Hi\ud800"}, "surrogate"),
        ({"attachments": [{"name": "a\r\nb.txt", "text": "x"}]}, "name holds a line break"),
        ({"attachments": [{"name": "a.txt", "text": "x", "content_type": "text/plain\r\nX: y"}]}, "no content type"),
        ({"attachments": [{"name": "a.bin", "base64": "%%%"}]}, "not base64"),
        ({"to": [f"u{number}@example.com" for number in range(501)]}, "at most 500"),
    ],
)  # fmt: skip
async def test_what_could_smuggle_a_header_or_a_recipient_is_refused_before_anything_is_sent(
    project: Project, box: MailBox, config: dict[str, Any], says: str
) -> None:
    with pytest.raises(TerminalError, match=says):
        await run(email(**config), project(box.port))
    assert box.mails == []


async def test_an_encoded_word_is_text_and_no_header(project: Project, box: MailBox) -> None:
    word = "=?utf-8?q?a=0D=0ABcc:_eve@example.com?="
    await run(email(to=f"{word} <kim@example.com>", cc=f"{word} <c@example.com>", subject=word), project(box.port))
    [mail] = box.mails
    headers = mail.raw.partition(b"\r\n\r\n")[0].decode()
    assert "\nBcc" not in headers
    assert str(make_header(decode_header(message_from_bytes(mail.raw)["Subject"]))) == word
    with pytest.raises(TerminalError, match="attachment's name"):
        await run(email(attachments=[{"name": word, "text": "x"}]), project(box.port))


async def test_addresses_of_other_alphabets_are_written_as_servers_read_them(project: Project, box: MailBox) -> None:
    await run(email(to="Jürgen <j@bücher.example>"), project(box.port))
    assert box.mails[0].recipients == ["j@xn--bcher-kva.example"]
    assert "Jürgen" in str(box.mails[0].message["To"])


async def test_a_template_is_filled_from_files_and_html_is_escaped(
    project: Project, box: MailBox, tmp_path: Path
) -> None:
    template(
        tmp_path,
        base__html="<html>{% block body %}{% endblock %}</html>",
        order__html="{% extends 'base.html' %}{% block body %}{% for line in lines %}<li>{{ line.name }}</li>{% endfor %}{% endblock %}",
        order__txt="{% for line in data.lines %}\n* {{ line.name }}\n{% endfor %}",
        order__subject__txt="Order {{ number }}\n of {{ who }}\n",
    )
    data = {"number": 7, "who": "kim\r\nBcc: x@y.z", "lines": [{"name": "A & <b>"}, {"name": "C"}]}
    await run(email(template="order", data=data, subject=..., text=...), project(box.port))
    [mail] = box.mails
    assert mail.text("html") == "<html><li>A &amp; &lt;b&gt;</li><li>C</li></html>\n"
    assert mail.text() == "* A & <b>\n* C\n"
    assert mail.message["Subject"] == "Order 7 of kim Bcc: x@y.z"
    assert mail.recipients == ["kim@example.com"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ordr", "there is no template 'ordr': .* there: 'order'"),
        ("../secret", "there is no template"),
        ("unknown", r"templates/unknown.txt cannot be filled in: 'nowhere' is undefined"),
        ("broken", r"templates/broken.txt:2: "),
        ("escape", r"cannot be filled in: .*unsafe"),
        ("order", "the e-mail has no subject: .*templates/order.subject.txt"),
    ],
)
async def test_a_template_that_cannot_be_filled_says_where_and_why(
    project: Project, box: MailBox, tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "secret.txt").write_text("hidden")
    template(
        tmp_path,
        order__txt="hello",
        unknown__txt="{{ nowhere }}",
        broken__txt="one\n{% if %}",
        escape__txt="{{ ''.__class__.__mro__[1].__subclasses__() }}",
    )
    with pytest.raises(TerminalError, match=says):
        await run(email(template=name, subject=..., text=...), project(box.port))
    assert box.mails == []


async def test_attachments_come_from_values_and_from_files(project: Project, box: MailBox, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "report.csv").write_text("a,b\n1,2\n")
    attachments = [
        {"file": "data/report.csv"},
        {"name": "größe.txt", "text": "김"},
        {"name": "pixel.png", "base64": base64.b64encode(b"\x89PNG").decode()},
        {"name": "order.json", "json": {"id": 7}},
    ]
    await run(email(attachments=attachments), project(box.port))
    parts = {part.get_filename(): part for part in box.mails[0].message.iter_attachments()}
    assert list(parts) == ["report.csv", "größe.txt", "pixel.png", "order.json"]
    assert [part.get_content_type() for part in parts.values()] == [
        "text/csv", "text/plain", "image/png", "application/json",
    ]  # fmt: skip
    assert parts["report.csv"].get_payload(decode=True) == b"a,b\n1,2\n"
    assert parts["größe.txt"].get_payload(decode=True) == "김".encode()
    with pytest.raises(TerminalError, match="outside the folders"):
        await run(email(attachments=[{"file": "orchestrator.yaml"}]), project(box.port))


async def test_a_contact_is_written_to_at_its_addresses_and_a_group_at_those_of_its_members(
    project: Project, box: MailBox
) -> None:
    contacts = {
        "board": {"members": ["kim", "lee", "board"]},
        "kim": {"email": ["kim@example.com", "k@example.com"]},
        "lee": {"email": "lee@example.com"},
        "mute": {},
    }
    context = project(box.port, contacts)
    await run(email(contact="board", to=...), context)
    assert box.mails[0].recipients == ["kim@example.com", "k@example.com", "lee@example.com"]
    with pytest.raises(TerminalError, match="'mute' has no e-mail address"):
        await run(email(contact="mute", to=...), context)


async def test_a_recipient_that_is_refused_does_not_lose_the_others_and_is_reported(
    project: Project, box: MailBox
) -> None:
    box.refuse["gone@example.com"] = "550 no such user"
    context = project(box.port)
    output = await run(email(to=["kim@example.com", "gone@example.com"]), context)
    assert output["refused"] == [{"address": "gone@example.com", "reason": "550 no such user"}]
    assert box.mails[0].recipients == ["kim@example.com"]
    assert context.warnings == ["the e-mail did not go to gone@example.com: 550 no such user"]


@pytest.mark.parametrize(
    ("answers", "data", "kind", "type_"),
    [
        ({"kim@example.com": "550 no such user"}, "250 OK", TerminalError, "recipients_refused"),
        ({"kim@example.com": "450 greylisted"}, "250 OK", StepError, "temporary_service_unavailable"),
        ({}, "554 spam", TerminalError, "mail_refused"),
        ({}, "451 try later", StepError, "temporary_service_unavailable"),
    ],
)
async def test_refusals_of_the_server_say_whether_another_attempt_may_help(
    project: Project, box: MailBox, answers: dict[str, str], data: str, kind: type[StepError], type_: str
) -> None:
    box.refuse, box.data = answers, data
    with pytest.raises(StepError) as caught:
        await run(email(), project(box.port))
    assert (type(caught.value), caught.value.type) == (kind, type_)
    assert f"127.0.0.1:{box.port}" in caught.value.message


async def test_a_server_that_is_not_there_or_silent_is_tried_again(project: Project) -> None:
    with socket.socket() as quiet:
        quiet.bind(("127.0.0.1", 0))
        port = quiet.getsockname()[1]
        with pytest.raises(StepError) as caught:
            await run(email(), project(port))
        assert (caught.value.type, caught.value.retryable) == ("network_error", True)
        quiet.listen()
        with pytest.raises(StepError) as caught:
            await asyncio.wait_for(run(email(), project(port, timeout=0.3)), 10)
        assert (caught.value.type, caught.value.retryable) == ("timeout", True)


@pytest.mark.parametrize("goodbye", [None, "500 what?", "nonsense"])
async def test_a_message_that_was_taken_counts_as_sent_however_the_server_says_goodbye(
    project: Project, box: MailBox, goodbye: str | None
) -> None:
    box.goodbye = goodbye
    await asyncio.wait_for(run(email(), project(box.port, timeout=30)), 5)
    assert len(box.mails) == 1


async def test_a_login_goes_over_tls_that_is_checked(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, trusted = certificate(tmp_path)
    login = {"security": "starttls", "username": "shop", "password": "{{ secrets.SMTP_PASSWORD }}"}
    async with mail_server(starttls=server) as box:
        with pytest.raises(TerminalError) as caught:
            await run(email(), project(box.port, secrets={"SMTP_PASSWORD": "pass-word-1"}, **login))
        assert caught.value.type == "tls_error"
        assert box.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        await run(email(), project(box.port, secrets={"SMTP_PASSWORD": "pass-word-1"}, **login))
        assert (len(box.mails), box.logins) == (1, [(b"shop", b"pass-word-1")])
        with pytest.raises(TerminalError) as caught:
            await run(email(), project(box.port, secrets={"SMTP_PASSWORD": "wrong-one"}, **login))
        assert caught.value.type == "authentication_failed"
    async with mail_server(tls=server) as box:
        await run(email(), project(box.port, security="tls"))
        assert len(box.mails) == 1


async def test_a_server_without_starttls_gets_neither_password_nor_message(project: Project, box: MailBox) -> None:
    with pytest.raises(TerminalError) as caught:
        await run(email(), project(box.port, security="starttls"))
    assert caught.value.type == "tls_error"
    assert box.mails == []


async def test_without_a_mail_server_the_error_says_what_to_write(make_context: MakeContext) -> None:
    with pytest.raises(TerminalError, match=r"orchestrator.yaml has no `mail`: write `mail: \{server, from"):
        await run(email(), make_context())
