"""Tasks through the gateway: votes, comments, delegation, history, and links that decide once."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typer.testing import CliRunner

from orchestrator.cli.tasks import tasks_app
from orchestrator.security import tokens
from orchestrator.steps.tasks.links import PURPOSE

from .conftest import Door, open_door, serving
from .test_api import is_problem, started

REVIEW = """
id: review
version: 1.0.0
steps:
  - id: check
    type: human-task
    config:
      assignee: content-team
      title: "Look at <it>"
      instructions: "Is this & that all right?"
      attachments: {order: {id: 7}, note: "<script>alert(1)</script>"}
      decisions: [{name: approve, label: 승인}, reject]
      comment_required: [reject]
      on_reject: continue
      not_by: ada
      form: {type: object, required: [score], properties: {score: {type: integer, title: Score}, fine: {type: boolean}, about: {type: string}}}
"""
VOTE = """
id: vote
steps: [{id: check, type: human-task, config: {assignee: team, quorum: 2, on_reject: continue}}]
"""
REMINDED = """
id: reminded
steps:
  - id: check
    type: human-task
    config:
      assignee: kim
      title: Look
      instructions: Read it.
      remind: [1s]
"""


@pytest.fixture
async def review(door: Door) -> dict[str, Any]:
    """An open task."""
    await door.publish(REVIEW)
    return await door.waiting_task(await started(door, "review"))


async def made(door: Door, task: dict[str, Any], person: str = "kim", **more: Any) -> dict[str | None, str]:
    """Paths of the links for a person, by decision."""
    answer = await door.http.post(f"/v1/tasks/{task['id']}/links", json={"person": person} | more)
    assert answer.status_code == 200, answer.text
    base = door.settings.gateway_url
    assert all(link["url"].startswith(f"{base}/v1/task-links/") for link in answer.json()["links"])
    return {link["decision"]: link["url"].removeprefix(base) for link in answer.json()["links"]}


async def actions(door: Door, task: dict[str, Any]) -> list[tuple[str, str | None]]:
    answer = await door.http.get(f"/v1/tasks/{task['id']}/history")
    assert answer.status_code == 200, answer.text
    return [(entry["action"], entry["by"]) for entry in answer.json()["history"]]


async def test_a_task_shows_what_is_attached_and_who_may_not_decide(door: Door, review: dict[str, Any]) -> None:
    assert {one["name"]: one["value"] for one in review["attachments"]} == {
        "order": {"id": 7},
        "note": "<script>alert(1)</script>",
    }
    assert (review["not_by"], review["comment_required"], review["votes"]) == (["ada"], ["reject"], None)
    url = f"/v1/tasks/{review['id']}/decision"
    refused = await door.http.post(url, json={"decision": "approve", "data": {"score": 1}, "by": "Ada"})
    assert "Ada may not decide this task" in is_problem(refused, 403, "refused")["detail"]


async def test_comments_and_delegations_are_taken_at_once_and_kept(door: Door, review: dict[str, Any]) -> None:
    url = f"/v1/tasks/{review['id']}"
    for path, body in (
        ("comments", {"comment": "who wrote it?", "by": "kim"}),
        ("delegation", {"to": "lee", "by": "kim", "comment": "yours"}),
    ):
        answer = await door.http.post(f"{url}/{path}", json=body)
        assert (answer.status_code, answer.json()["accepted"]) == (200, True), answer.text
    answer = await door.http.post(f"{url}/delegation", json={"to": "park", "by": "kim"})
    assert "lee can" in is_problem(answer, 403, "refused")["detail"]
    for path, body, status in (
        ("comments", {"comment": ""}, 422),
        ("comments", {"comment": "\x00"}, 422),
        ("delegation", {"to": "x"}, 422),
        ("delegation", {"to": " ", "by": "lee"}, 422),
    ):
        assert (await door.http.post(f"{url}/{path}", json=body)).status_code == status
    for _ in range(100):
        if len(await actions(door, review)) == 3:
            break
        await asyncio.sleep(0.05)
    assert await actions(door, review) == [("opened", None), ("commented", "kim"), ("delegated", "kim")]
    assert (await door.http.get(url)).json()["assignee"] == "lee"
    decision = {"decision": "approve", "data": {"score": 1}, "by": "lee"}
    assert (await door.http.post(f"{url}/decision", json=decision)).status_code == 200
    await door.client.run(review["run_id"]).result(20)
    for path, late in (
        ("comments", {"comment": "late"}),
        ("delegation", {"to": "a", "by": "b"}),
        ("decision", decision),
    ):
        detail = is_problem(await door.http.post(f"{url}/{path}", json=late), 409, "conflict")["detail"]
        assert "is decided already by lee at" in detail
    is_problem(await door.http.post(f"{url}/links", json={"person": "kim"}), 409, "conflict")
    is_problem(await door.http.get("/v1/tasks/a:b/history"), 404, "not_found")


async def test_a_second_vote_of_one_person_is_409(door: Door) -> None:
    await door.publish(VOTE)
    task = await door.waiting_task(await started(door, "vote"))
    url = f"/v1/tasks/{task['id']}/decision"
    answers = await asyncio.gather(*(door.http.post(url, json={"decision": "approve", "by": "kim"}) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert (await door.http.post(url, json={"decision": "approve", "by": "lee"})).status_code == 200
    assert (await door.client.run(task["run_id"]).result(20))["by"] == "lee"


async def test_looking_at_a_link_decides_nothing_and_confirming_decides_once(
    door: Door, review: dict[str, Any]
) -> None:
    link = (await made(door, review))["approve"]
    for _ in range(2):
        page = await door.http.get(link)
        assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for words in ("Look at &lt;it&gt;", "this &amp; that", "You answer as kim", "승인", 'name="data.score"'):
        assert words in page.text
    assert list(dict.fromkeys(re.findall(r'name="data\.(\w+)"', page.text))) == ["score", "fine", "about"]
    assert "<script" not in page.text and "&lt;script&gt;" in page.text
    wrong = await door.http.post(link, data={"data.score": "lots", "comment": "keep <me>"})
    assert (wrong.status_code, "score" in wrong.text, "keep &lt;me&gt;" in wrong.text) == (422, True, True)
    done = await door.http.post(link, data={"data.score": "7", "data.fine": "true", "comment": ""})
    assert done.status_code == 200, done.text
    output = await door.client.run(review["run_id"]).result(20)
    expected = {"decision": "approve", "by": "kim", "data": {"score": 7, "fine": True}, "comment": None}
    assert {name: output[name] for name in expected} == expected
    for again in (await door.http.get(link), await door.http.post(link, data={"data.score": "7"})):
        assert (again.status_code, "it can be used once" in again.text) == (409, True)
    assert sorted(await actions(door, review), key=str) == [
        ("decided", "kim"),
        ("link_used", "kim"),
        ("links_given", None),
        ("opened", None),
    ]


async def test_behind_the_open_link_a_person_chooses(door: Door, review: dict[str, Any]) -> None:
    link = (await made(door, review, "lee"))[None]
    page = await door.http.get(link, headers={"accept-language": "ko-KR"})
    assert '<html lang="ko">' in page.text and re.findall(r'name="decision" value="(\w+)"', page.text) == [
        "approve",
        "reject",
    ]
    assert (await door.http.post(link, data={"data.score": "1"})).status_code == 422
    refused = await door.http.post(link, data={"decision": "reject"})
    assert (refused.status_code, "needs a comment" in refused.text) == (422, True)
    assert (await door.http.post(link, data={"decision": "reject", "comment": "no"})).status_code == 200
    assert (await door.client.run(review["run_id"]).result(20))["by"] == "lee"


async def test_a_link_that_is_not_ours_has_expired_or_comes_late_is_refused(door: Door, review: dict[str, Any]) -> None:
    links = await made(door, review)
    for path in (
        "/v1/task-links/none",
        f"{links['approve']}x",
        links["approve"].replace("/v1/task-links/", "/v1/task-links/x"),
    ):
        for answer in (await door.http.get(path), await door.http.post(path, data={})):
            assert (answer.status_code, "no link of ours" in answer.text) == (404, True)
    callback = tokens.sign(await door.store.keys.get("callback"), [review["id"], "approve", "kim", "9999999999"])
    assert (await door.http.get(f"/v1/task-links/{callback}")).status_code == 404
    past = str(int((datetime.now(UTC) - timedelta(seconds=1)).timestamp()))
    expired = tokens.sign(await door.store.keys.get(PURPOSE), [review["id"], "approve", "kim", past])
    for answer in (await door.http.get(f"/v1/task-links/{expired}"), await door.http.post(f"/v1/task-links/{expired}")):
        assert (answer.status_code, "has expired at" in answer.text) == (409, True)
    barred = (await made(door, review, "ada"))["approve"]
    answer = await door.http.post(barred, data={"data.score": "1"})
    assert (answer.status_code, "may not decide" in answer.text) == (403, True)
    assert (await door.http.post(links["approve"], json={"data.score": 1})).status_code == 200
    late = await door.http.get(links["reject"])
    for _ in range(100):
        if "is decided already by kim" in late.text:
            break
        await asyncio.sleep(0.05)
        late = await door.http.get(links["reject"])
    assert (late.status_code, "is decided already by kim" in late.text) == (409, True)


async def test_a_link_clicked_twice_at_once_counts_once(door: Door) -> None:
    await door.publish(VOTE)
    task = await door.waiting_task(await started(door, "vote"))
    link = (await made(door, task, expires_in=60))["approve"]
    answers = await asyncio.gather(*(door.http.post(link, data={}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    shown = (await door.http.get(f"/v1/tasks/{task['id']}")).json()
    assert (shown["status"], len(shown["votes"] or [1])) == ("open", 1)


async def test_who_is_reminded_or_gets_a_task_is_told_through_their_channels_with_a_link(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []

    async def recorder(request: Request) -> Response:
        told.append(await request.json())
        return Response()

    async with serving(Starlette(routes=[Route("/{who}", recorder, methods=["POST"])])) as url:
        (tmp_path / "orchestrator.yaml").write_text(
            f"contacts: {{kim: {{webhook: '{url}/kim'}}, office: {{webhook: 'http://127.0.0.1:1/'}}}}"
        )
        async with open_door(temporal, tmp_path) as door:
            await door.publish(REMINDED)
            task = await door.waiting_task(await started(door, "reminded"))
            await until(door, task, "notified")
            assert [(one["target"], one["data"]["instructions"]) for one in told] == [("kim", "Read it.")]
            assert "'Look' still waits for your decision" in told[0]["message"]
            link = told[0]["data"]["link"].removeprefix(door.settings.gateway_url)
            assert (await door.http.get(link)).status_code == 200
            handed = {"to": "office", "by": "kim"}
            assert (await door.http.post(f"/v1/tasks/{task['id']}/delegation", json=handed)).status_code == 200
            seen = await until(door, task, "not_notified")
            assert [action for action in seen if action != "links_given"] == [
                "opened",
                "reminded",
                "notified",
                "delegated",
                "not_notified",
            ]
            assert (await door.http.post(link, data={"decision": "approve"})).status_code == 200
            assert (await door.client.run(task["run_id"]).result(20))["by"] == "kim"


async def until(door: Door, task: dict[str, Any], action: str) -> list[str]:
    """What has happened to the task, once this has."""
    for _ in range(300):
        seen = [name for name, _ in await actions(door, task)]
        if action in seen:
            return seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"{action} is not among {seen}")


async def test_the_command_line_does_all_of_it(door: Door, review: dict[str, Any]) -> None:
    async def cli(*arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, tasks_app, list(arguments), obj=door.settings)
        assert done.exit_code == 0, (arguments, done.output, done.exception)
        return done.output

    task = str(review["id"])
    assert "lee has it now" in await cli("delegate", task, "lee", "--by", "kim")
    assert "commented" in await cli("comment", task, "looking", "--by", "lee")
    [chosen] = [one for one in json.loads(await cli("links", task, "lee", "--json")) if one["decision"] == "approve"]
    assert chosen["url"].startswith(f"{door.settings.gateway_url}/v1/task-links/")
    await until(door, review, "commented")
    shown = await cli("show", task)
    assert "assignee: lee" in shown and 'attachments: [{"name"' in shown
    actions = [entry["action"] for entry in json.loads(await cli("history", task, "--json"))]
    assert sorted(actions) == ["commented", "delegated", "links_given", "opened"]
    assert "delegated" in await cli("history", task)
    await cli("approve", task, "--by", "lee", "--data", '{"score": 3}')
    assert (await door.client.run(review["run_id"]).result(20))["data"] == {"score": 3}


async def test_a_step_called_history_has_a_task_like_any_other(door: Door) -> None:
    await door.publish(
        "id: past\nsteps: [{id: b, type: block, config: {steps: [{id: history, type: human-task, config: {assignee: a}}]}}]"
    )
    task = await door.waiting_task(await started(door, "past"))
    assert task["path"] == "b/history"
    assert (await door.http.get(f"/v1/tasks/{task['id']}")).json() == task
    assert await actions(door, task) == [("opened", None)]


async def test_the_tasks_of_a_person_are_also_those_of_their_groups(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    (tmp_path / "orchestrator.yaml").write_text(
        "contacts: {finance: {members: [kim, board]}, board: {members: [lee, Park]}, ada: {}}"
    )
    async with open_door(temporal, tmp_path) as door:
        for name, group, more in (
            ("pay", "finance", ""),
            ("sign", "board", ""),
            ("vote", "finance", ", quorum: 2, not_by: lee"),
        ):
            config = f"group: {group}, on_reject: continue{more}"
            await door.publish(f"id: {name}\nsteps: [{{id: t, type: human-task, config: {{{config}}}}}]")
            await started(door, name)
        for _ in range(600):
            if len((await door.http.get("/v1/tasks")).json()["tasks"]) == 3:
                break
            await asyncio.sleep(0.05)

        async def of(person: str) -> list[str]:
            answer = await door.http.get("/v1/tasks", params={"assignee": person, "status": "open"})
            return sorted(task["flow"] for task in answer.json()["tasks"])

        assert await of("kim") == ["pay", "vote"]
        assert await of("lee") == ["pay", "sign"]
        assert await of(" PARK ") == ["pay", "sign", "vote"]
        assert await of("finance") == ["pay", "vote"]
        assert await of("ada") == []
        [vote] = [t for t in (await door.http.get("/v1/tasks")).json()["tasks"] if t["flow"] == "vote"]
        assert vote["people"] == ["kim", "Park"]
        handed = {"to": "ada", "by": "kim"}
        assert (await door.http.post(f"/v1/tasks/{vote['id']}/delegation", json=handed)).status_code == 200
        await until(door, vote, "delegated")
        assert (await of("ada"), await of("kim")) == (["vote"], ["pay"])
