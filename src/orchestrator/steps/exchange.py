"""One HTTP request and its answer: what the http and api steps share."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import unquote_plus

import httpx

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.http import Auth, OAuth2, Statuses
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.credentials import authorization, token_request
from orchestrator.steps.network import shared_client
from orchestrator.steps.retry_after import retry_after

RETRYABLE_STATUSES = frozenset({408, 429, 502, 503, 504, 529})
_TYPES = {429: "rate_limit_exceeded"} | dict.fromkeys((502, 503, 504, 529), "temporary_service_unavailable")
_AGENT = f"Orchestrator/{version('orchestrator')}"
_MAX_REDIRECTS = 10
_MAX_ERROR_BODY = 65_536
_CREDENTIAL_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json|text/json")
_TEXT_TYPE = re.compile(
    r"text/.*|application/(?:[\w.+-]+\+xml|xml|yaml|x-yaml|javascript|graphql|x-www-form-urlencoded|x-ndjson)"
)


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
class Answer:
    """What came back, the body parsed."""

    status: int
    headers: dict[str, str]
    body: Json


async def exchange(request: Request, context: StepContext) -> Answer:
    """Send the request and read its answer.

    Raises StepError for what another attempt may heal (network errors, timeouts, the statuses FLOW_FORMAT §6
    names) and TerminalError for the rest; ``data`` of a status error is ``{"body": …}``.
    """
    try:
        async with asyncio.timeout(request.timeout):
            return await _authorised(request, context)
    except TimeoutError as error:
        what = f"{request.method} {_shown(request.url)}"
        raise StepError("timeout", f"{what}: no complete answer within {request.timeout:g} s") from error


async def _authorised(request: Request, context: StepContext) -> Answer:
    async def fetch(oauth: OAuth2) -> Json:
        form, auth = token_request(oauth)
        asked = Request(
            url=oauth.token_url,
            method="POST",
            headers={"Accept": "application/json", "Idempotency-Key": None},
            body=form_body(form),
            auth=auth,
        )
        return (await exchange(asked, context)).body

    proof = await authorization(request.auth, context, fetch)
    try:
        return await _exchange(request, proof, context)
    except StepError as error:
        if error.status != 401 or request.auth is None or request.auth.oauth2 is None:
            raise
    # The token may have been withdrawn before its time: one more try with a fresh one.
    refused = proof["Authorization"].removeprefix("Bearer ")
    return await _exchange(request, await authorization(request.auth, context, fetch, refused=refused), context)


async def _exchange(request: Request, proof: dict[str, str], context: StepContext) -> Answer:
    client = await shared_client(context)
    what = f"{request.method} {_shown(request.url)}"
    with_proof = replace(request, headers=merged(request.headers, proof)) if proof else request
    async with _mapped_errors(what):
        response = await _send(client, _build(client, with_proof, context), with_proof, proof, context)
        try:
            return await _read(response, request, what)
        finally:
            await response.aclose()


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers of all layers; a later one wins, whatever the case of the name."""
    found: dict[str, tuple[str, Any]] = {}
    for layer in layers:
        for name, value in layer.items():
            found[name.lower()] = (name, value)
    return dict(found.values())


