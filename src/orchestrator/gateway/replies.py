"""What the senders of deliveries are answered."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from orchestrator.client import Run
from orchestrator.dispatch.debounce import Held
from orchestrator.errors import FieldProblem, InputsInvalid
from orchestrator.expressions import ExpressionError
from orchestrator.gateway.deliveries import Delivery, rendered
from orchestrator.gateway.routes import CompiledReply
from orchestrator.gateway.sendable import answer_of
from orchestrator.spec.definition import Json
from orchestrator.spec.webhooks import check_answer_headers

_EMPTY = frozenset({204, 205, 304})


class Started(BaseModel):
    """A run that was started, or that an earlier delivery of the same key had started."""

    run_id: str
    flow: str
    version: str | None


class HeldBack(Started):
    """A delivery that waits whether another one comes (`debounce`): then that one's run starts, and this one's never
    does."""

    held_for: float


class NotStarted(BaseModel):
    """A delivery that was taken and starts nothing, and why."""

    started: bool = False
    flow: str
    reason: str


def accepted(run: Run) -> Response:
    """202: the run's id and where to look."""
    started = Started(run_id=run.id, flow=run.flow or "", version=run.version)
    return JSONResponse(started.model_dump(), 202, run_headers(run))


def held_back(held: Held) -> Response:
    """202: the run that starts unless another delivery comes."""
    told = HeldBack(run_id=held.run_id, flow=held.flow, version=held.version, held_for=held.wait)
    return JSONResponse(told.model_dump(), 202, {"X-Run-Id": quote(held.run_id)})


def not_started(flow: str, reason: str) -> Response:
    """200: there is nothing to do, and nothing for the sender to send again."""
    return JSONResponse(NotStarted(flow=flow, reason=reason).model_dump())


def run_headers(run: Run) -> dict[str, str]:
    """Which run belongs to the request."""
    return {"Location": f"/v1/runs/{quote(run.id)}", "X-Run-Id": quote(run.id)}


def render_reply(reply: CompiledReply, delivery: Delivery, run: Run | None) -> dict[str, Json]:
    """The trigger's fixed answer for a delivery as ``{"status", "headers", "body"}``. Without ``run`` it is rendered to
    see whether it can be, before anything is started. Raises InputsInvalid."""
    hook = delivery.hook
    of_run = {
        "id": hook.flow if run is None else run.id,
        "flow": hook.flow,
        "version": hook.version if run is None else run.version,
        "started_at": delivery.trigger["time"],
        "attempt": 1,
        "retry_of": None,
        "parent": None,
        "test": False,
    }
    scope = delivery.scope | {"run": of_run}
    try:
        headers = rendered(reply.headers, scope)
        if any(isinstance(value, list | dict) for value in headers.values()):
            raise ValueError("a header is a text or a number")
        return {"status": reply.status, "headers": check_answer_headers(headers), "body": rendered(reply.body, scope)}
    except (ExpressionError, ValueError) as error:
        raise InputsInvalid(hook.flow, [FieldProblem("respond", str(error))]) from error


def reply_of(answer: dict[str, Json], run: Run) -> Response:
    """An answer as a flow's author wrote it: text as it is, other values as JSON. What is no JSON may hold what a
    sender put there, so a browser that shows it runs no scripts of it as ours."""
    status, body = int(answer.get("status", 200)), answer.get("body")
    headers: dict[str, str] = {**(answer.get("headers") or {})}
    kind = next((headers.pop(name) for name in list(headers) if name.lower() == "content-type"), None)
    response: Response
    if body is None or status in _EMPTY:
        response = Response(status_code=status, headers=headers)
    elif isinstance(body, str):
        response = Response(body.encode("utf-8", "replace"), status, headers, kind or "text/plain; charset=utf-8")
    else:
        response = answer_of(body, status, headers, kind)
    response.headers.update(run_headers(run) | _GUARDS)
    return response


_GUARDS: dict[str, Any] = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
