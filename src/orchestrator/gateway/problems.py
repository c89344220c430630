"""Every error as ``application/problem+json`` (RFC 9457), with a stable ``type``."""

from __future__ import annotations

import logging
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from orchestrator.client import RunCancelled, RunFailed
from orchestrator.errors import EventInvalid, FlowInvalid, InputsInvalid, OrchestratorError
from orchestrator.gateway.sendable import answer_of

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:orchestrator:problem:"
_LOGGER = logging.getLogger("orchestrator.gateway")

_STATUS = {
    "flow_invalid": 422,
    "invalid_inputs": 422,
    "invalid_event": 422,
    "invalid_message": 422,
    "idempotency_mismatch": 422,
    "not_found": 404,
    "conflict": 409,
    "refused": 403,
    "concurrency_limit": 429,
    "payload_too_large": 413,
    "unavailable": 503,
    "settings_invalid": 500,
    "run_failed": 502,
    "run_cancelled": 502,
}
_TITLES = {
    "flow_invalid": "The flow cannot be used",
    "invalid_inputs": "The inputs do not match",
    "invalid_event": "The event cannot be accepted",
    "invalid_message": "The message cannot be accepted",
    "idempotency_mismatch": "The idempotency key was used with another body",
    "not_found": "Not found",
    "conflict": "Conflict",
    "refused": "Refused",
    "concurrency_limit": "As many runs go on as the flow allows",
    "payload_too_large": "Too large",
    "unavailable": "Unavailable",
    "settings_invalid": "The server is set up wrongly",
    "run_failed": "The run failed",
    "run_cancelled": "The run was cancelled",
    "invalid_request": "The request cannot be read",
    "unverified": "The sender is not proved",
    "request_timeout": "The request took too long",
    "method_not_allowed": "Method not allowed",
    "unsupported_media_type": "Unsupported content type",
    "internal_error": "Internal error",
}
_CODES = {
    400: "invalid_request",
    401: "unverified",
    403: "refused",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    503: "unavailable",
}


class Problem(BaseModel):
    """What every answer that is an error looks like."""

    type: str = Field(description="Stable: urn:orchestrator:problem:<code>", examples=[_TYPE + "not_found"])
    title: str
    status: int
    detail: str = Field(description="What happened, where, and what to do")
    instance: str | None = Field(None, description="The path that was asked")
    errors: list[dict[str, Any]] | None = Field(
        None, description="Each finding: `field` and `message`, or `file`, `line`, `column`, `message`, `hint`"
    )
    run_id: str | None = Field(None, description="The run that failed")
    error: dict[str, Any] | None = Field(None, description="The failed run's error record")


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "An error",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}
"""Added to every operation of the OpenAPI document."""


def problem(
    status: int, detail: str, *, code: str | None = None, headers: dict[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A problem answer. ``code`` is the last part of ``type``; without it the status decides."""
    code = code or _CODES.get(status) or ("internal_error" if status >= 500 else "invalid_request")
    body = {
        "type": _TYPE + code,
        "title": _TITLES.get(code) or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    } | {name: value for name, value in members.items() if value is not None}
    return answer_of(body, status, headers, MEDIA_TYPE)


def status_of(error: OrchestratorError) -> int:
    """The HTTP status of one of our own errors."""
    return _STATUS.get(error.code, 500)


def problem_of(error: OrchestratorError, instance: str | None = None) -> JSONResponse:
    """The problem answer of one of our own errors."""
    members: dict[str, Any] = {"instance": instance}
    if isinstance(error, FlowInvalid | InputsInvalid | EventInvalid):
        members["errors"] = [asdict(finding) for finding in error.problems]
    elif isinstance(error, RunFailed):
        members |= {"run_id": error.run_id, "error": error.error}
    elif isinstance(error, RunCancelled):
        members["run_id"] = error.run_id
    status = status_of(error)
    headers = {"Retry-After": "1"} if status == 503 else None
    return problem(status, str(error), code=error.code, headers=headers, **members)


def problem_of_http(error: HTTPException, request: Request) -> JSONResponse:
    """The problem answer of what the framework, or a door, raised."""
    detail = error.detail
    if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"nothing is at {request.url.path}"
    elif error.status_code == 405:
        detail = f"{request.method} is not possible at {request.url.path}"
    return problem(error.status_code, detail, headers=dict(error.headers or {}), instance=request.url.path)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, OrchestratorError)
        return problem_of(error, request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return problem_of_http(error, request)

    async def unreadable(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [_finding(entry) for entry in error.errors()]
        malformed = any(entry["type"] == "json_invalid" for entry in error.errors())
        detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in found)
        return problem(400 if malformed else 422, detail, instance=request.url.path, errors=found)

    async def unexpected(request: Request, error: Exception) -> Response:
        _LOGGER.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(
            500,
            "something unexpected happened; it is in the gateway's log",
            code="internal_error",
            instance=request.url.path,
        )

    app.add_exception_handler(OrchestratorError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, unreadable)
    app.add_exception_handler(Exception, unexpected)


def _finding(entry: dict[str, Any]) -> dict[str, Any]:
    where = [str(part) for part in entry["loc"] if part != "body"]
    return {"field": ".".join(where) or "(body)", "message": str(entry["msg"])}
