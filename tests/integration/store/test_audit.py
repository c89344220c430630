"""What was done is kept once and in order, on both databases; tasks are handed on in place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.errors import NotFound
from orchestrator.store.audit import Entry
from orchestrator.store.database import Store
from orchestrator.store.tasks import NewTask

AT = datetime(2026, 5, 1, tzinfo=UTC)


async def test_entries_are_read_back_in_the_order_they_were_written_each_once(store: Store) -> None:
    first = Entry("opened", "opened", at=AT, details={"to": ["김"]})
    assert await store.audit.add("task", "run:a", first) == 1
    assert await store.audit.add("task", "run:a", first, Entry("note-1", "voted", "kim", AT)) == 1
    assert await store.audit.add("task", "run:b", first) == 1
    found = await store.audit.of("task", "run:a")
    assert [(one.action, one.by, one.at, one.details) for one in found] == [
        ("opened", None, AT, {"to": ["김"]}),
        ("voted", "kim", AT, None),
    ]
    assert await store.audit.of("task", "run:a", after=1, limit=1) == found[1:]
    assert await store.audit.find("task", "run:a", "note-1") == found[1]
    assert await store.audit.find("task", "run:b", "note-1") is None
    assert await store.audit.of("flow", "run:a") == []


async def test_an_open_task_changes_hands_and_a_closed_one_does_not(store: Store) -> None:
    new = NewTask("run-1", "f", "s", "s", group="board", quorum={"approve": 2}, not_by=["ada"], people=["kim", "lee"])
    task = await store.tasks.open(new)
    assert (task.quorum, task.not_by, task.people, task.votes, task.attachments) == (
        {"approve": 2},
        ["ada"],
        ["kim", "lee"],
        None,
        None,
    )
    votes = [{"by": "kim", "decision": "approve"}]
    moved = await store.tasks.update(task.id, assignee="lead", group=None, deadline=AT, votes=votes)
    assert (moved.assignee, moved.group, moved.deadline, moved.votes) == ("lead", None, AT, votes)
    await store.tasks.close(task.id, status="decided", decision="approve")
    assert (await store.tasks.update(task.id, assignee="late", group=None)).assignee == "lead"
    with pytest.raises(NotFound):
        await store.tasks.update("nope", assignee="x")


async def test_the_history_of_a_task_is_forgotten_in_time_and_never_while_the_task_is_open(store: Store) -> None:
    tasks = [await store.tasks.open(NewTask("run-1", "f", step, step)) for step in ("a", "b")]
    for task in tasks:
        await store.audit.add("task", task.id, Entry("opened", "opened", at=AT), Entry("late", "voted"))
    await store.tasks.close(tasks[0].id, status="decided", decision="approve")
    assert await store.audit.purge(86400.0) == 1
    assert [one.action for one in await store.audit.of("task", tasks[0].id)] == ["voted"]
    assert [one.action for one in await store.audit.of("task", tasks[1].id)] == ["opened", "voted"]
