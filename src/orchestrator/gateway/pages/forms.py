"""Forms that only our own pages send: a signed token that belongs to a cookie, and a look at where a form comes from.

Another site can make a browser send a form here, cookies included. It cannot know the token, and the browser says where
the form comes from."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from starlette.requests import Request

from orchestrator.errors import Refused
from orchestrator.security import tokens
from orchestrator.settings import Settings
from orchestrator.store.keys import SigningKeys

FIELD = "form_token"
COOKIE = "orchestrator_form"
_PURPOSE = "page-form"
_OWN_SITES = ("same-origin", "none")


class Forms:
    """Gives out tokens and checks them."""

    def __init__(self, keys: SigningKeys, settings: Settings) -> None:
        self._keys = keys
        self._public = urlsplit(settings.gateway_url)

    async def token(self, browser: str) -> str:
        """What every form of a page carries in ``form_token``. ``browser`` is the cookie's value. Raises
        Unavailable."""
        return tokens.sign(await self._keys.get(_PURPOSE), [browser])

    def browser(self, request: Request) -> str:
        """The value of the cookie, a new one where there is none."""
        given = request.cookies.get(COOKIE, "")
        return given if 16 <= len(given) <= 64 else secrets.token_urlsafe(24)

    async def check(self, request: Request, token: object) -> None:
        """Return where the form is one of ours. Raises Refused, and Unavailable."""
        if not self._from_here(request):
            raise Refused("this form was sent from another site")
        browser = request.cookies.get(COOKIE, "")
        said = tokens.read(await self._keys.get(_PURPOSE), token) if isinstance(token, str) else None
        if not browser or said != [browser]:
            raise Refused(
                "this form was not made for this browser, or its cookies are gone: open the page again and send it anew"
            )

    def secure(self, request: Request) -> bool:
        """Whether cookies may be kept to https."""
        public = self._public.scheme == "https" and request.headers.get("host") == self._public.netloc
        return public or request.url.scheme == "https"

    def _from_here(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        if origin is not None:
            try:
                netloc = urlsplit(origin).netloc
            except ValueError:
                return False
            return bool(netloc) and netloc in (request.headers.get("host"), self._public.netloc)
        return request.headers.get("sec-fetch-site", "none") in _OWN_SITES
