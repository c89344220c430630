"""Human tasks, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestrator.errors import NotFound
from orchestrator.store.database import Store
from orchestrator.store.tasks import NewTask

REVIEW = NewTask(
    run_id="run-1",
    flow="moderation",
    step="review",
    path="check/then/review",
    title="검토",
    instructions="read it",
    assignee="content-team",
    form={"type": "object"},
    decisions=["approve", {"name": "reject", "label": "Nein"}],
    deadline=datetime(2030, 1, 1, 9, tzinfo=timezone(timedelta(hours=9))),
)


async def test_a_task_is_read_back_as_it_was_opened(store: Store) -> None:
    opened = await store.tasks.open(REVIEW)
    assert opened.id == "run-1:check/then/review"
    assert opened == await store.tasks.get(opened.id)
    assert (opened.status, opened.title, opened.form) == ("open", "검토", {"type": "object"})
    assert opened.decisions == ["approve", {"name": "reject", "label": "Nein"}]
    assert opened.deadline == datetime(2030, 1, 1, 0, tzinfo=UTC)
    assert opened.decided_at is None


async def test_opening_twice_keeps_the_first(store: Store) -> None:
    first = await store.tasks.open(REVIEW)
    assert await store.tasks.open(replace(REVIEW, title="another")) == first
    await store.tasks.close(first.id, status="decided", decision="approve")
    assert (await store.tasks.open(REVIEW)).status == "decided"


async def test_a_decision_is_recorded_once(store: Store) -> None:
    task = await store.tasks.open(REVIEW)
    at = datetime(2026, 5, 1, tzinfo=UTC)
    closed = await store.tasks.close(
        task.id,
        status="decided",
        decision="approve",
        data={"n": 1},
        comment="좋아요",
        by="kim",
        decided_at=at,
    )
    assert (closed.status, closed.decision, closed.data, closed.comment, closed.by, closed.decided_at) == (
        "decided",
        "approve",
        {"n": 1},
        "좋아요",
        "kim",
        at,
    )
    late = await store.tasks.close(task.id, status="expired", automatic=True)
    assert late == closed


async def test_lists_are_narrowed_by_what_is_asked(store: Store) -> None:
    first = await store.tasks.open(REVIEW)
    other = await store.tasks.open(replace(REVIEW, run_id="run-2", assignee="legal"))
    await store.tasks.close(first.id, status="cancelled")
    ids = {
        "all": [t.id for t in await store.tasks.list()],
        "open": [t.id for t in await store.tasks.list(status="open")],
        "legal": [t.id for t in await store.tasks.list(assignee="legal")],
        "run": [t.id for t in await store.tasks.list(run_id="run-1")],
        "one": [t.id for t in await store.tasks.list(limit=1)],
    }
    assert ids == {
        "all": [other.id, first.id],
        "open": [other.id],
        "legal": [other.id],
        "run": [first.id],
        "one": [other.id],
    }


async def test_an_unknown_task_says_where_to_look(store: Store) -> None:
    with pytest.raises(NotFound, match="orchestrator tasks list"):
        await store.tasks.get("nope")
    with pytest.raises(NotFound):
        await store.tasks.close("nope", status="cancelled")


async def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    from sqlalchemy.exc import StatementError

    with pytest.raises(StatementError, match="without a time zone"):
        await store.tasks.open(replace(REVIEW, deadline=datetime(2030, 1, 1)))
