"""The ``http`` step: any request to any server."""

from __future__ import annotations

import mimetypes
from typing import Any

import httpx

from orchestrator.spec.acts.http import HttpConfig, Upload
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.data.file import read_bytes
from orchestrator.steps.web.exchange import exchange
from orchestrator.steps.web.outgoing import Body, Request, flat_members, form_body, json_body, utf8

TYPE = "http"
CONFIG = HttpConfig


async def run(config: HttpConfig, context: StepContext) -> Json:
    """Send the request; the output is ``{status, headers, body}``. Errors: see ``exchange``."""
    request = Request(
        url=config.url,
        method=config.method,
        headers=config.headers,
        query=config.query,
        body=await _body(config, context),
        auth=config.auth,
        expect=config.expect,
        follow_redirects=config.follow_redirects,
        max_response=config.max_response,
        parse=config.parse,
    )
    answer = await exchange(request, context)
    return {"status": answer.status, "headers": answer.headers, "body": answer.body}


async def _body(config: HttpConfig, context: StepContext) -> Body | None:
    if config.file is not None:
        return await _file_body(config, context)
    if config.form is not None:
        return form_body(config.form)
    if config.text is not None:
        return Body(utf8(config.text, "the body"), "text/plain; charset=utf-8")
    return None if config.body is None else json_body(config.body)


async def _file_body(config: HttpConfig, context: StepContext) -> Body:
    upload = Upload(path=config.file) if isinstance(config.file, str) else config.file
    assert upload is not None
    found, content = await read_bytes(upload.path, context.settings)
    name = upload.name or found.name
    guessed = upload.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if upload.field is None:
        return Body(content, guessed)
    data: dict[str, Any] = flat_members(config.form or {}, "form")
    encoded = httpx.Request("POST", "http://form", data=data, files={upload.field: (name, content, guessed)})
    return Body(encoded.read(), encoded.headers["content-type"])
