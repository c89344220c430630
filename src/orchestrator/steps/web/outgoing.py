"""One HTTP request as it goes out, and the one that follows where it is redirected."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import unquote_plus

import httpx
from multidict import CIMultiDict

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.http import Auth, Statuses
from orchestrator.steps.context import Json, StepContext

_AGENT = f"Orchestrator/{version('orchestrator')}"
_CREDENTIAL_HEADERS = ("authorization", "cookie", "proxy-authorization")
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f]")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes ready to be sent."""

    content: bytes
    type: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request before authentication; header and query members that are None are not sent."""

    url: str
    method: str = "GET"
    headers: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Body | None = None
    auth: Auth | None = None
    expect: Statuses | None = None
    follow_redirects: bool = True
    max_response: int = 10_000_000
    parse: Literal["auto", "text", "bytes"] = "auto"
    timeout: float | None = None
    """Seconds for everything, redirects and body included."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent; its URL holds no credentials, they are in the headers."""

    method: str
    url: httpx.URL
    headers: CIMultiDict[str]
    content: bytes | None = None
    credentials: tuple[str, ...] = _CREDENTIAL_HEADERS
    """Headers that another origin does not get."""


def outgoing(request: Request, proof: Mapping[str, str], context: StepContext) -> Outgoing:
    """The request with its headers, those that authenticate it (``proof``), and its whole URL. Raises TerminalError for
    what cannot be sent."""
    defaults: dict[str, Any] = {"User-Agent": _AGENT}
    if request.method not in ("GET", "HEAD"):
        defaults["Idempotency-Key"] = context.idempotency_key
    if request.body is not None:
        defaults["Content-Type"] = request.body.type
    try:
        url = _parsed(request.url)
        if request.query:
            url = url.copy_merge_params(_query(request.query))
    except httpx.InvalidURL as error:
        raise TerminalError("invalid_config", f"the url {shown(request.url)} cannot be used: {error}") from error
    if url.scheme not in _PORTS or not url.host:
        raise TerminalError("invalid_config", f"a url starts with http:// or https:// and names a host, not {url}")
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in merged(defaults, request.headers, proof).items():
        if value is not None:
            headers[name] = _header(name, value)
    content = request.body.content if request.body else None
    bare = _moved_credentials(url, headers)
    return Outgoing(request.method, bare, headers, content, (*_CREDENTIAL_HEADERS, *proof))


@lru_cache(maxsize=256)
def _parsed(url: str) -> httpx.URL:
    """Steps ask the same address again and again, and taking one apart costs as much as writing a request."""
    return httpx.URL(url)


def following(sent: Outgoing, status: int, location: str | None, context: StepContext) -> Outgoing | None:
    """What is sent next where the answer is a redirect (RFC 9110 §15.4), with no credential for another origin; None
    where it is none. Raises StepError and TerminalError for one that nobody can follow."""
    if status not in _REDIRECTS or location is None:
        return None
    try:
        target = sent.url.join(location)
    except httpx.InvalidURL as error:
        raise StepError("network_error", f"{shown(str(sent.url))} redirects to no url: {error}") from error
    if target.scheme not in _PORTS or not target.host:
        raise TerminalError(
            "redirect_refused", f"{shown(str(sent.url))} redirects to {target.scheme}:, not a web address"
        )
    becomes_get = sent.method not in ("GET", "HEAD") and (
        status in (302, 303) or (status == 301 and sent.method == "POST")
    )
    headers = sent.headers.copy()
    if becomes_get:
        headers.popall("content-type", None)
    content = None if becomes_get else sent.content
    if _origin(target) != _origin(sent.url):
        headers.popall("host", None)
        _drop_credentials(sent.credentials, headers, content, target, context)
    method = "GET" if becomes_get else sent.method
    return replace(sent, method=method, url=_moved_credentials(target, headers), headers=headers, content=content)


def _moved_credentials(url: httpx.URL, headers: CIMultiDict[str]) -> httpx.URL:
    """The URL without its user part, which goes into ``headers``; without a fragment, which is not sent."""
    if url.userinfo:
        plain = f"{url.username}:{url.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(plain).decode()}"
    return url.copy_with(userinfo=b"", fragment=None) if url.userinfo or url.fragment else url


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers of all layers; a later one wins, whatever the case of the name."""
    found: dict[str, tuple[str, Any]] = {}
    for layer in layers:
        for name, value in layer.items():
            found[name.lower()] = (name, value)
    return dict(found.values())


def _header(name: str, value: Any) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise TerminalError("invalid_config", f"'{name}' is no header name; use letters, digits and -")
    if name.lower() in _OWN_HEADERS:
        raise TerminalError("invalid_config", f"the step sets header '{name}' itself; leave it out")
    text = as_text(value, f"header '{name}'").strip()
    if _CONTROL.search(text):
        raise TerminalError("invalid_config", f"header '{name}' holds a line break or another control character")
    utf8(text, f"header '{name}'")
    return text


def utf8(text: str, what: str) -> bytes:
    """The text as bytes. Raises TerminalError for half a surrogate pair, which JSON escapes can smuggle
    in."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TerminalError("invalid_config", f"{what} holds half of a surrogate pair, which is no text") from error


def as_text(value: Any, what: str) -> str:
    """A scalar as it stands in a URL, a form or a header. Raises TerminalError for lists and objects."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TerminalError("invalid_config", f"{what} takes a text, number or true/false, not {type(value).__name__}")


def _query(members: Mapping[str, Any]) -> dict[str, str | list[str]]:
    return flat_members(members, "query")


def flat_members(members: Mapping[str, Any], what: str) -> dict[str, str | list[str]]:
    """Members of a query or form: null ones left out, lists repeated."""
    flat: dict[str, str | list[str]] = {}
    for name, value in members.items():
        label = f"{what} member '{name}'"
        if isinstance(value, list):
            flat[name] = [as_text(item, label) for item in value if item is not None]
        elif value is not None:
            flat[name] = as_text(value, label)
    return flat


def json_body(value: Json) -> Body:
    """The value as a JSON body."""
    try:
        return Body(json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), "application/json")
    except ValueError as error:
        raise TerminalError("invalid_config", f"the body is no JSON: {error}") from error


def form_body(members: Mapping[str, Any]) -> Body:
    """A form as browsers send it."""
    encoded = httpx.Request("POST", "http://form", data=flat_members(members, "form"))
    return Body(encoded.read(), "application/x-www-form-urlencoded")


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or _PORTS[url.scheme]


def _drop_credentials(
    names: Iterable[str], headers: CIMultiDict[str], content: bytes | None, target: httpx.URL, context: StepContext
) -> None:
    """Another origin gets no credential: neither the known headers nor any that carries a secret."""
    for name in (*names, *(name for name, value in headers.items() if context.secrets.mask_text(value) != value)):
        headers.popall(name, None)
    body = (content or b"").decode("utf-8", "replace")
    if any(context.secrets.mask_text(text) != text for text in (body, unquote_plus(body))):
        raise TerminalError(
            "redirect_refused",
            f"redirected to {shown(str(target))}, another server, with a secret in the body; "
            "name that address in 'url' if it may have it",
        )


def shown(url: str) -> str:
    """The url for messages: neither query nor user part, which may carry what is nobody's business."""
    return re.sub(r"//[^/@]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])
