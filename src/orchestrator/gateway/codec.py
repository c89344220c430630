"""What Temporal's Web UI and command line ask to show a stored value instead of the reference in the history.

The protocol is Temporal's own: POST ``{"payloads": […]}``, get the same back, decoded. The Web UI asks ``/decode`` to
leave references (``preserveStorageRefs``), shows their size, and asks ``/download`` when somebody wants one.
"""

from __future__ import annotations

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from orchestrator.errors import Unavailable
from orchestrator.gateway.bodies import BodyLimit

_LARGEST_REQUEST = 20_000_000
"""Bytes: a page of a history with values that Temporal carries itself."""
_HEADERS = ["authorization", "authorization-extras", "content-type", "x-namespace"]


def codec_app(converter: DataConverter, origins: tuple[str, ...]) -> ASGIApp:
    """The endpoint, to be mounted. Pages of other origins than these cannot read what it answers."""

    async def decode(request: Request) -> JSONResponse:
        payloads = await _payloads(request)
        if request.query_params.get("preserveStorageRefs") != "true":
            payloads = await _fetched(converter, payloads)
        return _answer(payloads)

    async def download(request: Request) -> JSONResponse:
        return _answer(await _fetched(converter, await _payloads(request)))

    async def encode(request: Request) -> JSONResponse:
        # What a person types in the Web UI is small; it goes to Temporal as it is.
        return _answer(await _payloads(request))

    handlers = {"/decode": decode, "/download": download, "/encode": encode}
    return Starlette(
        routes=[Route(path, handler, methods=["POST"]) for path, handler in handlers.items()],
        middleware=[
            Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["POST"], allow_headers=_HEADERS),
            Middleware(BodyLimit, limit=_LARGEST_REQUEST, prefix="/"),
        ],
    )


async def _payloads(request: Request) -> list[Payload]:
    try:
        return list(Parse(await request.body(), Payloads(), ignore_unknown_fields=True).payloads)
    except (ParseError, UnicodeDecodeError) as error:
        raise HTTPException(400, f'send {{"payloads": […]}} as Temporal writes payloads: {error}') from error


async def _fetched(converter: DataConverter, payloads: list[Payload]) -> list[Payload]:
    try:
        values = await converter.decode(payloads, [RawValue] * len(payloads))
    except (Unavailable, ValueError) as error:
        # A status of 4xx: the Web UI would ask again three times for another one.
        raise HTTPException(404, str(error)) from error
    return [value.payload for value in values]


def _answer(payloads: list[Payload]) -> JSONResponse:
    return JSONResponse(MessageToDict(Payloads(payloads=payloads)))
