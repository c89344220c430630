"""The list of tasks: whose they are, which ones, in which order, how many."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door
from tests.integration.gateway.pages.conftest import Readers

from orchestrator.store.tasks import NewTask

NOW = datetime.now(UTC)
CONTACTS = "contacts: {finance: {members: [kim, board]}, board: {members: [lee, 서연]}}"


@pytest.fixture
async def listed(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Door]:
    """A gateway whose store has a few tasks. Nobody works on their runs."""
    (tmp_path / "orchestrator.yaml").write_text(CONTACTS)
    async with open_door(temporal, tmp_path, working=False) as door:
        await put(door, "pay", group="finance", deadline=NOW + timedelta(hours=30))
        await put(door, "sign", group="board", deadline=NOW - timedelta(hours=3))
        await put(door, "own", assignee="kim")
        await put(door, "vote", group="finance", quorum=2, people=["kim", "lee"], flow="buying")
        await put(door, "other", assignee="<b>ada</b>", title="<script>alert(1)</script>", flow="buying")
        await put(door, "done", assignee="kim")
        await door.store.tasks.close("done:t", status="decided", decision="approve", by="kim")
        await put(door, "late", assignee="lee")
        await door.store.tasks.close("late:t", status="expired", automatic=True)
        yield door


async def put(door: Door, name: str, *, flow: str = "office", **more: Any) -> None:
    await door.store.tasks.open(NewTask(run_id=name, step="t", path="t", flow=flow, **{"title": f"Task {name}"} | more))


def titles(page: str) -> list[str]:
    return [found.removeprefix("Task ") for found in re.findall(r'<h2><a href="/inbox/\w+:t">([^<]*)</a></h2>', page)]


def counts(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'class="count">(\d+)<', page)]


async def test_my_tasks_are_mine_my_groups_and_what_i_am_asked_for(listed: Door, reader: Readers) -> None:
    kim = (await reader(listed, "kim").look("/inbox")).text
    assert (titles(kim), counts(kim)) == (["pay", "own", "vote"], [3, 5])
    lee = (await reader(listed, "LEE").look("/inbox?view=mine")).text
    assert titles(lee) == ["sign", "pay", "vote"]
    seoyeon = (await reader(listed, "서연", "ko").look("/inbox")).text
    assert titles(seoyeon) == ["sign", "pay"] and "내 할 일" in seoyeon and "나는" in seoyeon
    nobody = (await reader(listed, None).look("/inbox?view=mine")).text
    assert titles(nobody) == [] and "Say who you are" in nobody
    assert titles((await reader(listed, None).look("/inbox")).text) == [
        "sign",
        "pay",
        "own",
        "vote",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ]


async def test_a_deadline_is_told_from_now_and_in_the_calendar_and_one_that_has_passed_in_words(
    listed: Door, reader: Readers
) -> None:
    page = (await reader(listed, "lee").look("/inbox")).text
    assert re.search(r"Overdue</span>\s*<span><time [^>]+>3 hours ago ", page)
    assert re.search(r"Due</span>\s*<span><time [^>]+>in 1 day ", page)
    assert f"{NOW + timedelta(hours=30):%Y, %H:%M} UTC" in page
    assert "1 task is overdue" in page


NARROWED = {
    "view=open&flow=buying": ["vote", "&lt;script&gt;alert(1)&lt;/script&gt;"],
    "view=open&assignee=lee": ["sign", "pay", "vote"],
    "view=open&assignee=finance": ["pay", "vote"],
    "view=open&assignee=<b>ada</b>": ["&lt;script&gt;alert(1)&lt;/script&gt;"],
    "view=open&overdue=1": ["sign"],
    "view=open&sort=newest": ["&lt;script&gt;alert(1)&lt;/script&gt;", "vote", "own", "sign", "pay"],
    "view=open&sort=oldest": ["pay", "sign", "own", "vote", "&lt;script&gt;alert(1)&lt;/script&gt;"],
    "view=mine&flow=buying&assignee=lee": ["vote"],
    "view=closed": ["late", "done"],
    "view=closed&assignee=kim": ["done"],
    "view=open&flow=nothing": [],
    "view=open&page=99": ["sign", "pay", "own", "vote", "&lt;script&gt;alert(1)&lt;/script&gt;"],
}


async def test_the_list_is_narrowed_and_ordered(listed: Door, reader: Readers) -> None:
    one = reader(listed, "kim")
    for query, found in NARROWED.items():
        page = await one.look(f"/inbox?{query}")
        assert (query, page.status_code, titles(page.text)) == (query, 200, found)
        assert "<script" not in page.text and "<b>ada" not in page.text


ODD = [
    "page=x",
    "page=-1",
    "page=0",
    "page=99999999999999",
    "view=x&sort=y",
    "flow=" + "f" * 5000,
    "overdue=maybe",
    "assignee=%ff%fe",
    "assignee=" + "%20" * 300,
    "view=mine&view=open",
    "flow=%27%22%3E%3Cscript%3E",
    "=&&=",
]


async def test_whatever_the_address_asks_for_there_is_a_page(listed: Door, reader: Readers) -> None:
    one = reader(listed, "kim")
    for query in ODD:
        page = await one.look(f"/inbox?{query}")
        assert page.status_code == 200 and "<script" not in page.text, query


async def test_long_lists_have_pages_that_keep_what_was_asked_for(listed: Door, reader: Readers) -> None:
    for number in range(45):
        await put(listed, f"n{number:02}", flow="many & more", assignee="park")
    one = reader(listed, "kim")
    seen: list[str] = []
    address, pages = "/inbox?view=open&flow=many+%26+more&sort=oldest", 0
    while address:
        page = (await one.look(address)).text
        assert "45 tasks" in page
        seen += titles(page)
        pages += 1
        following = re.search(r'rel="next" href="([^"]+)"', page)
        address = following[1].replace("&amp;", "&") if following else ""
    assert (pages, seen) == (3, [f"n{number:02}" for number in range(45)])
    assert 'rel="prev"' in page


async def test_the_chosen_name_may_be_anything_that_can_be_written(listed: Door, reader: Readers) -> None:
    for name in ("%00", "a\u202eb", "'; drop table task;--", "\\", "x" * 5000, '"><script>alert(1)</script>'):
        page = await reader(listed, name).look("/inbox")
        assert page.status_code == 200 and "<script" not in page.text, name
