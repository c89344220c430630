"""``/v1/queues``: messages in, what waits, and what was given up."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from orchestrator.client.queues import QueueDesk
from orchestrator.gateway.sendable import check_sendable, showable
from orchestrator.spec.base import parse_duration
from orchestrator.store.queues import Message


class QueueShown(BaseModel):
    """A queue."""

    queue: str
    waiting: int = Field(description="Messages whose run has not started yet")
    dead: int = Field(description="Messages that no run could be started for")
    oldest: datetime | None = Field(description="When the message that is due for longest was due")
    consumers: list[str] = Field(description="Flows that consume it")


class QueueList(BaseModel):
    queues: list[QueueShown]


class NewMessage(BaseModel):
    """A message to a queue."""

    model_config = ConfigDict(extra="forbid")

    message: Annotated[Any, AfterValidator(check_sendable)] = Field(
        None, description="Any JSON; `trigger.body` of the run"
    )
    key: str | None = Field(None, description="Messages of one key start their runs in order")
    delay: float = Field(0.0, ge=0, description="Seconds until it counts, or text such as 5m")

    @field_validator("delay", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> float:
        return parse_duration(value)


class MessageAccepted(BaseModel):
    """A message that was accepted: it will start a run of whoever consumes the queue."""

    id: str
    new: bool = Field(description="False where this message had been accepted before")


class MessageShown(BaseModel):
    """A message and what became of it."""

    id: str
    queue: str
    message: Any = Field(description="Forgotten when it is done")
    key: str | None
    status: Literal["waiting", "done", "dead"]
    sent_at: datetime
    due_at: datetime
    deliveries: int = Field(description="How often it was handed out")
    refusals: int = Field(description="How often a run was refused")
    problem: str | None = Field(description="Why no run was started the last time")
    outcome: dict[str, Any] | None = Field(description="The flow and the run it started, or that no flow wanted it")


class MessageList(BaseModel):
    messages: list[MessageShown]


class Redrive(BaseModel):
    """Which dead letters get another chance."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(None, description="One of them; without it all")


class Redriven(BaseModel):
    redriven: int


def router(desk: QueueDesk) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1/queues", tags=["queues"])

    @api.get("", operation_id="listQueues", summary="Every queue: what waits, what was given up, who consumes it")
    async def listed() -> QueueList:
        return QueueList(queues=[QueueShown(**asdict(one)) for one in await desk.infos()])

    @api.post("/{queue}/messages", status_code=202, operation_id="sendMessage", summary="Send a message")
    async def send(
        queue: str,
        body: NewMessage,
        idempotency_key: Annotated[str | None, Header(description="The same key sends one message")] = None,
    ) -> MessageAccepted:
        """Accepted means kept: the message starts one run of the flow that consumes the queue, now or when there is
        one."""
        sent = await desk.send(queue, body.message, id=idempotency_key or None, key=body.key, delay=body.delay)
        return MessageAccepted(id=sent.id, new=sent.new)

    @api.get("/{queue}/messages", operation_id="listMessages", summary="Look at messages; nothing is taken out")
    async def messages(
        queue: str,
        status: Literal["waiting", "done", "dead"] = "waiting",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> MessageList:
        return MessageList(messages=[_shown(one) for one in await desk.broker(queue).list(queue, status, limit)])

    @api.post("/{queue}/redrive", operation_id="redriveMessages", summary="Give dead letters another chance")
    async def redrive(queue: str, body: Redrive | None = None) -> Redriven:
        return Redriven(redriven=await desk.broker(queue).redrive(queue, body.id if body else None))

    return api


def _shown(message: Message) -> MessageShown:
    # Messages of a flow's steps, or written by others into Redis, come through no door.
    told = asdict(replace(message, body=None))
    del told["place"], told["body"]
    return MessageShown(message=showable(message.body), **told)
