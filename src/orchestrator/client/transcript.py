"""The conversations of a run's agents, seen from outside, while it runs and after."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import temporalio.client
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest

from orchestrator.client.connection import temporal_errors
from orchestrator.engine import usage
from orchestrator.errors import NotFound
from orchestrator.payloads.retention import retention_of
from orchestrator.spec.definition import Json
from orchestrator.store.database import Store
from orchestrator.store.transcripts import OPENING, Entry, TranscriptInfo, TranscriptKey

_BATCH = 100


@dataclass(frozen=True, slots=True)
class TranscriptSummary:
    """One conversation in a list."""

    path: str
    """Of the agent's step in the run."""
    generation: int
    """1, and one more each time the step was run again on purpose."""
    agent: str | None
    """The declared agent; None for one that its step describes."""
    model: str
    goal: str
    """Its beginning."""
    turns: int
    usage: dict[str, Json]
    """Of its own answers; agents it called have transcripts of their own."""
    started_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TranscriptMessage:
    """What was said at one moment. ``content`` are the blocks of the Messages API."""

    position: int
    turn: int
    """From 0: the turn that answers it, or of which it is the answer."""
    role: str
    content: list[dict[str, Any]]
    at: datetime
    stop: str | None = None
    """Why an answer ended."""
    usage: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation, or a page of it: ``next`` is the position to go on from, None at the end."""

    path: str
    generation: int
    agent: str | None
    model: str
    system: str
    goal: str
    tools: list[dict[str, Any]]
    """As the model sees them: name, description, input_schema."""
    left_out: dict[str, str]
    """Tools that could not be used, with the reason."""
    messages: list[TranscriptMessage]
    next: int | None = None


async def transcripts_of(store: Store, root: str) -> list[TranscriptSummary]:
    """The conversations of a run and of those that go on from it, in the order they began; ``root`` is the first of
    them. Raises Unavailable."""
    return [_summary(info) for info in await store.transcripts.of_run(root)]


async def transcript_of(
    store: Store, root: str, path: str, *, generation: int | None = None, after: int = OPENING, limit: int | None = None
) -> Transcript:
    """One conversation by the path of the agent's step, the newest generation unless one is given; of its messages
    those behind position ``after``. Raises NotFound naming the paths there are, Unavailable."""
    known = await store.transcripts.of_run(root)
    found = [info for info in known if info.path == path and generation in (None, info.generation)]
    if not found:
        there = ", ".join(f"'{name}'" for name in dict.fromkeys(info.path for info in known)) or "none"
        which = "" if generation is None else f" of generation {generation}"
        raise NotFound(f"run '{root}' has no transcript{which} at '{path}'; there: {there}")
    newest = max(info.generation for info in found)
    key = TranscriptKey(root, path, newest)
    opening = await store.transcripts.read(key, limit=1)
    entries = await store.transcripts.read(key, after=max(OPENING, after), limit=None if limit is None else limit + 1)
    more = limit is not None and len(entries) > limit
    shown = entries[:limit] if more else entries
    if not opening or opening[0].position != OPENING:
        raise NotFound(f"the transcript at '{path}' of run '{root}' is gone: it was just begun anew or deleted")
    return _transcript(key, opening[0].content, shown, shown[-1].position if more else None)


async def forget_old(store: Store, temporal: temporalio.client.Client) -> int:
    """Delete the conversations of runs that Temporal does not know any more, neither them nor one that goes on from
    them; how many runs those were. Raises Unavailable."""
    with temporal_errors(temporal):
        retention = await retention_of(temporal)
    before = datetime.now(UTC) - timedelta(seconds=retention)
    known = deleted = 0
    while idle := await store.transcripts.idle_since(before, limit=_BATCH, skip=known):
        forgotten = [root for root in idle if not await _is_known(temporal, root)]
        if forgotten:
            await store.transcripts.delete(forgotten)
        known += len(idle) - len(forgotten)
        deleted += len(forgotten)
    return deleted


async def _is_known(temporal: temporalio.client.Client, root: str) -> bool:
    quoted = root.replace("\\", "\\\\").replace("'", "\\'")
    request = CountWorkflowExecutionsRequest(
        namespace=temporal.namespace, query=f"WorkflowId = '{quoted}' OR WorkflowId STARTS_WITH '{quoted}~r'"
    )
    with temporal_errors(temporal):
        answer = await temporal.workflow_service.count_workflow_executions(request)
    return answer.count > 0


def _summary(info: TranscriptInfo) -> TranscriptSummary:
    total: dict[str, Json] = {}
    for about in info.answers:
        usage.add(total, about.get("usage"))
    return TranscriptSummary(
        path=info.path,
        generation=info.generation,
        agent=info.about.get("agent"),
        model=info.about.get("model", ""),
        goal=info.about.get("goal", ""),
        turns=len(info.answers),
        usage=total,
        started_at=info.started_at,
        updated_at=info.updated_at,
    )


def _transcript(
    key: TranscriptKey, opening: dict[str, Json], entries: list[Entry], following: int | None
) -> Transcript:
    return Transcript(
        path=key.path,
        generation=key.generation,
        agent=opening["agent"],
        model=opening["model"],
        system=opening["system"],
        goal=opening["goal"],
        tools=opening["tools"],
        left_out=opening["opened"].get("left_out", {}),
        messages=[_message(entry) for entry in entries],
        next=following,
    )


def _message(entry: Entry) -> TranscriptMessage:
    assert entry.at is not None, "it was read from the store"
    return TranscriptMessage(
        position=entry.position,
        turn=entry.turn,
        role=entry.role,
        content=entry.content,
        at=entry.at,
        stop=entry.about.get("stop"),
        usage=entry.about.get("usage", {}),
    )
