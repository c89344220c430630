"""``/v1/runs/{id}/transcripts``: what a run's agents said, were told and called."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from orchestrator.client import Client

_PAGE = 50
_MOST = 500


class TranscriptSummary(BaseModel):
    """A conversation in a list."""

    path: str = Field(description="Of the agent's step in the run")
    generation: int = Field(description="1, and one more each time the step was run again on purpose")
    agent: str | None = Field(description="The declared agent; null for one that its step describes")
    model: str
    goal: str = Field(description="Its beginning")
    turns: int
    usage: dict[str, Any] = Field(description="Tokens and cost of its own answers")
    started_at: datetime
    updated_at: datetime


class TranscriptList(BaseModel):
    transcripts: list[TranscriptSummary]


class TranscriptMessage(BaseModel):
    """What was said at one moment."""

    position: int
    turn: int = Field(description="From 0: the turn that answers it, or of which it is the answer")
    role: str
    content: list[dict[str, Any]] = Field(description="Blocks of the Messages API")
    at: datetime
    stop: str | None = Field(description="Why an answer ended")
    usage: dict[str, Any]


class Transcript(BaseModel):
    """A conversation, page by page."""

    path: str
    generation: int
    agent: str | None
    model: str
    system: str
    goal: str
    tools: list[dict[str, Any]] = Field(description="As the model sees them")
    left_out: dict[str, str] = Field(description="Tools that could not be used, with the reason")
    messages: list[TranscriptMessage]
    next: int | None = Field(description="What to give as `after` for the next page; null at the end")


def router(client: Client) -> APIRouter:
    """The operations on transcripts. To be added before those on runs, whose ids may hold slashes."""
    api = APIRouter(prefix="/v1", tags=["runs"])

    @api.get(
        "/runs/{run_id:path}/transcripts",
        operation_id="listTranscripts",
        summary="List the conversations of a run's agents",
    )
    async def list_transcripts(run_id: str) -> TranscriptList:
        found = await client.run(run_id).transcripts()
        return TranscriptList(transcripts=[TranscriptSummary(**asdict(summary)) for summary in found])

    @api.get(
        "/runs/{run_id:path}/transcripts/{path:path}",
        operation_id="getTranscript",
        summary="Read one agent's conversation, also while it goes on",
    )
    async def show(
        run_id: str,
        path: str,
        generation: Annotated[int | None, Query(ge=1, description="Without it the newest")] = None,
        after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Only messages behind this position")] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST)] = _PAGE,
    ) -> Transcript:
        found = await client.run(run_id).transcript(path, generation=generation, after=after, limit=limit)
        return Transcript(**asdict(found))

    return api
