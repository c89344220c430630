"""The page of a task: what it shows, what its forms do, and what it says when they cannot."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door
from tests.integration.gateway.pages.conftest import Readers, token_in
from tests.integration.gateway.test_api import started

from orchestrator.errors import Unavailable
from orchestrator.store.tasks import NewTask

REFUND = """
id: refund
steps:
  - id: check
    type: human-task
    config:
      assignee: content-team
      title: "Look at <it>"
      instructions: "See https://shop.example.com/o?a=1&b=2.\\n<script>alert(1)</script>"
      attachments: {order: {id: 7, "<b>": "<i>x</i>"}, note: "<script>alert(2)</script>"}
      decisions: [{name: approve, label: 네}, reject, later]
      comment_required: [reject]
      on_reject: continue
      not_by: ada
      deadline: 24h
      form:
        type: object
        required: [score]
        properties:
          score: {type: integer, title: Score, minimum: 1, maximum: 5}
          fine: {type: boolean, default: true}
          about: {type: string, title: "<u>About</u>", description: "\\"><script>alert(3)</script>"}
          comment: {type: string}
"""
VOTE = """
id: vote
steps: [{id: check, type: human-task, config: {group: board, quorum: 2, on_reject: continue, not_by: choi}}]
"""
CONTACTS = "contacts: {board: {members: [kim, lee, park, choi]}, content-team: {members: [kim]}}"


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> Any:
    """A gateway with a worker and a few people."""
    (tmp_path / "orchestrator.yaml").write_text(CONTACTS)
    async with open_door(temporal, tmp_path) as opened:
        yield opened


async def opened(door: Door, flow: str) -> tuple[dict[str, Any], str]:
    """An open task of a flow, and its page."""
    await door.publish(flow)
    task = await door.waiting_task(await started(door, re.findall(r"^id: (\w+)", flow, re.MULTILINE)[0]))
    return task, f"/inbox/{task['id']}"


async def test_everything_from_data_is_shown_as_text(door: Door, reader: Readers) -> None:
    _, path = await opened(door, REFUND)
    page = await reader(door, "kim").look(path)
    assert page.status_code == 200
    assert not re.search(r"<script|<u>|<i>|<it>", page.text)
    for escaped in ("Look at &lt;it&gt;", "&lt;script&gt;alert(1)", "&lt;u&gt;About", "&lt;i&gt;x&lt;/i&gt;"):
        assert escaped in page.text
    assert '<a href="https://shop.example.com/o?a=1&amp;b=2" rel="noopener noreferrer' in page.text


async def test_fields_are_in_the_authors_order_with_what_browsers_can_check(door: Door, reader: Readers) -> None:
    _, path = await opened(door, REFUND)
    page = (await reader(door, "kim").look(path)).text
    names = re.findall(r'name="(data\.\w+|comment|decision)"', page)
    assert list(dict.fromkeys(names)) == [
        "data.score",
        "data.fine",
        "data.about",
        "data.comment",
        "comment",
        "decision",
    ]
    score = re.search(r'<input id="[^"]+" name="data\.score"[^>]*>', page)
    assert score is not None
    for attribute in ('type="number"', 'min="1"', 'max="5"', 'step="1"', " required"):
        assert attribute in score[0]
    assert re.search(r'value="true" id="[^"]+" checked', page)
    assert re.findall(r'name="decision" value="(\w+)"[^>]*>([^<]+)<', page) == [
        ("approve", "네"),
        ("reject", "Reject"),
        ("later", "later"),
    ]


async def test_a_decision_is_taken_and_the_next_page_says_what_was_decided(door: Door, reader: Readers) -> None:
    task, path = await opened(door, REFUND)
    one = reader(door, "kim")
    answer = {"data.score": "4", "data.fine": "false", "data.about": "a\r\nb", "data.comment": "", "comment": "good"}
    sent = await one.send(path, decision="approve", **answer)
    assert (sent.status_code, sent.headers["location"]) == (303, path)
    output = await door.client.run(task["run_id"]).result(30)
    assert (output["decision"], output["by"], output["comment"]) == ("approve", "kim", "good")
    assert output["data"] == {"score": 4, "fine": False, "about": "a\nb"}
    page = await one.look(path)
    assert "Your answer was taken: 네." in page.text and f'href="/runs/{task["run_id"]}"' in page.text
    assert "kim decided: 네" in page.text
    assert "Your answer was taken" not in (await one.look(path)).text


async def test_what_is_wrong_stands_beside_its_field_and_everything_typed_is_kept(door: Door, reader: Readers) -> None:
    _, path = await opened(door, REFUND)
    one = reader(door, "kim", "ko")
    wrong = await one.send(
        path, decision="reject", **{"data.score": "9", "data.about": "<b>mine</b>", "comment": "", "data.fine": "false"}
    )
    assert wrong.status_code == 422
    assert re.search(r'name="data\.score" value="9"[^>]* aria-describedby="([^"]+)"\s+aria-invalid="true"', wrong.text)
    assert "5 이하여야 합니다" in wrong.text and "이 결정에는 의견이 필요합니다" in wrong.text
    assert 'value="&lt;b&gt;mine&lt;/b&gt;"' in wrong.text
    assert re.search(r'value="false"\s+checked', wrong.text) and not re.search(r'value="true"[^>]* checked', wrong.text)
    missing = await one.send(path, decision="approve", **{"data.about": "x"})
    assert (missing.status_code, "꼭 답해 주세요" in missing.text) == (422, True)
    none = await one.send(path, **{"data.score": "2"})
    assert (none.status_code, "결정을 하나 골라 주세요" in none.text) == (422, True)
    unknown = await one.send(path, decision="burn", **{"data.score": "2"})
    assert unknown.status_code == 422
    shown = (await door.http.get("/v1" + path.replace("/inbox", "/tasks"))).json()
    assert shown["status"] == "open"


async def test_a_rejection_needs_no_answers_to_the_form(door: Door, reader: Readers) -> None:
    task, path = await opened(door, REFUND)
    sent = await reader(door, "kim").send(path, decision="reject", comment="no", **{"data.fine": "true"})
    assert sent.status_code == 303, sent.text
    output = await door.client.run(task["run_id"]).result(30)
    assert (output["decision"], output["data"], output["comment"]) == ("reject", None, "no")


async def test_a_task_that_was_decided_meanwhile_says_so_and_keeps_the_first_decision(
    door: Door, reader: Readers
) -> None:
    task, path = await opened(door, REFUND)
    one = reader(door, "lee")
    token = token_in(await one.look(path))
    decided = await reader(door, "kim").send(path, decision="later", **{"data.score": "1"})
    assert decided.status_code == 303
    late = await one.http.post(path, data={"form_token": token, "decision": "approve", "data.score": "2"})
    assert late.status_code == 409
    assert "closed before your answer came" in late.text and "by kim" in late.text
    assert (await door.client.run(task["run_id"]).result(30))["decision"] == "later"
    for more in ({"do": "commented", "said": "x"}, {"do": "delegated", "to": "x"}):
        assert (await one.http.post(path, data={"form_token": token} | more)).status_code == 409


async def test_whoever_may_not_decide_is_told_and_refused(door: Door, reader: Readers) -> None:
    _, path = await opened(door, REFUND)
    one = reader(door, "Ada")
    page = await one.look(path)
    assert "Ada may not decide this task" in page.text and 'name="decision"' not in page.text
    sent = await one.send(path, decision="approve", **{"data.score": "1"})
    assert (sent.status_code, "Ada may not decide" in sent.text) == (403, True)


async def test_whoever_has_not_said_who_they_are_is_asked_first(door: Door, reader: Readers) -> None:
    _, path = await opened(door, REFUND)
    one = reader(door, None)
    page = await one.look(path)
    assert "Say who you are before you answer" in page.text and 'name="decision"' not in page.text
    sent = await one.send(path, decision="approve", **{"data.score": "1"})
    assert sent.status_code == 303
    assert sent.headers["location"].startswith("/inbox/name?back=%2Finbox%2Frefund")


async def test_a_form_of_another_site_decides_nothing(door: Door, reader: Readers) -> None:
    task, path = await opened(door, REFUND)
    one = reader(door, "kim")
    form = {"decision": "later", "data.score": "1"}
    for headers, token in (
        ({"origin": "https://elsewhere.example"}, token_in(await one.look(path))),
        ({}, token_in(await reader(door, "kim").look(path))),
        ({}, ""),
    ):
        refused = await one.http.post(path, data=form | {"form_token": token}, headers=headers)
        assert (refused.status_code, refused.headers["content-type"][:9]) == (403, "text/html")
    assert (await door.http.get(f"/v1/tasks/{task['id']}")).json()["status"] == "open"


async def test_votes_are_counted_and_who_has_voted_or_is_not_asked_cannot_vote(door: Door, reader: Readers) -> None:
    task, path = await opened(door, VOTE)
    kim = reader(door, "kim")
    assert (await kim.send(path, decision="approve")).status_code == 303
    page = (await kim.look(path)).text
    assert "1 of 2" in page and "1 more is needed" in page and "Not answered yet: lee, park" in page
    assert "kim voted: Approve" in page and 'name="decision"' not in page
    again = await kim.send(path, decision="reject")
    assert (again.status_code, "has been taken" in again.text) == (409, True)
    stranger = reader(door, "jung")
    assert "Only these people are asked: kim, lee, park" in (await stranger.look(path)).text
    assert (await stranger.send(path, decision="approve")).status_code == 403
    barred = reader(door, "choi", "ko")
    assert "choi 님은 이 일을 결정할 수 없습니다" in (await barred.look(path)).text
    handed = await reader(door, "lee").send(path, do="delegated", to="jung", why="away")
    assert handed.status_code == 303
    assert "lee handed it on to jung" in (await stranger.look(path)).text
    assert (await stranger.send(path, decision="approve")).status_code == 303
    assert (await door.client.run(task["run_id"]).result(30))["by"] == "jung"
    assert "2 of 2" in (await kim.look(path)).text


async def test_a_task_is_commented_and_handed_on(door: Door, reader: Readers) -> None:
    _, path = await opened(door, REFUND)
    kim = reader(door, "kim")
    for form in ({"do": "commented", "said": " "}, {"do": "delegated", "to": "", "why": "<kept>"}):
        wrong = await kim.send(path, **form)
        assert (wrong.status_code, "An answer is needed" in wrong.text) == (422, True)
    assert "&lt;kept&gt;" in wrong.text and "<details open>" in wrong.text
    assert (await kim.send(path, do="commented", said="who <wrote> it?\r\nhttp://x.example/")).status_code == 303
    page = (await kim.look(path)).text
    assert "Your comment was added" in page and "who &lt;wrote&gt; it?\n<a href=" in page
    assert (await kim.send(path, do="delegated", to="lee")).status_code == 303
    page = (await kim.look(path)).text
    assert "lee has this task now" in page and "kim handed it on to lee" in page
    again = await kim.send(path, do="delegated", to="park")
    assert (again.status_code, "does not have this task" in again.text) == (403, True)


async def test_a_task_that_is_not_there_is_a_page_that_says_so(door: Door, reader: Readers) -> None:
    one = reader(door, "kim")
    for path in ("/inbox/no-such:task", "/inbox/%F0%9F%99%82", "/inbox/" + "x" * 3000, "/inbox/a//b"):
        page = await one.look(path)
        assert (page.status_code, "There is nothing here" in page.text) == (404, True), path
    form = {"form_token": token_in(await one.look("/inbox/name")), "decision": "approve"}
    assert (await one.http.post("/inbox/no-such:task", data=form)).status_code == 404


async def test_a_task_whose_run_is_gone_cannot_be_decided(door: Door, reader: Readers) -> None:
    await door.store.tasks.open(NewTask(run_id="gone", step="t", path="t", flow="f", title="Left behind"))
    refused = await reader(door, "kim").send("/inbox/gone:t", decision="approve", comment="kept <b>")
    assert (refused.status_code, "is over" in refused.text, "kept &lt;b&gt;" in refused.text) == (409, True, True)


async def test_an_answer_that_no_worker_takes_is_kept_to_be_sent_again(
    door: Door, reader: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = await opened(door, REFUND)

    async def nobody(*_: object) -> dict[str, Any]:
        raise Unavailable("no worker answers: <start one>")

    one = reader(door, "kim")
    with monkeypatch.context() as patched:
        patched.setattr(door.client, "decide", nobody)
        sent = await one.send(path, decision="approve", comment="mine", **{"data.score": "3"})
    assert (sent.status_code, "No worker answers: &lt;start one&gt;" in sent.text) == (503, True)
    assert ">\nmine</textarea>" in sent.text and 'name="data.score" value="3"' in sent.text
    assert (await one.send(path, decision="approve", **{"data.score": "3"})).status_code == 303


async def test_a_store_that_cannot_be_read_is_a_page_that_says_so(door: Door, reader: Readers) -> None:
    one = reader(door, "kim", "ko")
    _, path = await opened(door, VOTE)
    token = token_in(await one.look(path))
    with sqlite3.connect(door.settings.store.removeprefix("sqlite:///")) as database:
        database.execute("alter table task rename to away")
    database.close()
    for answer in (
        await one.look("/inbox"),
        await one.look(path),
        await one.http.post(path, data={"form_token": token, "decision": "approve"}),
    ):
        assert (answer.status_code, "지금은 이용할 수 없습니다" in answer.text) == (503, True)
        assert answer.headers["retry-after"] == "1"
    with sqlite3.connect(door.settings.store.removeprefix("sqlite:///")) as database:
        database.execute("alter table away rename to task")
    database.close()


ODD = """
id: odd
steps:
  - id: "check"
    type: human-task
    config:
      assignee: kim
      on_reject: continue
      form:
        type: object
        properties:
          a/b: {type: [string, "null"]}
          any: {}
          deep: {type: object, properties: {x: {type: object, properties: {y: {type: integer}}}, n: {type: number}}}
          many: {type: array, items: {type: integer}}
          some: {type: array, items: {enum: [1, two, null]}}
          one: {enum: [1, "1", true]}
          when: {type: string, format: date-time}
"""


HOSTILE: list[dict[str, Any]] = [
    {"data.any": "{nope"},
    {"data.any": "[" * 5000},
    {"data.any": '{"a": 1e999}'},
    {"data.any": '"\\ud800"'},
    {"data.deep/n": "1" * 5000},
    {"data.deep/n": "NaN"},
    {"data.deep/x": "[]"},
    {"data.deep": "x"},
    {"data.many": "1\nx"},
    {"data.some": ["nope", "two"]},
    {"data.one": ["1", "true"]},
    {"data.one": "2"},
    {"data.when": "yesterday"},
    {"data.when": ["a", "b"]},
    {"data.a~1b": ["x", "y"]},
    {"data.any": ["{", "}"]},
    {"comment": ["x", "y"], "decision": ["approve", "reject"]},
    {"decision": "🙂" * 1000},
    {"do": ["commented", "x"]},
    {"do": "delegated", "to": "kim", "why": "x" * 100_000},
]


async def test_no_answer_is_a_failure_of_the_server(door: Door, reader: Readers) -> None:
    one = reader(door, "kim")
    _, path = await opened(door, ODD)
    for form in HOSTILE:
        answer = await one.send(path, **{"decision": "approve"} | form)
        assert answer.status_code in (303, 403, 422), (form, answer.text)
        assert answer.status_code != 422 or "wrong" in answer.text, form
        if answer.status_code == 303:
            _, path = await opened(door, ODD)


async def test_every_kind_of_field_gives_the_type_its_schema_declares(door: Door, reader: Readers) -> None:
    task, path = await opened(door, ODD)
    answer = {
        "data.a~1b": "slash",
        "data.any": '{"k": [1, null]}',
        "data.deep/n": "2.5",
        "data.deep/x": '{"y": 3}',
        "data.many": " 1 \r\n\r\n2\r\n",
        "data.some": ["two", "null"],
        "data.one": "true",
        "data.when": "2026-03-01T09:30",
    }
    sent = await reader(door, "kim").send(path, decision="approve", **answer)
    assert sent.status_code == 303, sent.text
    assert (await door.client.run(task["run_id"]).result(30))["data"] == {
        "a/b": "slash",
        "any": {"k": [1, None]},
        "deep": {"n": 2.5, "x": {"y": 3}},
        "many": [1, 2],
        "some": ["two", None],
        "one": True,
        "when": "2026-03-01T09:30:00+00:00",
    }
