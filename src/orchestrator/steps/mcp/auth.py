"""Signing in to MCP servers with nobody there to click: OAuth tokens fetched, kept, refreshed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from mcp.client.auth import OAuthFlowError, TokenStorage
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from orchestrator.spec.acts.mcp import ClientCredentials, McpServer, RefreshToken
from orchestrator.steps.mcp.call import CALL, SignInFailed

Json = Any
Flow = AsyncGenerator[httpx2.Request, httpx2.Response]

_MARGIN = 30.0
"""Seconds before its end at which a token counts as used up."""
_SHOWN = 300
"""Characters of an answer of the authorization server that an error shows."""
_UNAUTHORISED = 401
_TOO_MANY = 429
_FAILING = 500


class SignIn(httpx2.Auth):
    """Puts an access token on every request. One per server and worker: concurrent requests share a fetch, and wait
    for it alone."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @property
    def credentials(self) -> list[str]:
        """Every secret text it holds now, to be masked."""
        raise NotImplementedError

    def token(self) -> str | None:
        """A token that is still good, as far as known."""
        raise NotImplementedError

    def _fetch(self, request: httpx2.Request, refused: str | None) -> Flow:
        """The requests that end in a new token; may end before, when ``request`` itself needed none."""
        raise NotImplementedError

    async def async_auth_flow(self, request: httpx2.Request) -> Flow:
        """Raises SignInFailed."""
        refused = self.token()
        if refused is not None:
            _sign(request, refused)
            response = yield request
            if response.status_code != _UNAUTHORISED:
                return
        async with self._lock:
            if self.token() in (None, refused):
                try:
                    async with aclosing(_driven(self._fetch(request, refused))) as exchanges:
                        async for outgoing, answer in exchanges:
                            answer.append((yield outgoing))
                except OAuthFlowError as error:
                    raise _failed(SignInFailed(str(error)[:_SHOWN])) from error
                except SignInFailed as error:
                    raise _failed(error) from None
            token = self.token()
        if token is not None:
            _sign(request, token)
            yield request


def _sign(request: httpx2.Request, token: str) -> None:
    request.headers["Authorization"] = f"Bearer {token}"


def _failed(error: SignInFailed) -> SignInFailed:
    call = CALL.get()
    if call is not None:
        if call.status == _TOO_MANY or call.status >= _FAILING:
            error.passing = True
        call.stop(error)
    return error


async def _driven(flow: Flow) -> AsyncGenerator[tuple[httpx2.Request, list[httpx2.Response]]]:
    """Each request of ``flow``, and where its answer is to be put."""
    try:
        outgoing = await anext(flow)
        while True:
            answer: list[httpx2.Response] = []
            yield outgoing, answer
            outgoing = await flow.asend(answer[0])
    except StopAsyncIteration:
        return
    finally:
        await flow.aclose()


def sign_in(server: McpServer, root: Path) -> SignIn | None:
    """How to sign in to ``server``; None where its entry has no ``auth``. Files are relative to ``root``."""
    if server.auth is None or server.url is None:
        return None
    if server.auth.client_credentials is not None:
        return _Machine(server.url, server.auth.client_credentials)
    if server.auth.refresh_token is not None:
        return _Refreshed(server.auth.refresh_token)
    return _TokenFile(root / (server.auth.token_file or ""))


class _Machine(SignIn):
    """Client credentials: the SDK finds the token endpoint of the issuer and asks it."""

    def __init__(self, url: str, given: ClientCredentials) -> None:
        super().__init__()
        self._provider = ClientCredentialsOAuthProvider(
            url, _Nowhere(), given.client_id, given.client_secret, scope=given.scope, issuer=given.issuer
        )

    @property
    def credentials(self) -> list[str]:
        token = self._provider.context.current_tokens
        return [token.access_token] if token else []

    def token(self) -> str | None:
        held, ends = self._provider.context.current_tokens, self._provider.context.token_expiry_time
        if held is None or (ends is not None and time.time() > ends - _MARGIN):
            return None
        return held.access_token

    async def _fetch(self, request: httpx2.Request, refused: str | None) -> Flow:
        self._provider.context.clear_tokens()
        request.headers.pop("Authorization", None)
        asked = False
        async with aclosing(_driven(self._provider.async_auth_flow(request))) as exchanges:
            async for outgoing, answer in exchanges:
                if outgoing is request and asked:
                    # The token is there. The request itself is sent by whoever holds no lock.
                    return
                asked = asked or outgoing is request
                answer.append((yield outgoing))


