"""CORS: what browsers need to know before a page of another origin may call a webhook that allows it."""

from __future__ import annotations

from fastapi import Request, Response

from orchestrator.spec.webhooks import Cors

_ALWAYS = ("Content-Type", "Idempotency-Key")
_READABLE = "X-Run-Id, Location, Retry-After"
_MAX_AGE = 600.0


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what it may send."""
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def allow(response: Response, cors: Cors, request: Request) -> bool:
    """Let the page that asks read the answer; False where its origin is not allowed."""
    everybody = "*" in cors.origins
    if not everybody:
        response.headers.add_vary_header("Origin")
    origin = request.headers.get("origin")
    if origin is None or not (everybody or origin in cors.origins):
        return False
    response.headers["Access-Control-Allow-Origin"] = "*" if everybody else origin
    response.headers["Access-Control-Expose-Headers"] = _READABLE
    return True


def preflight(cors: Cors, methods: tuple[str, ...], request: Request) -> Response:
    """The answer to a browser's question: 204 with what is allowed, 403 for an origin that is not."""
    response = Response(status_code=204)
    if not allow(response, cors, request):
        response.status_code = 403
        return response
    response.headers["Access-Control-Allow-Methods"] = ", ".join(methods)
    response.headers["Access-Control-Allow-Headers"] = ", ".join((*_ALWAYS, *cors.headers))
    response.headers["Access-Control-Max-Age"] = f"{_MAX_AGE if cors.max_age is None else cors.max_age:.0f}"
    return response
