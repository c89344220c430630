"""What a webhook asks of its senders and answers them (FLOW_FORMAT §8)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from orchestrator.spec.base import Spec
from orchestrator.spec.step import FixedDuration

Json = Any

TOLERANCE = 300.0
"""Seconds that a signed moment may be away from ours: what Stripe, Slack and Standard Webhooks recommend."""
LEEWAY = 30.0
"""Seconds that a token's times may be off: clocks differ."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TRANSPORT = {"connection", "content-length", "date", "keep-alive", "server", "trailer", "transfer-encoding", "upgrade"}
_PLACES = re.compile(r"\{(\w*)\}")

Scheme = Literal["hmac", "github", "stripe", "slack", "standard-webhooks", "token", "basic", "jwt"]
_TAKES = {
    "hmac": {"secret", "header", "algorithm", "encoding", "prefix", "timestamp", "signed", "tolerance"},
    "github": {"secret"},
    "stripe": {"secret", "tolerance"},
    "slack": {"secret", "tolerance"},
    "standard-webhooks": {"secret", "tolerance"},
    "token": {"secret", "header", "prefix"},
    "basic": {"secret", "username"},
    "jwt": {"secret", "header", "prefix", "algorithm", "keys", "issuer", "audience", "tolerance"},
}
_HASHES = ("sha256", "sha512", "sha1")
_JWT_KEYED = ("RS256", "ES256")


def _header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a header")
    return value


def _secret_name(value: str) -> str:
    if not _SECRET_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a secret; write its bare name, such as CRM_WEBHOOK")
    return value


def check_answer_headers(headers: dict[str, str | int | float | bool | None]) -> dict[str, str]:
    """Headers that an author may set on an answer, as text; null is not sent. Raises ValueError for those that belong
    to the transport and for what is no header at all."""
    texts: dict[str, str] = {}
    for name, value in headers.items():
        _header_name(name)
        if name.lower() in _TRANSPORT:
            raise ValueError(f"{name!r} is set by the gateway itself")
        if value is None:
            continue
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
            raise ValueError(f"the value of {name!r} holds a line break or another control character")
        try:
            text.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(f"the value of {name!r} holds characters that no header can carry") from None
        texts[name] = text
    return texts


HeaderName = Annotated[str, AfterValidator(_header_name)]
SecretName = Annotated[str, AfterValidator(_secret_name)]
AnswerHeaders = Annotated[dict[str, str | int | float | bool | None], AfterValidator(check_answer_headers)]


class Verify(Spec):
    """How a webhook's sender proves itself. ``secret`` is a secret's bare name, or several while one replaces another:
    a request that any of them proves is taken."""

    scheme: Scheme = "hmac"
    secret: SecretName | Annotated[list[SecretName], Field(min_length=1, max_length=10)] | None = None
    header: HeaderName | None = None
    """Where the signature or token stands: ``X-Signature`` (hmac), ``X-Webhook-Token`` (token), ``Authorization``
    (jwt) unless given."""
    algorithm: Literal["sha256", "sha512", "sha1", "HS256", "RS256", "ES256"] | None = None
    encoding: Literal["hex", "base64"] | None = None
    """Of an hmac signature; hex unless given."""
    prefix: str | None = Field(None, max_length=100)
    """What stands before the signature or token, such as ``sha256=``."""
    timestamp: HeaderName | None = None
    """Header with the moment of an hmac signature, in seconds since 1970: older ones are refused."""
    signed: str | None = Field(None, max_length=200)
    """What an hmac signs: ``{body}``, or ``{timestamp}.{body}`` beside ``timestamp``, unless given."""
    tolerance: FixedDuration | None = None
    """How far a signature's moment may be away (5m), or a token's times may be off (30s)."""
    username: str | None = Field(None, min_length=1)
    """The user name of ``basic``; its password is the secret."""
    keys: Annotated[list[str], Field(min_length=1, max_length=10)] | None = None
    """Public keys of ``jwt`` in PEM, pinned."""
    issuer: str | None = None
    audience: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets, newest first."""
        if self.secret is None:
            return ()
        return (self.secret,) if isinstance(self.secret, str) else tuple(self.secret)

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> Verify:
        takes = _TAKES[self.scheme]
        for name in sorted(self.model_fields_set - {"scheme"}):
            if getattr(self, name) is not None and name not in takes:
                raise ValueError(f"`{name}` has no meaning for `{self.scheme}`, which takes {', '.join(sorted(takes))}")
        if self.scheme == "jwt":
            self._check_jwt()
            return self
        if self.secret is None:
            raise ValueError(f"`{self.scheme}` needs `secret`, the name of a secret")
        if self.scheme == "basic" and self.username is None:
            raise ValueError("`basic` needs `username`; the password is the secret")
        if self.scheme == "hmac":
            self._check_hmac()
        return self

    def _check_jwt(self) -> None:
        if (self.secret is None) == (self.keys is None):
            raise ValueError("`jwt` needs either `secret` (HS256) or `keys` (public keys for RS256 or ES256)")
        if self.keys is not None and self.algorithm not in _JWT_KEYED:
            raise ValueError("`keys` need `algorithm: RS256` or `algorithm: ES256`")
        if self.secret is not None and self.algorithm not in (None, "HS256"):
            raise ValueError("a `secret` goes with `algorithm: HS256`; RS256 and ES256 take `keys`")

    def _check_hmac(self) -> None:
        if self.algorithm is not None and self.algorithm not in _HASHES:
            raise ValueError(f"an hmac has `algorithm` {', '.join(_HASHES)}")
        if self.tolerance is not None and self.timestamp is None:
            raise ValueError("`tolerance` needs `timestamp`, the header with the signature's moment")
        places = _PLACES.findall(self.signed) if self.signed is not None else ["body"]
        if "body" not in places or not set(places) <= {"body", "timestamp"}:
            raise ValueError("`signed` holds {body}, and {timestamp} where there is one")
        if self.signed is not None and ("timestamp" in places) != (self.timestamp is not None):
            raise ValueError("`signed` holds {timestamp} exactly where `timestamp` names its header")


class Cors(Spec):
    """Which browsers may call a webhook: pages of these origins; ``*`` stands for all."""

    origins: list[str] = Field(min_length=1)
    headers: list[HeaderName] = Field(default=[])
    """Headers a page may send besides ``Content-Type`` and ``Idempotency-Key``."""
    max_age: FixedDuration | None = None
    """How long a browser may remember the answer."""

    @model_validator(mode="after")
    def _origins(self) -> Cors:
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s?#]+", origin):
                raise ValueError(f"{origin!r} is no origin; write https://app.example.com, without a path, or *")
        return self


class Reply(Spec):
    """A fixed answer to a webhook. ``headers`` and ``body`` are templates over ``trigger`` and ``run``."""

    status: int = Field(200, ge=200, le=599)
    headers: AnswerHeaders = Field(default={})
    body: Any = None
