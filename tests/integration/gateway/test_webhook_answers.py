"""What senders of webhooks are answered: fixed replies, answers in the middle of a run, and the same again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import temporalio.client

from .conftest import Door, open_door

FIXED = """
id: fixed
triggers:
  - type: webhook
    path: /fixed
    respond:
      status: 201
      headers: {X-Order: "{{ trigger.body.order }}", Content-Type: text/html}
      body: "<p>{{ trigger.body.name }} {{ run.id }} {{ trigger.time }}</p>"
steps: [{id: all, type: transform, config: {value: 1}}]
"""


async def test_a_fixed_answer_is_rendered_from_the_delivery_and_its_run(idle: Door) -> None:
    await idle.publish(FIXED)
    answer = await idle.http.post("/fixed", json={"order": 7, "name": "한글"})
    assert (answer.status_code, answer.headers["x-order"]) == (201, "7")
    assert f"<p>한글 {answer.headers['x-run-id']} 2" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    # What a sender wrote must not become a script of our origin.
    assert answer.headers["content-security-policy"] == "sandbox"


async def test_a_repeated_delivery_gets_the_fixed_answer_of_the_first(idle: Door, key: str) -> None:
    await idle.publish(FIXED)
    headers = {"Idempotency-Key": key}
    first = await idle.http.post("/fixed", json={"order": 7, "name": "a"}, headers=headers)
    await asyncio.sleep(0.01)
    again = await idle.http.post("/fixed", json={"order": 7, "name": "a"}, headers=headers)
    assert first.content == again.content
    assert first.headers["x-run-id"] == again.headers["x-run-id"]


async def test_an_answer_that_cannot_be_rendered_starts_nothing(idle: Door) -> None:
    await idle.publish(FIXED.replace("id: fixed", "id: unrendered"))
    missing = await idle.http.post("/fixed", json={"name": "a"})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "respond")
    split = await idle.http.post("/fixed", json={"order": "7\r\nSet-Cookie: a=b", "name": "a"})
    assert (split.status_code, "set-cookie" in split.headers) == (422, False)
    assert await idle.client.runs(flow="unrendered") == []


@pytest.mark.parametrize(
    ("reply", "status", "content", "kind"),
    [
        ("{status: 204}", 204, b"", None),
        ("{body: {a: [1]}}", 200, b'{"a":[1]}', "application/json"),
        ("{body: ok}", 200, b"ok", "text/plain; charset=utf-8"),
        ("{body: false, status: 299}", 299, b"false", "application/json"),
    ],
)
async def test_answers_are_text_json_or_nothing(
    idle: Door, reply: str, status: int, content: bytes, kind: str | None
) -> None:
    await idle.publish(
        FIXED[: FIXED.index("    respond:")] + f"    respond: {reply}\n" + FIXED[FIXED.index("steps:") :]
    )
    answer = await idle.http.post("/fixed")
    assert (answer.status_code, answer.content, answer.headers.get("content-type")) == (status, content, kind)


RESPOND = """
id: responding
triggers: [{type: webhook, path: /respond, respond: result}]
steps:
  - id: say
    type: respond
    config: {status: 202, headers: {X-Seen: "{{ trigger.body.n }}"}, body: {got: "{{ trigger.body.n }}"}}
  - {id: later, type: wait, config: {duration: 1500ms}}
  - {id: end, type: transform, config: {value: done}}
