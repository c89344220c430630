"""The OpenAPI document: the API's own operations, and the webhooks of what is published."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from orchestrator.gateway.problems import RESPONSES, Problem
from orchestrator.gateway.replies import Started
from orchestrator.gateway.routes import Routes, Webhook

Json = Any
_PROBLEM = {"content": RESPONSES["default"]["content"]}
_REFS = "#/components/schemas/{model}"


def describe(app: FastAPI, routes: Routes) -> None:
    """Serve ``/openapi.json`` with the webhooks of this moment."""
    app.openapi_url = "/openapi.json"
    app.routes[:] = [route for route in app.routes if getattr(route, "path", None) != "/openapi.json"]
    fixed: dict[str, Json] = {}

    def own() -> dict[str, Json]:
        if not fixed:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in (Problem, Started):
                schemas.setdefault(model.__name__, model.model_json_schema(ref_template=_REFS))
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            _drop_framework_errors(document)
            fixed.update(document)
        return fixed

    app.openapi = own  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False)
    async def document() -> JSONResponse:
        paths = dict(own()["paths"])
        for hook in await routes.all():
            paths[hook.path] = paths.get(hook.path, {}) | {hook.method.lower(): _operation(hook)}
        return JSONResponse(own() | {"paths": paths})


def _drop_framework_errors(document: dict[str, Json]) -> None:
    """FastAPI documents its own 422; ours are problems, and ``default`` says so."""
    for operations in document["paths"].values():
        for operation in operations.values():
            found = operation["responses"].get("422")
            if found and "HTTPValidationError" in str(found):
                del operation["responses"]["422"]


def _operation(hook: Webhook) -> dict[str, Json]:
    started = {"application/json": {"schema": {"$ref": _REFS.format(model="Started")}}}
    responses: dict[str, Json] = {"202": {"description": "The run is started", "content": started}}
    if hook.reply is not None:
        responses = {str(hook.reply.status): {"description": "The trigger's own answer; the run is started"}}
    if hook.waits:
        responses["200"] = {"description": "The run's result", "content": {"application/json": {}}}
    if hook.condition is not None:
        responses.setdefault("200", {"description": "Taken, and nothing is started: the trigger's `if` is false"})
    if hook.verify is not None:
        responses["401"] = {"description": f"The sender is not proved ({hook.verify.scheme})"} | _PROBLEM
    operation: dict[str, Json] = {
        "tags": ["webhooks"],
        "operationId": f"webhook_{hook.flow}_{hook.id}_{hook.method.lower()}",
        "summary": f"Start flow {hook.flow}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", hook.path)
        ]
        + [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "The same key starts one run",
                "schema": {"type": "string"},
            }
        ],
        "responses": responses | {str(status): answer for status, answer in RESPONSES.items()},
    }
    if hook.method in ("POST", "PUT", "PATCH"):
        kinds = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
        operation["requestBody"] = {"content": {kind: {"schema": {}} for kind in kinds}}
    return operation
