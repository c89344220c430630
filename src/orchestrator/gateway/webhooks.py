"""Webhooks: requests at the paths that published flows declare. Read, map, start, answer."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from orchestrator.admission import now_text
from orchestrator.client import Client, Run, RunCancelled, RunFailed
from orchestrator.errors import FieldProblem, InputsInvalid
from orchestrator.expressions import CompiledValue, ExpressionError, Meter
from orchestrator.gateway.bodies import Body, gathered, read_body
from orchestrator.gateway.problems import problem_of
from orchestrator.gateway.routes import Match, Routes, Webhook
from orchestrator.settings import Settings
from orchestrator.spec.definition import Json
from orchestrator.spec.inputs import check_inputs

_HIDDEN = re.compile(
    r"authorization|cookie|signature|secret|password|passwd|credential|api-?key|hmac|(^|-)(auth|token|jwt)($|-)"
)
"""Headers that prove who sends. A run's history is no place for them."""

_DELIVERY_IDS = (
    "x-github-delivery",
    "x-gitlab-event-uuid",
    "x-gitea-delivery",
    "x-shopify-webhook-id",
    "webhook-id",
    "svix-id",
    "linear-delivery",
    "ce-id",
)
"""Where senders put a delivery's own id, which stays the same when they send it again."""

_TEXT_ROOTS = frozenset({"query", "params", "headers"})
"""Members of ``trigger`` whose values are text whatever they mean."""


class Started(BaseModel):
    """A run that was started, or that an earlier delivery of the same key had started."""

    run_id: str
    flow: str
    version: str | None


class Webhooks:
    """The ASGI app for every path that is not the gateway's own."""

    def __init__(self, client: Client, routes: Routes, settings: Settings) -> None:
        self._client = client
        self._routes = routes
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise HTTPException(404)
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        match = await self._routes.find(request.method, request.url.path)
        if match is None:
            raise HTTPException(404, f"nothing is at {request.url.path}: no enabled flow has a webhook with this path")
        if match.webhook is None:
            raise HTTPException(
                405,
                f"the webhook {request.url.path} takes {', '.join(match.methods)}",
                {"Allow": ", ".join(match.methods)},
            )
        body = await read_body(request, match.webhook.limit or self._settings.max_body)
        run = await self._start(request, match, match.webhook, body)
        return await self._result(run) if match.webhook.waits else accepted(run)

    async def _start(self, request: Request, match: Match, hook: Webhook, body: Body) -> Run:
        delivery, sent_key = _delivery(request)
        trigger = {
            "type": "webhook",
            "id": hook.id,
            "time": now_text(),
            "body": body.value,
            "method": request.method,
            "path": request.url.path,
            "params": match.params,
            "query": gathered(request.query_params.multi_items()),
            "headers": _shown_headers(request),
            "files": {},
            "delivery_id": delivery,
            "ip": request.client.host if request.client else None,
        }
        scope = {"trigger": trigger}
        inputs, textual = await self._inputs(hook, body, scope)
        key = _rendered_key(hook, scope) or sent_key
        return await self._client.start(
            hook.flow,
            inputs,
            version=hook.version,
            trigger=trigger,
            idempotency_key=key,
            convert_text=textual,
            digest=hashlib.sha256(body.raw).hexdigest(),
        )

    async def _inputs(self, hook: Webhook, body: Body, scope: Mapping[str, Json]) -> tuple[dict[str, Json], bool]:
        """The mapped inputs, and whether all of them are text that stands for other types."""
        if hook.inputs is None:
            return (body.value if isinstance(body.value, dict) else {}), body.textual
        inputs: dict[str, Json] = {}
        problems: list[FieldProblem] = []
        for name, template in hook.inputs.items():
            try:
                inputs[name] = _render(template, scope)
            except ExpressionError as error:
                problems.append(FieldProblem(name, str(error)))
        if problems:
            raise InputsInvalid(hook.flow, problems)
        if not body.textual:
            await self._convert(hook, inputs)
        return inputs, body.textual

    async def _convert(self, hook: Webhook, inputs: dict[str, Json]) -> None:
        """Beside a JSON body only what comes from the query, the path or a header is text to be converted."""
        textual = [name for name, template in (hook.inputs or {}).items() if _is_text_only(template)]
        if not textual:
            return
        version = await self._client.store.flows.version(hook.flow, hook.version)
        declared = version.definition.inputs.get("properties", {})
        for name in textual:
            if name in declared:
                schema = {"type": "object", "properties": {name: declared[name]}}
                inputs |= check_inputs(hook.flow, schema, {name: inputs[name]}, convert_text=True)

    async def _result(self, run: Run) -> Response:
        try:
            output = await run.result(self._settings.sync_timeout)
        except TimeoutError:
            return accepted(run)
        except (RunFailed, RunCancelled) as error:
            response = problem_of(error)
            response.headers.update(_run_headers(run))
            return response
        return JSONResponse(output, 200, _run_headers(run))


def accepted(run: Run) -> Response:
    """202: the run's id and where to look."""
    started = Started(run_id=run.id, flow=run.flow or "", version=run.version)
    return JSONResponse(started.model_dump(), 202, _run_headers(run))


def _run_headers(run: Run) -> dict[str, str]:
    return {"Location": f"/v1/runs/{quote(run.id)}", "X-Run-Id": quote(run.id)}


def _render(template: CompiledValue, scope: Mapping[str, Json]) -> Json:
    if template.late_names:
        raise ExpressionError("names that are known only inside a step cannot be used in a trigger")
    meter = Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
    return template.render(scope, meter).value


def _rendered_key(hook: Webhook, scope: Mapping[str, Json]) -> str | None:
    if hook.key is None:
        return None
    try:
        key = _render(hook.key, scope)
    except ExpressionError as error:
        raise InputsInvalid(hook.flow, [FieldProblem("idempotency_key", str(error))]) from error
    return None if key in (None, "") else str(key)


def _is_text_only(template: CompiledValue) -> bool:
    return bool(template.references) and all(
        reference.root == "trigger" and reference.path[:1] and reference.path[0] in _TEXT_ROOTS
        for reference in template.references
    )


def _delivery(request: Request) -> tuple[str | None, str | None]:
    """The delivery's own id and the idempotency key that follows from it."""
    key = request.headers.get("idempotency-key", "").strip()
    if key:
        return key, key
    for name in _DELIVERY_IDS:
        found = request.headers.get(name, "").strip()
        if found:
            return found, f"{name}:{found}"
    return None, None


def _shown_headers(request: Request) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name, value in request.headers.items():
        if not _HIDDEN.search(name):
            shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown
