"""Handing a message to the mail server of the project."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

import aiosmtplib
import certifi

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.mail import MailServer

_FAREWELL = 1.0
"""Seconds the server has to say goodbye."""
_TOO_MANY = (421, 450, 451, 452, 454)


async def hand_over(server: MailServer, sender: str, recipients: Sequence[str], message: bytes) -> dict[str, str]:
    """Send to every recipient in one transaction, and return those that the server refused, with what it said.

    Raises StepError for what another attempt may heal: ``network_error``, ``timeout``, and
    ``temporary_service_unavailable`` where the server answers 4xx; TerminalError ``authentication_failed``,
    ``tls_error``, ``recipients_refused`` where it refuses every one, and ``mail_refused``.
    """
    where = f"mail server {server.server}:{server.at()}"
    client = aiosmtplib.SMTP(
        hostname=server.server,
        port=server.at(),
        username=server.username,
        password=server.password,
        timeout=server.timeout,
        use_tls=server.security == "tls",
        start_tls=server.security == "starttls",
        tls_context=_trust() if server.security != "none" else None,
    )
    try:
        try:
            await client.connect()
            refused, _ = await client.sendmail(sender, list(recipients), message)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _mapped(error, where) from error
        # The message is taken: nothing that goes wrong from here on may have it sent again.
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await client.quit(timeout=_FAREWELL)
    finally:
        client.close()
    return {address: f"{answer.code} {answer.message}" for address, answer in refused.items()}


def _trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _mapped(error: Exception, where: str) -> StepError:
    """The server's refusal, or the lack of a server, as an error of the step."""
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        if error.code in _TOO_MANY:
            return StepError("temporary_service_unavailable", f"{where} takes no login now: {_said(error)}")
        hint = "look at `username` and `password` under `mail` in orchestrator.yaml"
        return TerminalError("authentication_failed", f"{where} refuses the login: {_said(error)}; {hint}")
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return _nobody(error, where)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        if 400 <= error.code < 500:
            return StepError("temporary_service_unavailable", f"{where} cannot take the message now: {_said(error)}")
        return TerminalError("mail_refused", f"{where} refuses the message: {_said(error)}")
    if _has_cause(error, ssl.SSLError):
        return TerminalError("tls_error", f"{where} cannot be trusted: {error}")
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return StepError("timeout", f"{where} did not answer in time: {error}")
    if isinstance(error, aiosmtplib.SMTPNotSupported) or "STARTTLS" in str(error):
        hint = "it may want `security: tls`, or `none` beside this machine"
        return TerminalError("tls_error", f"{where} does not offer what is needed: {error}; {hint}")
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return TerminalError("invalid_address", f"an address cannot be sent to {where}: {error}")
    return StepError("network_error", f"{where} cannot be reached: {error or type(error).__name__}")


def _nobody(error: aiosmtplib.SMTPRecipientsRefused, where: str) -> StepError:
    said = "; ".join(f"{one.recipient}: {_said(one)}" for one in error.recipients)
    data = {"refused": [{"address": one.recipient, "reason": _said(one)} for one in error.recipients]}
    if any(400 <= one.code < 500 for one in error.recipients):
        return StepError(
            "temporary_service_unavailable", f"{where} takes none of the recipients now: {said}", data=data
        )
    return TerminalError("recipients_refused", f"{where} refuses every recipient: {said}", data=data)


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {error.message}"


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
