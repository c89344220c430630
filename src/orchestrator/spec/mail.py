"""The mail server as it is declared: ``mail`` of orchestrator.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.spec.base import Duration, Spec
from orchestrator.spec.findings import Findings, check_model

Json = Any
_HERE = ("localhost", "127.0.0.1", "::1")
_PORTS = {"tls": 465, "starttls": 587, "none": 25}


def _number(value: Any) -> Any:
    """A port that came from a secret is text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class MailServer(Spec):
    """The SMTP server that e-mails leave through."""

    server: str = Field(min_length=1, pattern=r"^[^\s/@]+$")
    """Its host."""
    port: Annotated[int, BeforeValidator(_number)] | None = Field(None, ge=1, le=65535)
    """465 for ``tls``, 587 for ``starttls``, 25 for ``none``."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """``starttls`` is demanded, never only tried."""
    username: str | None = None
    password: str | None = None
    sender: str = Field(alias="from", min_length=1)
    """Who e-mails come from: ``Shop <shop@example.com>``."""
    to: str | list[str] = Field(default=[])
    """Who gets alerts that name only ``email``."""
    timeout: Duration = 30.0
    """For each answer of the server."""

    def at(self) -> int:
        """The port."""
        return self.port or _PORTS[self.security]

    @model_validator(mode="after")
    def _guarded(self) -> MailServer:
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` are given together")
        if self.username is not None and self.security == "none" and self.server not in _HERE:
            raise ValueError("a password is sent over TLS only: use `security: starttls` or `tls`")
        return self


def check_mail(entry: Json, findings: Findings) -> None:
    """Report what could never work in ``mail``. A text with a secret in it stands for any text."""
    if entry:
        check_model(MailServer, entry, findings, ("mail",), " in `mail`", templates=True)