"""


async def test_a_step_answers_the_caller_while_the_run_goes_on(door: Door, key: str) -> None:
    await door.publish(RESPOND)
    began = time.monotonic()
    answer = await door.http.post("/respond", json={"n": 3}, headers={"Idempotency-Key": key})
    assert time.monotonic() - began < 1.4, "the answer waited for the end of the run"
    assert (answer.status_code, answer.json(), answer.headers["x-seen"]) == (202, {"got": 3}, "3")
    run = door.client.run(answer.headers["x-run-id"])
    assert (await run.info()).status == "running"
    assert await run.result(20) == "done"
    assert (await run.state())["warnings"] == []
    assert (await run.state())["steps"]["say"]["output"] is None
    again = await door.http.post("/respond", json={"n": 3}, headers={"Idempotency-Key": key})
    assert (again.status_code, again.content, again.headers["x-seen"]) == (202, answer.content, "3")


async def test_many_callers_get_their_own_answers(door: Door) -> None:
    await door.publish(RESPOND)
    answers = await asyncio.gather(*(door.http.post("/respond", json={"n": number}) for number in range(12)))
    assert [answer.json() for answer in answers] == [{"got": number} for number in range(12)]


async def test_a_run_that_ends_without_answering_answers_with_its_result(door: Door) -> None:
    quiet = RESPOND.replace("id: responding", "id: quiet").replace(
        "  - id: say", "  - id: say\n    if: trigger.body.n > 5"
    )
    await door.publish(quiet)
    answer = await door.http.post("/respond", json={"n": 3})
    assert (answer.status_code, answer.json()) == (200, "done")


async def test_a_run_that_fails_after_it_answered_has_answered(door: Door) -> None:
    await door.publish(
        "id: failing\ntriggers: [{type: webhook, path: /failing, respond: result}]\n"
        "steps: [{id: say, type: respond, config: {body: heard}}, {id: stop, type: fail, config: {type: x, message: y}}]\n"
    )
    for _ in range(5):
        assert (await door.http.post("/failing")).text == "heard"


async def test_a_second_answer_is_a_warning_of_the_run(door: Door) -> None:
    second = "  - {id: twice, type: respond, config: {body: second}}\n"
    await door.publish(RESPOND.replace("id: responding", "id: doubled") + second)
    answer = await door.http.post("/respond", json={"n": 3})
    run = door.client.run(answer.headers["x-run-id"])
    await run.result(20)
    assert answer.json() == {"got": 3}
    [warning] = (await run.state())["warnings"]
    assert "'twice'" in warning
    assert "'say'" in warning


async def test_an_answer_after_the_caller_was_told_to_come_back_is_a_warning(
    temporal: temporalio.client.Client, tmp_path: Path, key: str
) -> None:
    async with open_door(temporal, tmp_path, sync_timeout=0.3) as door:
        slow = RESPOND.replace("id: responding", "id: belated").replace(
            "steps:", "steps:\n  - {id: before, type: wait, config: {duration: 1s}}"
        )
        await door.publish(slow)
        answer = await door.http.post("/respond", json={"n": 3}, headers={"Idempotency-Key": key})
        assert (answer.status_code, set(answer.json())) == (202, {"run_id", "flow", "version"})
        run = door.client.run(answer.headers["x-run-id"])
        assert await run.result(20) == "done"
        [warning] = (await run.state())["warnings"]
        assert "too late" in warning
        # The run is over now: who asks again need not wait.
        again = await door.http.post("/respond", json={"n": 3}, headers={"Idempotency-Key": key})
        assert (again.status_code, again.json()) == (200, "done")


async def test_secrets_are_masked_in_answers(temporal: temporalio.client.Client, tmp_path: Path) -> None:
    async with open_door(temporal, tmp_path, secrets={"KEY": "hidden-value"}) as door:
        await door.publish(
            "id: leaky\ntriggers: [{type: webhook, path: /leaky, respond: result}]\n"
            'steps: [{id: say, type: respond, config: {body: "the key is {{ secrets.KEY }}"}}]\n'
        )
        assert (await door.http.post("/leaky")).text == "the key is ***"


async def test_an_answer_nobody_waits_for_is_said_when_publishing(idle: Door) -> None:
    from orchestrator import admission

    text = RESPOND.replace(", respond: result", "")
    _, [warning] = await admission.publish_text(idle.store, idle.project, text)
    assert (warning.line, "nobody waits" in warning.message) == (6, True)
