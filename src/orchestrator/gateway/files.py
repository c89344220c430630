"""``/v1/flows/{flow}/files``: a file for a flow's file trigger, and which files it has seen."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from orchestrator.client import Client
from orchestrator.client.triggers import Declared, Triggers
from orchestrator.dispatch.files import FileStarts, described
from orchestrator.dispatch.rules import Rules
from orchestrator.errors import NotFound, Refused
from orchestrator.gateway.bodies import File, parse_body, read_raw
from orchestrator.gateway.replies import Started

_NAME = Query(max_length=255, description="Of the file, where the body is the file itself")


class FileSeen(BaseModel):
    """A file that a trigger has seen."""

    trigger: str
    path: str
    size: int
    sha256: str
    version: str | None = Field(description="Of the flow, when the file's run was started or refused")
    run_id: str | None
    problem: str | None = Field(description="Why it started no run")
    seen_at: datetime


class FileList(BaseModel):
    files: list[FileSeen]


def router(client: Client) -> APIRouter:
    """The operations on files."""
    api = APIRouter(prefix="/v1/flows", tags=["flows"])
    triggers, starts = Triggers(client.store, "file"), FileStarts(client)

    @api.post(
        "/{flow}/files",
        status_code=202,
        operation_id="uploadFile",
        summary="Start a run with a file",
        openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    )
    async def upload(
        flow: str,
        request: Request,
        response: Response,
        name: Annotated[str, _NAME] = "file",
        trigger: Annotated[str | None, Query(description="Of the flow; its first file trigger without it")] = None,
    ) -> Started:
        """As if it had appeared in the folder of the flow's file trigger: the same content starts one run."""
        declared = await _declared(client, triggers, flow, trigger)
        file = await _file(request, name, client.settings.max_body)
        reference = await client.store.uploads.put(file.content, file.name)
        shown = described(file.name, file.name, len(file.content), file.sha256, file.content_type)
        seen = await starts.start(Rules(declared), shown | {"ref": reference})
        if seen is None:
            raise Refused(f"the `if` of trigger '{declared.id}' does not want this file")
        if seen.run_id is None:
            raise Refused(f"the file started no run: {seen.problem}")
        response.headers["Location"] = f"/v1/runs/{quote(seen.run_id)}"
        response.headers["X-Run-Id"] = quote(seen.run_id)
        return Started(run_id=seen.run_id, flow=flow, version=seen.version)

    @api.get("/{flow}/files", operation_id="listFiles", summary="Files that a flow's triggers have seen")
    async def listed(flow: str, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> FileList:
        await client.store.flows.current(flow)
        return FileList(files=[_shown(asdict(one)) for one in await client.store.files.list(flow, limit)])

    return api


_CONTENT: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
    },
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}


def _shown(seen: dict[str, Any]) -> FileSeen:
    return FileSeen(**{name: value for name, value in seen.items() if name in FileSeen.model_fields})


async def _declared(client: Client, triggers: Triggers, flow: str, trigger: str | None) -> Declared:
    found = [one for one in await triggers.all() if one.flow == flow]
    for one in found:
        if trigger in (None, one.id):
            return one
    current = await client.store.flows.current(flow)
    if not current.enabled:
        raise Refused(f"flow '{flow}' is disabled; enable it to start runs")
    names = ", ".join(f"'{one.id}'" for one in found) or "none"
    which = f"no file trigger '{trigger}'" if trigger else "no file trigger that is on"
    raise NotFound(f"flow '{flow}' has {which}; there is: {names}")


async def _file(request: Request, name: str, limit: int) -> File:
    """The file of a form, or the body itself. Raises HTTPException."""
    raw = await read_raw(request, limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        if not raw:
            raise HTTPException(400, "there is no file: send its content as the body, or as a form (multipart)")
        return File("file", name, kind if kind != "application/x-www-form-urlencoded" else "", raw)
    body = await parse_body(request, raw)
    if len(body.files) != 1:
        raise HTTPException(400, f"the form holds {len(body.files)} files; send one")
    return body.files[0]
