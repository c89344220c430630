"""Human tasks, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from orchestrator.errors import NotFound
from orchestrator.store.database import Store
from orchestrator.store.tasks import CLOSED, NewTask, Order, Wanted

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


async def opened(store: Store, **tasks: dict[str, Any]) -> None:
    """Tasks of runs with these names, opened in this order."""
    for name, changed in tasks.items():
        given: dict[str, Any] = {"run_id": name, "assignee": None, "path": "t", "deadline": None}
        await store.tasks.open(replace(REVIEW, **given | changed))


async def found(store: Store, wanted: Wanted, order: Order = "oldest", **more: int) -> list[str]:
    tasks = await store.tasks.find(wanted, order=order, **more)
    if not more:
        assert await store.tasks.count(wanted) == len(tasks)
    return [task.run_id for task in tasks]


async def test_a_person_has_what_is_theirs_their_groups_and_what_they_are_asked_for(store: Store) -> None:
    await opened(
        store,
        own={"assignee": "kim"},
        team={"group": "team"},
        other={"assignee": "lee"},
        named={"group": "board", "people": ["김 서연", "kim"]},
        vote={"group": "team", "quorum": 2, "people": ["kim", "lee"]},
        handed={"group": "team", "quorum": 2, "people": ["park", "lee"]},
        anybody={"group": "team", "quorum": 2},
        barred={"group": "team", "not_by": ["ada", "Kim"]},
        like={"group": "board", "people": ["k%", "kimber"]},
    )
    names = ["kim", "team"]
    assert await found(store, Wanted(holders=names, person="kim")) == ["own", "team", "named", "vote", "anybody"]
    assert await found(store, Wanted(holders=["김 서연"], person="김 서연")) == ["named"]
    assert await found(store, Wanted(holders=["k%"], person="k%")) == ["like"]
    assert await found(store, Wanted(holders=["_im"], person="_im")) == []
    assert await found(store, Wanted(holders=["team"])) == ["team", "vote", "handed", "anybody", "barred"]


async def test_lists_are_put_in_order_and_cut_into_pages(store: Store) -> None:
    soon, later = (datetime(2030, 1, day, tzinfo=UTC) for day in (1, 2))
    await opened(
        store,
        a={"deadline": later},
        b={},
        c={"deadline": soon, "flow": "refunds"},
        d={"deadline": soon},
    )
    every = Wanted(statuses=("open",))
    assert await found(store, every, "deadline") == ["c", "d", "a", "b"]
    assert await found(store, every, "newest") == ["d", "c", "b", "a"]
    assert await found(store, every, "deadline", limit=2, offset=1) == ["d", "a"]
    assert await found(store, Wanted(overdue_at=later)) == ["c", "d"]
    assert await found(store, Wanted(flow="refunds")) == ["c"]
    assert list(await store.tasks.flows(every)) == ["moderation", "refunds"]
    await store.tasks.close("c:t", status="decided", decided_at=soon)
    await store.tasks.close("b:t", status="expired", decided_at=later)
    assert await found(store, Wanted(statuses=CLOSED), "closed") == ["b", "c"]
    assert list(await store.tasks.flows(every)) == ["moderation"]
