"""What all pages share: templates, the reader's language and name, cookies, headers, and errors in words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode
from zoneinfo import ZoneInfo

import jinja2
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.bodies import Json, read_body
from orchestrator.gateway.pages import files
from orchestrator.gateway.pages.forms import COOKIE as FORM_COOKIE
from orchestrator.gateway.pages.forms import FIELD, Forms
from orchestrator.gateway.pages.language import COOKIE as LANGUAGE_COOKIE
from orchestrator.gateway.pages.language import LANGUAGES, PARAMETER, Language, chosen, language_of
from orchestrator.gateway.pages.shown import linked
from orchestrator.gateway.problems import status_of
from orchestrator.settings import Settings
from orchestrator.store.database import Store

_LOGGER = logging.getLogger("orchestrator.gateway")
NAME_COOKIE = "orchestrator_name"
"""Who the reader says they are. Nobody has checked it."""
LONGEST_NAME = 200
_YEAR = 365 * 86_400
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
    "Vary": "Accept-Language, Cookie",
}
"""No scripts, no styles in the page, nothing from elsewhere. A page with ``style`` attributes looks wrong: its rules
belong into the stylesheet."""
BARE = {"Referrer-Policy": "no-referrer"}
"""Besides, for a page whose address is a secret."""
_SAID = (400, 403, 404, 408, 409, 410, 413, 415, 422, 503)
"""Errors that have a heading of their own: ``base.error_<status>``."""


class Pages:
    """Makes pages from templates. One for the whole gateway."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.settings = settings
        self.forms = Forms(store.keys, settings)
        self._zone = ZoneInfo(settings.timezone)
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["linked"] = linked

    def router(self, prefix: str, *, bare: bool = False) -> APIRouter:
        """A router whose errors are pages; with ``bare`` pages without the way to others, for whoever was given one
        address alone."""
        pages = self

        class Route(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                answer = super().get_route_handler()

                async def in_words(request: Request) -> Response:
                    try:
                        return await answer(request)
                    except (OrchestratorError, HTTPException, RequestValidationError) as error:
                        return pages.sorry(request, error, bare=bare)

                return in_words

        return APIRouter(prefix=prefix, include_in_schema=False, route_class=Route)

    async def show(
        self,
        request: Request,
        template: str,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Json,
    ) -> HTMLResponse:
        """The page that a template makes of ``values``.

        It also knows ``t`` (texts), ``now``, ``moment``, ``relative``, ``duration``, ``person`` (who the reader says
        they are), ``form_token`` (for forms that post), ``address`` (this page's path and query), ``task_address`` and
        ``run_address``; the filter ``linked`` makes links of the addresses in a text. Raises Unavailable.
        """
        browser = self.forms.browser(request)
        token = await self.forms.token(browser)
        text = self._rendered(request, template, values | {"form_token": token})
        page = HTMLResponse(text, status, _HEADERS | dict(headers or {}))
        self.keep(request, page, FORM_COOKIE, browser, None)
        return self._remembering(request, page)

    def sorry(
        self,
        request: Request,
        error: OrchestratorError | HTTPException | RequestValidationError,
        *,
        bare: bool = False,
    ) -> Response:
        """The page that says what went wrong and where to go from here. Asks nobody, so it can be shown whatever is
        down."""
        if isinstance(error, OrchestratorError):
            status, detail = status_of(error), str(error)
        elif isinstance(error, HTTPException):
            status, detail = error.status_code, str(error.detail)
        else:
            found = [f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors()]
            status, detail = 422, "; ".join(found)
        if status >= 500:
            _LOGGER.warning("%s %s: %s", request.method, request.url.path, detail)
        heading = f"base.error_{status}" if status in _SAID else "base.error"
        values = {"heading": heading, "detail": detail, "status": status, "bare": bare}
        given = getattr(error, "headers", None)
        headers = (
            _HEADERS | (BARE if bare else {}) | ({"Retry-After": "1"} if status == 503 else {}) | dict(given or {})
        )
        return self._remembering(request, HTMLResponse(self._rendered(request, "error.html", values), status, headers))

    async def form(self, request: Request) -> dict[str, Json]:
        """What a form of ours was sent with. Raises Refused for one of another site, HTTPException for a body that is
        no form, Unavailable."""
        body = await read_body(request, self.settings.max_body)
        if not body.textual or not isinstance(body.value, dict):
            raise HTTPException(415, "this is not what the page's form sends")
        given = {name: _storable(value) for name, value in body.value.items()}
        await self.forms.check(request, given.pop(FIELD, None))
        return given

    def redirect(self, to: str) -> RedirectResponse:
        """After a form: the page that shows what has become of it. ``to`` is a path of ours."""
        return RedirectResponse(to, 303, {"Cache-Control": "no-store"})

    def language(self, request: Request) -> Language:
        """The reader's language."""
        return Language(language_of(request), self._zone)

    @property
    def zone(self) -> ZoneInfo:
        """Where moments are told for."""
        return self._zone

    def remember_name(self, request: Request, response: Response, name: str | None) -> None:
        """Keep who the reader says they are; None forgets it."""
        if name is None:
            response.delete_cookie(NAME_COOKIE, path="/")
        else:
            self.keep(request, response, NAME_COOKIE, quote(name, safe=""), _YEAR)

    def _rendered(self, request: Request, template: str, values: Mapping[str, Json]) -> str:
        language, now = self.language(request), datetime.now(UTC)
        query = [(name, value) for name, value in request.query_params.multi_items() if name != PARAMETER]
        own = {
            "t": language,
            "now": now,
            "moment": language.moment,
            "relative": lambda moment: language.relative(moment, now),
            "duration": language.duration,
            "person": person_of(request),
            "address": _address(request.url.path, query),
            "languages": [
                (code, name, _address(request.url.path, [*query, (PARAMETER, code)]))
                for code, name in LANGUAGES.items()
            ],
            "style": files.style()[0],
            "icon": files.icon()[0],
            "bare": False,
            "task_address": task_address,
            "run_address": run_address,
        }
        return self._templates.get_template(template).render(own | dict(values))

    def _remembering(self, request: Request, page: HTMLResponse) -> HTMLResponse:
        asked = chosen(request)
        if asked is not None:
            self.keep(request, page, LANGUAGE_COOKIE, asked, _YEAR)
        return page

    def keep(self, request: Request, page: Response, name: str, value: str, seconds: int | None) -> None:
        """Let the browser keep a cookie, which scripts and other sites' forms do not get."""
        page.set_cookie(
            name, value, seconds, path="/", secure=self.forms.secure(request), httponly=True, samesite="lax"
        )


def person_of(request: Request) -> str | None:
    """Who the reader says they are."""
    name = unquote(request.cookies.get(NAME_COOKIE, "")).strip()
    return name if 0 < len(name) <= LONGEST_NAME and name.isprintable() else None


def task_address(task_id: str) -> str:
    """The page of a task."""
    return f"/inbox/{_quoted(task_id)}"


def run_address(run_id: str) -> str:
    """The page of a run."""
    return f"/runs/{_quoted(run_id)}"


def local_path(text: object, default: str) -> str:
    """``text`` where it is a path of this gateway, which no browser takes for another site; else ``default``."""
    fine = isinstance(text, str) and text.startswith("/") and text.isprintable() and "\\" not in text
    return str(text) if fine and not str(text).startswith("//") else default


def _address(path: str, query: list[tuple[str, str]]) -> str:
    return _quoted(path) + (f"?{urlencode(query)}" if query else "")


def _quoted(path: str) -> str:
    return quote(path, safe="/:[]@!$&'()*+,;=~")


def _storable(value: Json) -> Json:
    if "\x00" in (value if isinstance(value, str) else "".join(value)):
        raise HTTPException(422, "the form holds a NUL character, which cannot be kept")
    return value
