"""The way of a webhook's request past the routes of the API, each of which would look at it first."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.gateway.routes import Routes


class StraightToWebhooks:
    """ASGI middleware: a path that a webhook has, letter by letter, goes to it at once. No webhook has a path of the
    gateway's own; paths with ``{names}`` come to the webhooks behind the routes."""

    def __init__(self, app: ASGIApp, webhooks: ASGIApp, routes: Routes) -> None:
        self._app = app
        self._webhooks = webhooks
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        straight = scope["type"] == "http" and self._routes.has(scope["path"])
        await (self._webhooks if straight else self._app)(scope, receive, send)