def _build(client: httpx.AsyncClient, request: Request, context: StepContext) -> httpx.Request:
    defaults: dict[str, Any] = {"User-Agent": _AGENT}
    if request.method not in ("GET", "HEAD"):
        defaults["Idempotency-Key"] = context.idempotency_key
    if request.body is not None:
        defaults["Content-Type"] = request.body.type
    headers = merged(defaults, request.headers)
    encoded = [_header(name, value) for name, value in headers.items() if value is not None]
    try:
        url = httpx.URL(request.url)
        if request.query:
            url = url.copy_merge_params(_query(request.query))
    except httpx.InvalidURL as error:
        raise TerminalError("invalid_config", f"the url {_shown(request.url)} cannot be used: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise TerminalError("invalid_config", f"a url starts with http:// or https:// and names a host, not {url}")
    return client.build_request(
        request.method, url, headers=encoded, content=request.body.content if request.body else None
    )


def _header(name: str, value: Any) -> tuple[bytes, bytes]:
    if not _HEADER_NAME.fullmatch(name):
        raise TerminalError("invalid_config", f"'{name}' is no header name; use letters, digits and -")
    if name.lower() in _OWN_HEADERS:
        raise TerminalError("invalid_config", f"the step sets header '{name}' itself; leave it out")
    text = as_text(value, f"header '{name}'").strip()
    if any(ord(letter) < 32 and letter != "\t" for letter in text):
        raise TerminalError("invalid_config", f"header '{name}' holds a line break or another control character")
    return name.encode(), utf8(text, f"header '{name}'")


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


async def _send(
    client: httpx.AsyncClient,
    sent: httpx.Request,
    request: Request,
    proof: Mapping[str, str],
    context: StepContext,
) -> httpx.Response:
    for _ in range(_MAX_REDIRECTS + 1):
        response = await client.send(sent, stream=True, follow_redirects=False)
        following = response.next_request if request.follow_redirects else None
        if following is None:
            return response
        await response.aclose()
        if following.url.scheme not in ("http", "https"):
            raise TerminalError(
                "redirect_refused",
                f"{_shown(request.url)} redirects to {following.url.scheme}:, not a web address",
            )
        if _origin(following.url) != _origin(sent.url):
            _drop_credentials(following, proof, context)
        sent = following
    raise TerminalError("too_many_redirects", f"{_shown(request.url)} redirected more than {_MAX_REDIRECTS} times")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _drop_credentials(following: httpx.Request, proof: Mapping[str, str], context: StepContext) -> None:
    """Another origin gets no credential: neither the known headers nor any that carries a secret."""
    own = {name.lower() for name in proof}
    for name, value in list(following.headers.multi_items()):
        if name in _CREDENTIAL_HEADERS or name in own or context.secrets.mask_text(value) != value:
            following.headers.pop(name, None)
    body = following.read().decode("utf-8", "replace")
    if any(context.secrets.mask_text(text) != text for text in (body, unquote_plus(body))):
        raise TerminalError(
            "redirect_refused",
            f"redirected to {_shown(str(following.url))}, another server, with a secret in the body; "
            "name that address in 'url' if it may have it",
        )


async def _read(response: httpx.Response, request: Request, what: str) -> Answer:
    fine = _expected(response.status_code, request.expect)
    limit = request.max_response if fine else min(request.max_response, _MAX_ERROR_BODY)
    content, cut = await _content(response, limit)
    headers = {name: response.headers[name] for name in response.headers}
    content_type = headers.get("content-type", "")
    if not fine:
        raise _status_error(response, what, _lenient(content, content_type), cut)
    if cut:
        raise TerminalError(
            "payload_too_large",
            f"{what} answered more than {limit} bytes (max_response); raise it, or ask the service for less",
            status=response.status_code,
        )
    return Answer(response.status_code, headers, _parsed(content, content_type, request.parse, what))


def _expected(status: int, expect: Statuses | None) -> bool:
    if expect is None:
        return status < 400
    return any(status == wanted or f"{status // 100}xx" == wanted for wanted in expect)


async def _content(response: httpx.Response, limit: int) -> tuple[bytes, bool]:
    """What the answer holds, at most ``limit`` bytes of it, and whether there was more."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > limit:
            return b"".join(parts)[:limit], True
    return b"".join(parts), False


def _status_error(response: httpx.Response, what: str, body: Json, cut: bool) -> StepError:
    status = response.status_code
    shown = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    said = f": {shown[:200]}{'…' if len(shown) > 200 else ''}" if body not in (None, "") else ""
    kind = StepError if status in RETRYABLE_STATUSES else TerminalError
    data = {"body": body} | ({"truncated": True} if cut else {})
    return kind(
        _TYPES.get(status, f"http_{status}"),
        f"{what} answered {status} {response.reason_phrase}".rstrip() + said,
        status=status,
        retry_after=retry_after(response.headers),
        data=data,
    )


def _parsed(content: bytes, content_type: str, parse: str, what: str) -> Json:
    media = content_type.partition(";")[0].strip().lower()
    if parse == "bytes":
        return base64.b64encode(content).decode()
    if parse == "text":
        return _text(content, content_type, what)
    if not content:
        return None
    if _JSON_TYPE.fullmatch(media):
        return _json(content, what)
    if _TEXT_TYPE.fullmatch(media) or "charset=" in content_type.lower():
        return _text(content, content_type, what)
    return base64.b64encode(content).decode()


def _json(content: bytes, what: str) -> Json:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON value")

    try:
        value = json.loads(content, parse_constant=refuse)
        if b"\\u" in content:
            # Half of a surrogate pair is a text no encoding can carry on.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise TerminalError(
            "invalid_response",
            f"{what} answered JSON that cannot be read ({error}); 'parse: text' takes it as it is",
        ) from error


def _text(content: bytes, content_type: str, what: str) -> str:
    charset = re.search(r"charset=[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    name = charset[1] if charset else "utf-8"
    try:
        return content.decode("utf-8-sig" if name.lower() == "utf-8" else name)
    except (LookupError, UnicodeDecodeError) as error:
        raise TerminalError(
            "invalid_response", f"{what} answered text that is not {name}; 'parse: bytes' takes it as it is"
        ) from error


def _lenient(content: bytes, content_type: str) -> Json:
    """The body of an error, which may be cut or broken: its value, or else its text."""
    try:
        return _parsed(content, content_type, "auto", "")
    except TerminalError:
        return content.decode("utf-8", "replace")


@asynccontextmanager
async def _mapped_errors(what: str) -> AsyncIterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        kind = "network_error" if isinstance(error, httpx.ConnectTimeout) else "timeout"
        raise StepError(kind, f"{what}: the server did not answer in time ({type(error).__name__})") from error
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise TerminalError("invalid_config", f"{what} cannot be sent: {error}") from error
    except httpx.DecodingError as error:
        raise TerminalError("invalid_response", f"{what} answered a body that cannot be unpacked: {error}") from error
    except httpx.RequestError as error:
        if _has_cause(error, ssl.SSLCertVerificationError):
            raise TerminalError("tls_error", f"{what}: the server's certificate is not trusted: {error}") from error
        raise StepError("network_error", f"{what}: {error or type(error).__name__}") from error


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _shown(url: str) -> str:
    """The url for messages: neither query nor user part, which may carry what is nobody's business."""
    return re.sub(r"//[^/@]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])
