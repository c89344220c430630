"""Config of ``http`` steps: one request, one answer (FLOW_FORMAT §9)."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from orchestrator.spec.base import ActConfig, Spec, act
from orchestrator.spec.size import Size

Method = Annotated[
    Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
Scalar = str | int | float | bool | None
"""What a header holds; null is not sent."""
Statuses = list[int | Literal["1xx", "2xx", "3xx", "4xx", "5xx"]]


class Basic(Spec):
    """User name and password."""

    username: str
    password: str


class HeaderAuth(Spec):
    """A credential in a header of its own, such as ``X-Api-Key``."""

    name: str
    value: str


class OAuth2(Spec):
    """Client credentials (RFC 6749 §4.4). The token is kept until shortly before it expires."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str | None = None
    audience: str | None = None
    credentials: Literal["header", "body"] = "header"
    """Where the token endpoint reads the client's id and secret."""


class Auth(Spec):
    """How a request proves who sends it: exactly one of these."""

    bearer: str | None = None
    basic: Basic | None = None
    header: HeaderAuth | None = None
    oauth2: OAuth2 | None = None

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if len(self.model_fields_set) != 1:
            raise ValueError("write exactly one of bearer, basic, header, oauth2")
        return self


class Upload(Spec):
    """A file as request body: as it is, or with ``field`` as a part of a multipart form."""

    path: str
    """Inside one of the folders the file step may touch."""
    field: str | None = None
    name: str | None = None
    """The file name the other side sees; default: the file's own."""
    content_type: str | None = None
    """Default: guessed from the name."""


@act("http")
class HttpConfig(ActConfig):
    """One HTTP request. The body is one of ``body`` (JSON), ``form``, ``text`` and ``file``."""

    url: str
    method: Method = "GET"
    headers: dict[str, Scalar] = Field(default_factory=dict)
    query: dict[str, Any] = Field(default_factory=dict)
    """Added to the query of ``url``; a list repeats its name, null is not sent."""
    body: Any = None
    """Sent as JSON; null sends no body."""
    form: dict[str, Any] | None = None
    text: str | None = None
    file: str | Upload | None = None
    auth: Auth | None = None
    expect: Statuses | None = None
    """Statuses that are a success, such as ``[200, 404]`` or ``[2xx]``; default: everything below 400."""
    follow_redirects: bool = True
    max_response: Size = 10_000_000
    parse: Literal["auto", "text", "bytes"] = "auto"
    """auto: JSON becomes its value, text stays text, anything else is base64 text as under ``bytes``."""

    @field_validator("url")
    @classmethod
    def _http_only(cls, url: str) -> str:
        if not re.match(r"https?://[^/?#\s]", url.strip(), re.IGNORECASE):
            raise ValueError("a url starts with http:// or https:// and names a host")
        return url.strip()

    @model_validator(mode="after")
    def _one_body(self) -> HttpConfig:
        given = [name for name in ("body", "form", "text", "file") if getattr(self, name) is not None]
        multipart = given == ["form", "file"] and isinstance(self.file, Upload) and self.file.field is not None
        if len(given) > 1 and not multipart:
            raise ValueError(
                f"a request has one body, here are {' and '.join(given)}; only form and a file with 'field' go together"
            )
        return self
