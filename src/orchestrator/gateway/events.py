"""``/v1/events``: CloudEvents in, one by one or together; and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from orchestrator.client import Client
from orchestrator.client.events import Sent, send_events
from orchestrator.dispatch.subscriptions import Subscriptions
from orchestrator.gateway.bodies import parse_json, read_raw
from orchestrator.gateway.sendable import showable
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.store.events import KeptEvent

Json = Any

_ONE = "application/cloudevents+json"
_SEVERAL = "application/cloudevents-batch+json"
_BINARY = "ce-"


class EventAccepted(BaseModel):
    """An event that was accepted: it will reach whoever wants it."""

    id: str
    source: str
    type: str
    new: bool = Field(description="False where this event, by source and id, had been accepted before")
    subscribers: int = Field(description="Triggers of published flows whose patterns fit; their `if` is not asked yet")


class EventsAccepted(BaseModel):
    events: list[EventAccepted]


class EventShown(BaseModel):
    """An accepted event and what became of it."""

    id: str
    source: str
    type: str
    subject: str | None
    time: str
    data: Any
    accepted_at: datetime
    routed_at: datetime | None = Field(description="When everybody who wanted it had it")
    outcome: list[dict[str, Any]] = Field(description="Runs it started or was delivered to, and what started none")


class EventList(BaseModel):
    events: list[EventShown]
    waiting: int = Field(description="Events that are not routed yet")


def router(
    client: Client, project: Callable[[], Project], settings: Settings, subscriptions: Subscriptions
) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1/events", tags=["events"])

    @api.post("", status_code=202, operation_id="sendEvents", summary="Send events")
    async def send(request: Request) -> EventsAccepted:
        """CloudEvents 1.0: structured (`application/cloudevents+json`), several (`application/cloudevents-batch+json`)
        or binary (`ce-` headers). Plain JSON with a `type` is an event too, a list of them several. All are accepted or
        none; an event that was accepted reaches every flow and every run that wants it, once."""
        sent = await send_events(client.store, project(), await _events(request, settings.max_body))
        return EventsAccepted(events=[await _accepted(one, subscriptions) for one in sent])

    @api.get("", operation_id="listEvents", summary="The newest events")
    async def listed(
        type: Annotated[str | None, Query(max_length=255)] = None,  # noqa: A002 - the word of CloudEvents
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> EventList:
        """Newest first, with what became of each."""
        # Counted first: with nothing waiting, every event shown that was accepted before is shown with its outcome.
        waiting = await client.store.events.waiting()
        found = await client.store.events.list(kind=type, limit=limit)
        return EventList(events=[_shown(one) for one in found], waiting=waiting)

    return api


async def _events(request: Request, limit: int) -> list[Mapping[str, Json]]:
    raw = await read_raw(request, limit)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "ce-type" in request.headers or "ce-specversion" in request.headers:
        return [_binary(request, raw, kind)]
    if kind not in (_ONE, _SEVERAL, "application/json"):
        raise HTTPException(415, f"events come as {_ONE}, {_SEVERAL}, application/json, or with ce- headers")
    body = parse_json(_text(raw))
    several = body if isinstance(body, list) else [body]
    if kind == _SEVERAL and not isinstance(body, list):
        raise HTTPException(400, f"{_SEVERAL} is a JSON list of events")
    if not all(isinstance(one, dict) for one in several):
        raise HTTPException(400, 'an event is a JSON object such as {"type": "order.paid", "data": {…}}')
    return several


def _binary(request: Request, raw: bytes, kind: str) -> dict[str, Json]:
    """CloudEvents HTTP binding §3.1: members in headers, percent-encoded; the body is the data."""
    members: dict[str, Json] = {
        name.removeprefix(_BINARY): unquote(value)
        for name, value in request.headers.items()
        if name.startswith(_BINARY)
    }
    if not raw:
        return members
    is_json = not kind or kind == "application/json" or kind.endswith("+json")
    return members | {"data": parse_json(_text(raw)) if is_json else _text(raw)}


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"the body is not UTF-8: {error}") from error


async def _accepted(sent: Sent, subscriptions: Subscriptions) -> EventAccepted:
    event = sent.event
    wanting = await subscriptions.wanting(event.told())
    return EventAccepted(id=event.id, source=event.source, type=event.type, new=sent.new, subscribers=len(wanting))


def _shown(kept: KeptEvent) -> EventShown:
    return EventShown(
        **showable(kept.event.told()),
        accepted_at=kept.accepted_at,
        routed_at=kept.routed_at,
        outcome=[dict(one) for one in kept.outcome],
    )
