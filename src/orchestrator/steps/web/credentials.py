"""What proves who sends a request: the headers of ``auth``, and the OAuth tokens one worker keeps."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.http import Auth, OAuth2
from orchestrator.steps.context import StepContext

FetchToken = Callable[[OAuth2], Awaitable[Any]]
"""Asks the token endpoint; gives its JSON answer."""

_MARGIN = 30.0
"""Seconds before its end at which a token counts as used up."""
_DEFAULT_LIFE = 300.0
"""Seconds a token is kept whose endpoint does not say how long it lives."""


class Tokens:
    """OAuth access tokens of one worker."""

    def __init__(self) -> None:
        self._tokens: dict[str, tuple[str, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, oauth: OAuth2, fetch: FetchToken, *, refused: str | None = None) -> str:
        """A token that is still good and is not ``refused``; concurrent callers share one fetch."""
        key = hashlib.sha256(oauth.model_dump_json().encode()).hexdigest()
        async with self._locks.setdefault(key, asyncio.Lock()):
            now = asyncio.get_running_loop().time()
            token, good_until = self._tokens.get(key, ("", 0.0))
            if not token or token == refused or good_until <= now:
                token, life = _token(oauth, await fetch(oauth))
                self._tokens[key] = (token, now + max(life - _MARGIN, life / 2))
            return token

    async def aclose(self) -> None:
        """Forget everything."""
        self._tokens.clear()


def _token(oauth: OAuth2, answer: Any) -> tuple[str, float]:
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token:
        raise TerminalError("invalid_response", f"{oauth.token_url} answered without an 'access_token' text")
    life = answer.get("expires_in")
    try:
        return token, float(life) if life is not None else _DEFAULT_LIFE
    except (TypeError, ValueError):
        return token, _DEFAULT_LIFE


async def authorization(
    auth: Auth | None, context: StepContext, fetch: FetchToken, *, refused: str | None = None
) -> dict[str, str]:
    """The headers of ``auth``, their values known to the context's secrets. ``refused`` is the OAuth token
    the other side did not accept."""
    if auth is None:
        return {}
    if auth.header is not None:
        context.secrets.remember(auth.header.value)
        return {auth.header.name: auth.header.value}
    if auth.basic is not None:
        pair = f"{auth.basic.username}:{auth.basic.password}"
        credential, scheme = base64.b64encode(pair.encode()).decode(), "Basic"
        context.secrets.remember(auth.basic.password)
    elif auth.oauth2 is not None:

        async def open_tokens() -> Tokens:
            return Tokens()

        tokens = await context.resources.shared("oauth2", open_tokens)
        credential, scheme = await tokens.get(auth.oauth2, fetch, refused=refused), "Bearer"
    else:
        credential, scheme = auth.bearer or "", "Bearer"
    context.secrets.remember(credential)
    return {"Authorization": f"{scheme} {credential}"}


def token_request(oauth: OAuth2) -> tuple[dict[str, str], Auth | None]:
    """Form and authentication of the request for a token (RFC 6749 §4.4.2)."""
    form = {"grant_type": "client_credentials"}
    form |= {name: value for name in ("scope", "audience") if (value := getattr(oauth, name)) is not None}
    if oauth.credentials == "body":
        return form | {"client_id": oauth.client_id, "client_secret": oauth.client_secret}, None
    pair = {"username": oauth.client_id, "password": oauth.client_secret}
    return form, Auth.model_validate({"basic": pair})
