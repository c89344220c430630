"""The ``email`` step: a message through the mail server of the project."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import mimetypes
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.email import EmailAttachment, EmailConfig
from orchestrator.spec.mail import MailServer
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.data.file import read_bytes
from orchestrator.steps.notify.account import account
from orchestrator.steps.notify.address import address
from orchestrator.steps.notify.contact import addresses_of
from orchestrator.steps.notify.mail_header import people, words
from orchestrator.steps.notify.sent import Sent
from orchestrator.steps.notify.smtp import hand_over
from orchestrator.steps.notify.templates import fill

TYPE = "email"
CONFIG = EmailConfig

LIMIT = 25_000_000
"""Bytes of all attachments of a message together: more is refused by most servers."""
MOST = 500
"""Recipients of one message."""
_POLICY = SMTP.clone(cte_type="7bit")
_SPACE = re.compile(r"\s+")
_NEEDS = "`mail: {server, from, username, password}`, the SMTP server that e-mails leave through"


async def run(config: EmailConfig, context: StepContext) -> Json:
    """``{"id", "refused"}``: the Message-ID and ``[{address, reason}]`` of those the server did not take. An attempt
    after one that sent the message does not send it again. Errors: see ``send``."""
    return await send(config, context, Sent.so_far())


async def send(config: EmailConfig, context: StepContext, sent: Sent) -> Json:
    """The same as a part of a step that sends to several places.

    Raises TerminalError ``invalid_address``, ``not_found``, ``template_error``, ``payload_too_large``,
    ``invalid_config``, what reading a file raises, and what ``hand_over`` raises.
    """

    async def deliver() -> Json:
        server = account(context, "mail", MailServer, _NEEDS)
        sender = address(server.sender, "mail.from in orchestrator.yaml")
        to, cc, bcc = _recipients(config, context)
        message = await _message(config, context)
        message["From"] = people("From", [sender])
        message["To"] = people("To", to)
        if cc:
            message["Cc"] = people("Cc", cc)
        if config.reply_to is not None:
            message["Reply-To"] = people("Reply-To", [address(config.reply_to, "config.reply_to")])
        identity = f"<{hashlib.sha256(context.idempotency_key.encode()).hexdigest()[:40]}@{sender.domain}>"
        message["Message-ID"] = words("Message-ID", identity)
        message["Date"] = format_datetime(datetime.now(UTC))
        everybody = list(dict.fromkeys(one.addr_spec for one in (*to, *cc, *bcc)))
        content = await asyncio.to_thread(message.as_bytes)
        refused = await hand_over(server, sender.addr_spec, everybody, content)
        return {"id": identity, "refused": [{"address": one, "reason": why} for one, why in refused.items()]}

    output = await sent.once(context, deliver)
    for one in output["refused"]:
        context.warnings.append(f"the e-mail did not go to {one['address']}: {one['reason']}")
    return output


def _recipients(config: EmailConfig, context: StepContext) -> tuple[list[Address], list[Address], list[Address]]:
    to = _addresses(config.to or [], "config.to")
    if config.contact is not None:
        where = f"contacts.{config.contact} in orchestrator.yaml"
        to += _addresses(addresses_of(config.contact, context), where)
    cc, bcc = _addresses(config.cc, "config.cc"), _addresses(config.bcc, "config.bcc")
    count = len(to) + len(cc) + len(bcc)
    if not to:
        raise TerminalError("invalid_config", "config.to is empty: an e-mail needs somebody it goes to")
    if count > MOST:
        raise TerminalError("invalid_config", f"an e-mail goes to at most {MOST} addresses, this one to {count}")
    return to, cc, bcc


def _addresses(given: str | Sequence[str], where: str) -> list[Address]:
    texts = [given] if isinstance(given, str) else given
    return list({found.addr_spec: found for found in (address(text, where) for text in texts)}.values())


async def _message(config: EmailConfig, context: StepContext) -> EmailMessage:
    """Subject, texts and attachments."""
    text, html, subject = config.text, config.html, config.subject
    if config.template is not None:
        filled = await fill(config.template, config.data, context.settings.project_dir, subject=subject is None)
        text, html, subject = filled.text, filled.html, subject if subject is not None else filled.subject
    if subject is None:
        message = f"the e-mail has no subject: write `subject`, or the file templates/{config.template}.subject.txt"
        raise TerminalError("invalid_config", message)
    if not _sound(subject, "config.subject").isprintable():
        raise TerminalError("invalid_config", "config.subject holds a line break or another control character")
    made = EmailMessage(policy=_POLICY)
    made["Subject"] = words("Subject", subject)
    if text is not None:
        made.set_content(_sound(text, "the text"), cte="quoted-printable")
        if html is not None:
            made.add_alternative(_sound(html, "the html"), subtype="html", cte="quoted-printable")
    else:
        made.set_content(_sound(html or "", "the html"), subtype="html", cte="quoted-printable")
    left = LIMIT
    for number, one in enumerate(config.attachments, 1):
        name, content = await _content(one, f"attachment {number}", context)
        left -= len(content)
        if left < 0:
            raise TerminalError("payload_too_large", f"the attachments together have more than {LIMIT} bytes")
        _attach(made, name, content, one.content_type)
    return made


def _sound(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TerminalError("invalid_config", f"{what} holds half of a surrogate pair, which is no text") from error
    return text


async def _content(one: EmailAttachment, called: str, context: StepContext) -> tuple[str, bytes]:
    """Name and bytes."""
    if one.file is not None:
        found, content = await read_bytes(one.file, context.settings)
        return one.name or found.name, content
    name = one.name or called
    if one.text is not None:
        return name, _sound(one.text, called).encode()
    if one.base64 is not None:
        try:
            return name, base64.b64decode(_SPACE.sub("", one.base64), validate=True)
        except (binascii.Error, ValueError) as error:
            raise TerminalError("invalid_encoding", f"{called} is not base64: {error}") from error
    return name, _sound(json.dumps(one.value, ensure_ascii=False, indent=2), called).encode()


def _attach(message: EmailMessage, name: str, content: bytes, content_type: str | None) -> None:
    if not name.isprintable() or "=?" in name:
        raise TerminalError("invalid_config", "an attachment's name holds a line break, `=?` or a control character")
    media = (content_type or mimetypes.guess_type(name)[0] or "application/octet-stream").partition(";")[0].strip()
    main, _, sub = media.partition("/")
    if not re.fullmatch(r"[\w.+-]+", main) or not re.fullmatch(r"[\w.+-]+", sub) or main in ("message", "multipart"):
        raise TerminalError("invalid_config", f"'{media[:80]}' is no content type of an attachment")
    message.add_attachment(content, maintype=main, subtype=sub, filename=_sound(name, "an attachment's name"))
