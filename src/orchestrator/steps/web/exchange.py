"""One HTTP request and its answer: what the http and api steps share."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import ClientResponse
from aiohttp.http_exceptions import ContentEncodingError

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.http import OAuth2, Statuses
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.retry_after import retry_after
from orchestrator.steps.web.credentials import authorization, token_request
from orchestrator.steps.web.network import HttpClient, shared_client
from orchestrator.steps.web.outgoing import Outgoing, Request, following, form_body, outgoing, shown

RETRYABLE_STATUSES = frozenset({408, 429, 502, 503, 504, 529})
_TYPES = {429: "rate_limit_exceeded"} | dict.fromkeys((502, 503, 504, 529), "temporary_service_unavailable")
_MAX_REDIRECTS = 10
_MAX_ERROR_BODY = 65_536
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json|text/json")
_TEXT_TYPE = re.compile(
    r"text/.*|application/(?:[\w.+-]+\+xml|xml|yaml|x-yaml|javascript|graphql|x-www-form-urlencoded|x-ndjson)"
)


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
        what = f"{request.method} {shown(request.url)}"
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
    what = f"{request.method} {shown(request.url)}"
    sent = outgoing(request, proof, context)
    async with _mapped_errors(what):
        response = await _send(client, sent, request, context)
        try:
            return await _read(response, request, what)
        finally:
            response.close()


async def _send(client: HttpClient, sent: Outgoing, request: Request, context: StepContext) -> ClientResponse:
    for _ in range(_MAX_REDIRECTS + 1):
        response = await client.send(sent)
        if not request.follow_redirects:
            return response
        try:
            next_one = following(sent, response.status, response.headers.get("location"), context)
        except BaseException:
            response.close()
            raise
        if next_one is None:
            return response
        response.close()
        sent = next_one
    raise TerminalError("too_many_redirects", f"{shown(request.url)} redirected more than {_MAX_REDIRECTS} times")


async def _read(response: ClientResponse, request: Request, what: str) -> Answer:
    fine = _expected(response.status, request.expect)
    limit = request.max_response if fine else min(request.max_response, _MAX_ERROR_BODY)
    content, cut = await _content(response, limit)
    headers = _headers(response.raw_headers)
    content_type = headers.get("content-type", "")
    if not fine:
        raise _status_error(response, headers, what, _lenient(content, content_type), cut)
    if cut:
        raise TerminalError(
            "payload_too_large",
            f"{what} answered more than {limit} bytes (max_response); raise it, or ask the service for less",
            status=response.status,
        )
    return Answer(response.status, headers, _parsed(content, content_type, request.parse, what))


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name in lower case; what came several times is joined by a comma (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = _decoded(name).lower(), _decoded(value)
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _expected(status: int, expect: Statuses | None) -> bool:
    if expect is None:
        return status < 400
    return any(status == wanted or f"{status // 100}xx" == wanted for wanted in expect)


async def _content(response: ClientResponse, limit: int) -> tuple[bytes, bool]:
    """What the answer holds, at most ``limit`` bytes of it, and whether there was more."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > limit:
            return b"".join(parts)[:limit], True
    return b"".join(parts), False


def _status_error(response: ClientResponse, headers: Mapping[str, str], what: str, body: Json, cut: bool) -> StepError:
    status = response.status
    shown = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    said = f": {shown[:200]}{'…' if len(shown) > 200 else ''}" if body not in (None, "") else ""
    kind = StepError if status in RETRYABLE_STATUSES else TerminalError
    data = {"body": body} | ({"truncated": True} if cut else {})
    return kind(
        _TYPES.get(status, f"http_{status}"),
        f"{what} answered {status} {response.reason or ''}".rstrip() + said,
        status=status,
        retry_after=retry_after(headers),
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
    except aiohttp.ServerTimeoutError as error:
        kind = "network_error" if isinstance(error, aiohttp.ConnectionTimeoutError) else "timeout"
        raise StepError(kind, f"{what}: the server did not answer in time ({type(error).__name__})") from error
    except aiohttp.InvalidURL as error:
        raise TerminalError("invalid_config", f"{what} cannot be sent: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        if _has_cause(error, ContentEncodingError):
            raise TerminalError(
                "invalid_response", f"{what} answered a body that cannot be unpacked: {error}"
            ) from error
        if _has_cause(error, ssl.SSLCertVerificationError):
            raise TerminalError("tls_error", f"{what}: the server's certificate is not trusted: {error}") from error
        raise StepError("network_error", f"{what}: {error or type(error).__name__}") from error


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