class _Nowhere(TokenStorage):
    """The SDK's storage, for tokens that live in memory."""

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Kept by the provider itself."""

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Never registered."""


class _Refreshed(SignIn):
    """A refresh token from the catalogue."""

    def __init__(self, given: RefreshToken) -> None:
        super().__init__()
        self._held: dict[str, Json] = given.model_dump(exclude_none=True)

    @property
    def credentials(self) -> list[str]:
        names = ("access_token", "refresh_token", "client_secret")
        return [value for name in names if isinstance(value := self._held.get(name), str)]

    def token(self) -> str | None:
        token, ends = self._held.get("access_token"), self._held.get("expires_at")
        if not isinstance(token, str) or (isinstance(ends, int | float) and time.time() > ends - _MARGIN):
            return None
        return token

    async def _fetch(self, request: httpx2.Request, refused: str | None) -> Flow:
        asked = self._request()
        response = yield asked
        body = await response.aread()
        where = urlsplit(str(asked.url)).netloc
        if response.status_code != httpx2.codes.OK:
            said = body.decode(errors="replace")[:_SHOWN]
            raise SignInFailed(f"{where} gave no new token ({response.status_code}): {said}")
        try:
            given = json.loads(body)
        except ValueError:
            given = None
        if not isinstance(given, dict) or not isinstance(given.get("access_token"), str):
            raise SignInFailed(f"{where} answered without an access_token")
        self._held["access_token"] = given["access_token"]
        if isinstance(given.get("refresh_token"), str):
            self._held["refresh_token"] = given["refresh_token"]
        self._held.pop("expires_at", None)
        if isinstance(life := given.get("expires_in"), int | float):
            self._held["expires_at"] = time.time() + max(life, 2 * _MARGIN)
        await self._keep()

    async def _keep(self) -> None:
        """Memory is all there is."""

    def _request(self) -> httpx2.Request:
        held = self._held
        url, refresh = held.get("token_url"), held.get("refresh_token")
        if not isinstance(url, str) or not isinstance(refresh, str):
            raise SignInFailed(
                "the stored access token is no longer accepted, and there is no refresh_token with a token_url beside "
                "it: sign in again and store new ones"
            )
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        form |= {"scope": held["scope"]} if held.get("scope") else {}
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        client, secret = held.get("client_id"), held.get("client_secret")
        if client and secret:
            pair = f"{quote(client, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif client:
            form["client_id"] = client
        return httpx2.Request("POST", url, data=form, headers=headers)


class _TokenFile(_Refreshed):
    """Tokens in a file, which several workers of one machine may share."""

    def __init__(self, path: Path) -> None:
        SignIn.__init__(self)
        self._path = path
        self._held = {}

    async def _fetch(self, request: httpx2.Request, refused: str | None) -> Flow:
        # Another worker may have refreshed them.
        self._held = await asyncio.to_thread(_read, self._path)
        if self.token() in (None, refused):
            async with aclosing(_driven(super()._fetch(request, refused))) as exchanges:
                async for outgoing, answer in exchanges:
                    answer.append((yield outgoing))

    async def _keep(self) -> None:
        await asyncio.to_thread(_write, self._path, self._held)


def _read(path: Path) -> dict[str, Json]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SignInFailed(f"token_file {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise SignInFailed(f"token_file {path} is not JSON") from error
    if not isinstance(held, dict):
        raise SignInFailed(f"token_file {path} must hold an object with access_token and refresh_token")
    return held


def _write(path: Path, held: dict[str, Json]) -> None:
    """In one go, so that nobody ever reads half of it; readable for the owner alone."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(held, file, indent=2)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise SignInFailed(f"token_file {path} cannot be written: {error.strerror or error}") from error
