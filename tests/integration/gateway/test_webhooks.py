"""Webhooks: what starts, what is refused, what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import temporalio.client

from .conftest import Door, open_door

HOOK = """
id: orders
version: 1.0.0
triggers:
  - {type: webhook, path: /api/orders, respond: result}
inputs:
  amount: {type: number}
  note: {type: string, default: none}
steps:
  - id: answer
    type: transform
    config:
      value: {amount: "{{ inputs.amount }}", note: "{{ inputs.note }}", trigger: "{{ trigger }}"}
"""


async def test_an_accepted_delivery_names_its_run_and_where_to_look(door: Door) -> None:
    await door.publish(HOOK.replace(", respond: result", ""))
    answer = await door.http.post("/api/orders", json={"amount": 3})
    assert answer.status_code == 202
    body = answer.json()
    assert set(body) == {"run_id", "flow", "version"}
    assert (body["flow"], body["version"]) == ("orders", "1.0.0")
    assert answer.headers["location"] == f"/v1/runs/{body['run_id']}"
    assert answer.headers["x-run-id"] == body["run_id"]
    assert (await door.client.run(body["run_id"]).result(20))["amount"] == 3


async def test_respond_result_answers_with_the_output_and_the_whole_trigger(door: Door) -> None:
    await door.publish(HOOK)
    answer = await door.http.post(
        "/api/orders?a=1&b=2&b=3",
        json={"amount": 3, "other": "한글"},
        headers={"X-Tenant": "t1", "Authorization": "Bearer x", "X-Hub-Signature-256": "s", "Cookie": "c=1"},
    )
    assert answer.status_code == 200, answer.text
    output = answer.json()
    trigger = output["trigger"]
    assert (output["amount"], output["note"]) == (3, "none")
    assert trigger["body"] == {"amount": 3, "other": "한글"}
    assert trigger["query"] == {"a": "1", "b": ["2", "3"]}
    assert (trigger["type"], trigger["method"], trigger["path"]) == ("webhook", "POST", "/api/orders")
    assert (trigger["params"], trigger["files"], trigger["ip"]) == ({}, {}, "127.0.0.1")
    assert trigger["headers"]["x-tenant"] == "t1"
    assert not {"authorization", "cookie", "x-hub-signature-256"} & set(trigger["headers"])
    assert answer.headers["x-run-id"]


@pytest.mark.parametrize(
    "header",
    ["Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key", "X-Hub-Signature", "Stripe-Signature",
     "X-Gitlab-Token", "X-Shopify-Hmac-Sha256", "X-Telegram-Bot-Api-Secret-Token", "X-Auth-Token", "Apikey"],
)  # fmt: skip
async def test_what_proves_the_sender_never_reaches_a_run(idle: Door, header: str) -> None:
    await idle.publish(HOOK.replace(", respond: result", ""))
    run = (await idle.http.post("/api/orders", json={"amount": 1}, headers={header: "proof-value"})).json()
    history = await idle.client.run(run["run_id"]).handle.fetch_history()
    assert "proof-value" not in history.to_json()


async def test_a_failed_run_is_a_502_problem_with_its_id_and_error(door: Door) -> None:
    await door.publish(
        "id: broken\ntriggers: [{type: webhook, path: /broken, respond: result}]\n"
        "steps: [{id: stop, type: fail, config: {type: no_luck, message: not today}}]\n"
    )
    answer = await door.http.post("/broken")
    assert answer.status_code == 502
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:orchestrator:problem:run_failed"
    assert problem["run_id"] == answer.headers["x-run-id"]
    assert (problem["error"]["type"], problem["error"]["message"]) == ("no_luck", "not today")


async def test_a_result_that_takes_too_long_becomes_202(temporal: temporalio.client.Client, tmp_path: Path) -> None:
    async with open_door(temporal, tmp_path, working=False, sync_timeout=0.3) as door:
        await door.publish(HOOK)
        answer = await door.http.post("/api/orders", json={"amount": 3})
        assert answer.status_code == 202
        assert answer.json()["run_id"] == answer.headers["x-run-id"]


async def test_inputs_that_do_not_match_name_the_field_and_start_nothing(idle: Door, key: str) -> None:
    hook = HOOK.replace("id: orders", "id: choosy")
    await idle.publish(hook)
    answer = await idle.http.post("/api/orders", json={"amount": "three"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:orchestrator:problem:invalid_inputs"
    assert [error["field"] for error in answer.json()["errors"]] == ["amount"]
    missing = await idle.http.post("/api/orders", json=[1, 2])
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "amount")
    assert await idle.client.runs(flow="choosy") == []
    # The key was given back: the corrected delivery is not "another body".
    await idle.publish(hook.replace("1.0.0", "2").replace(", respond: result", ""))
    assert (
        await idle.http.post("/api/orders", json={"amount": 3}, headers={"Idempotency-Key": key})
    ).status_code == 202


MAPPED = """
id: mapped
triggers:
  - type: webhook
    path: /teams/{team}/orders/{number}
    method: PUT
    respond: result
    inputs:
      team: "{{ trigger.params.team }}"
      number: "{{ trigger.params.number }}"
      urgent: "{{ trigger.query.urgent | default(false) }}"
      lines: "{{ trigger.body.lines }}"
inputs:
  team: string
  number: integer
  urgent: boolean
  lines: {type: array, items: {type: integer}}
steps:
  - {id: all, type: transform, config: {value: "{{ inputs }}"}}
"""


async def test_templates_map_path_query_and_body_to_inputs(door: Door) -> None:
    await door.publish(MAPPED)
    answer = await door.http.put("/teams/a%20b/orders/17?urgent=true", json={"lines": [1, 2]})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"team": "a b", "number": 17, "urgent": True, "lines": [1, 2]}


async def test_text_of_a_path_is_converted_and_text_of_json_is_not(idle: Door) -> None:
    await idle.publish(MAPPED)
    answer = await idle.http.put("/teams/x/orders/seven", json={"lines": [1]})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "number")
    answer = await idle.http.put("/teams/x/orders/7", json={"lines": ["1"]})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "lines[0]")


async def test_a_mapping_that_finds_nothing_names_the_input(idle: Door) -> None:
    await idle.publish(MAPPED)
    answer = await idle.http.put("/teams/x/orders/7", json={"rows": []})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "lines"
    assert "rows" in answer.json()["detail"]


FORM = """
id: form
triggers: [{type: webhook, path: /form, respond: result}]
inputs: {count: integer, agree: boolean, name: string}
steps: [{id: all, type: transform, config: {value: {inputs: "{{ inputs }}", body: "{{ trigger.body }}"}}}]
"""


@pytest.mark.parametrize("how", ["urlencoded", "multipart"])
async def test_forms_are_converted_to_the_declared_types(door: Door, how: str) -> None:
    await door.publish(FORM)
    fields = {"count": "3", "agree": "true", "name": "007"}
    sent: dict[str, Any] = (
        {"data": fields} if how == "urlencoded" else {"files": {key: (None, value) for key, value in fields.items()}}
    )
    answer = await door.http.post("/form", **sent)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"inputs": {"count": 3, "agree": True, "name": "007"}, "body": fields}


TEXT = """
id: text
triggers:
  - {type: webhook, path: /text, respond: result}
  - {type: webhook, path: /text, method: GET, respond: result}
steps: [{id: all, type: transform, config: {value: "{{ trigger.body }}"}}]
"""


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        (b"", None, {}),
        (b"", "application/json", {}),
        (b"plain words", "text/plain", "plain words"),
        ("한글".encode("euc-kr"), "text/plain; charset=euc-kr", "한글"),
        (b"<a/>", "application/xml", "<a/>"),
        (b'{"a": [1, null, 2.5]}', None, {"a": [1, None, 2.5]}),
        (b"not json", None, "not json"),
        (b"[1]", "application/vnd.api+json", [1]),
        (b'\xef\xbb\xbf{"bom": true}', "application/json; charset=utf-8", {"bom": True}),
        (b'"\\ud83d\\ude00"', "application/json", "😀"),
        (b"a=1&a=2&b=", "application/x-www-form-urlencoded", {"a": ["1", "2"], "b": ""}),
    ],
)
async def test_bodies_become_json_as_their_type_says(door: Door, content: bytes, kind: str | None, body: Any) -> None:
    await door.publish(TEXT)
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await door.http.post("/text", content=content, headers=headers)
    assert (answer.status_code, answer.json()) == (200, body)


PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'


@pytest.mark.parametrize(
    ("content", "kind", "status", "says"),
    [
        (b"{", "application/json", 400, "not JSON"),
        (b'{"a": NaN}', "application/json", 400, "NaN"),
        (b'{"a": 1e999}', "application/json", 400, "too large"),
        (b"1" * 5000, "application/json", 400, "not JSON"),
        (b"[" * 100_000, "application/json", 400, "nested too deeply"),
        (b'"\\ud800"', "application/json", 400, "half of a character"),
        (b"[" * 101 + b"]" * 101, "application/json", 400, "100 levels"),
        (b"\xff\xfe{", "application/json", 400, "UTF-8"),
        (b"{}", "application/json; charset=klingon", 400, "klingon"),
        (b"\xff", "text/plain", 400, "UTF-8"),
        (b'{"a": 1}', "application/x-www-form-urlencoded", 415, "Content-Type: application/json"),
        (b"a=%ff", "application/x-www-form-urlencoded", 400, "UTF-8"),
        (b"&".join(b"a=1" for _ in range(2000)), "application/x-www-form-urlencoded", 400, "1000 fields"),
        (b"\x00\x01", "application/octet-stream", 415, "application/octet-stream"),
        (b"x", "multipart/form-data", 400, "form"),
        (b"x", "multipart/form-data; boundary=b", 400, "form"),
        (PART, "multipart/form-data; boundary=b", 400, "ends before its last part"),
        (PART + b"--b--", 'multipart/form-data; boundary=b; charset="unicode_escape"', 400, "unicode_escape"),
        # Half characters by an escape; and what takes half a minute for a megabyte.
        (b'"+2AA-"', "application/json; charset=utf-7", 400, "utf-7"),
        (b"abc-def", "text/plain; charset=punycode", 400, "punycode"),
    ],
)
async def test_bodies_that_cannot_be_read_are_refused_in_words(
    door: Door, content: bytes, kind: str, status: int, says: str
) -> None:
    await door.publish(TEXT)
    answer = await door.http.post("/text", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


LIMITED = """
id: limited
triggers: [{type: webhook, path: /limited, max_body: 1KB}]
steps: [{id: all, type: transform, config: {value: 1}}]
"""


async def test_a_body_above_the_limit_is_413_with_and_without_a_length(idle: Door) -> None:
    await idle.publish(LIMITED)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1024

    for content in (b"x" * 2000, endless()):
        answer = await idle.http.post("/limited", content=content, headers={"Content-Type": "text/plain"})
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:orchestrator:problem:payload_too_large"
    fits = await idle.http.post("/limited", content=b"x" * 1000, headers={"Content-Type": "text/plain"})
    assert fits.status_code == 202


async def test_a_body_that_no_start_could_carry_is_413(temporal: temporalio.client.Client, tmp_path: Path) -> None:
    async with open_door(temporal, tmp_path, working=False, max_body=50_000_000, payload_limit=2_000_000) as door:
        await door.publish(TEXT)
        for size in (2_500_000, 6_000_000):
            answer = await door.http.post("/text", content=b"x" * size, headers={"Content-Type": "text/plain"})
            assert answer.status_code == 413, answer.text
            assert "reference" in answer.json()["detail"]


async def test_a_body_at_the_default_limit_starts(idle: Door) -> None:
    await idle.publish(LIMITED.replace(", max_body: 1KB", ""))
    answer = await idle.http.post("/limited", content=b"x" * 900_000, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 202, answer.text


# -- where webhooks are -----------------------------------------------------------------------------------


async def test_paths_and_methods_that_do_not_exist_are_told_apart(idle: Door) -> None:
    await idle.publish(MAPPED)
    gone = await idle.http.post("/nothing/here")
    assert (gone.status_code, gone.json()["type"]) == (404, "urn:orchestrator:problem:not_found")
    wrong = await idle.http.get("/teams/x/orders/7")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "PUT")
    assert wrong.json()["type"] == "urn:orchestrator:problem:method_not_allowed"


async def test_one_path_can_have_a_trigger_per_method(door: Door) -> None:
    await door.publish(TEXT)
    assert (await door.http.get("/text")).status_code == 200
    assert (await door.http.post("/text")).status_code == 200
    assert (await door.http.delete("/text")).headers["allow"] == "POST, GET"


async def test_a_new_version_moves_its_webhook_at_once(idle: Door) -> None:
    await idle.publish(HOOK.replace(", respond: result", ""))
    assert (await idle.http.post("/api/orders", json={"amount": 1})).json()["version"] == "1.0.0"
    await idle.publish(HOOK.replace(", respond: result", "").replace("1.0.0", "2.0.0").replace("/api/", "/v2/"))
    assert (await idle.http.post("/api/orders", json={"amount": 1})).status_code == 404
    assert (await idle.http.post("/v2/orders", json={"amount": 1})).json()["version"] == "2.0.0"


async def test_what_another_process_publishes_is_served_within_a_second(idle: Door) -> None:
    from orchestrator import admission
    from orchestrator.store.database import Store

    assert (await idle.http.post("/text")).status_code == 404
    other = await Store.open(idle.settings.store)
    await admission.publish_text(other, idle.project, TEXT.replace(", respond: result", ""))
    await other.aclose()
    await asyncio.sleep(1.1)
    assert (await idle.http.post("/text")).status_code == 202


async def test_a_disabled_flow_has_no_webhooks(idle: Door) -> None:
    await idle.publish(LIMITED)
    assert (await idle.http.post("/limited")).status_code == 202
    await idle.store.flows.set_enabled("limited", False)
    assert (await idle.http.post("/limited")).status_code == 404


async def test_a_path_belongs_to_one_flow(idle: Door) -> None:
    from orchestrator.errors import Conflict

    await idle.publish(MAPPED)
    with pytest.raises(Conflict, match="belongs to flow 'mapped'"):
        await idle.publish(MAPPED.replace("id: mapped", "id: other").replace("{team}", "{group}"))


# -- the same delivery again ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["Idempotency-Key", "X-GitHub-Delivery", "Webhook-Id", "svix-id", "X-Shopify-Webhook-Id"]
)
async def test_a_repeated_delivery_is_answered_as_the_first_was(door: Door, header: str) -> None:
    await door.publish(HOOK)
    first = await door.http.post("/api/orders", json={"amount": 3}, headers={header: "d-1"})
    again = await door.http.post("/api/orders", json={"amount": 3}, headers={header: "d-1"})
    other = await door.http.post("/api/orders", json={"amount": 3}, headers={header: "d-2"})
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert first.headers["x-run-id"] == again.headers["x-run-id"] != other.headers["x-run-id"]
    assert first.json()["trigger"]["delivery_id"] == "d-1"


async def test_many_deliveries_at_once_start_one_run(idle: Door) -> None:
    await idle.publish(HOOK.replace(", respond: result", ""))
    answers = await asyncio.gather(
        *(idle.http.post("/api/orders", json={"amount": 3}, headers={"Idempotency-Key": "same"}) for _ in range(12))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1


async def test_the_same_key_with_another_body_is_refused(idle: Door, key: str) -> None:
    await idle.publish(HOOK.replace(", respond: result", ""))
    headers = {"Idempotency-Key": key}
    assert (await idle.http.post("/api/orders", json={"amount": 3}, headers=headers)).status_code == 202
    answer = await idle.http.post("/api/orders", json={"amount": 4}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:orchestrator:problem:idempotency_mismatch"


async def test_a_repeated_delivery_is_answered_alike_after_a_new_version(idle: Door, key: str) -> None:
    await idle.publish(HOOK.replace(", respond: result", ""))
    headers = {"Idempotency-Key": key}
    first = await idle.http.post("/api/orders", json={"amount": 3}, headers=headers)
    await idle.publish(HOOK.replace(", respond: result", "").replace("1.0.0", "2.0.0"))
    again = await idle.http.post("/api/orders", json={"amount": 3}, headers=headers)
    assert first.content == again.content


async def test_a_failed_run_may_be_started_again_by_its_key(door: Door, key: str) -> None:
    flow = (
        "id: flaky\nversion: {v}\ntriggers: [{{type: webhook, path: /flaky, respond: result}}]\n"
        "steps: [{{id: a, type: {step}}}]\n"
    )
    headers = {"Idempotency-Key": key}
    await door.publish(flow.format(v=1, step="fail, config: {type: x, message: y}"))
    first = await door.http.post("/flaky", headers=headers)
    assert first.status_code == 502
    await door.publish(flow.format(v=2, step="transform, config: {value: fine}"))
    again = await door.http.post("/flaky", headers=headers)
    assert (again.status_code, again.json()) == (200, "fine")
    assert again.headers["x-run-id"] == first.headers["x-run-id"]


KEYED = """
id: keyed
triggers: [{type: webhook, path: /keyed, idempotency_key: "{{ trigger.body.order }}"}]
steps: [{id: a, type: transform, config: {value: 1}}]
"""


async def test_the_author_can_say_what_makes_two_deliveries_the_same(idle: Door) -> None:
    await idle.publish(KEYED)
    runs = [(await idle.http.post("/keyed", json={"order": order})).json()["run_id"] for order in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    missing = await idle.http.post("/keyed", json={})
    assert (missing.status_code, missing.json()["errors"][0]["field"]) == (422, "idempotency_key")


@pytest.mark.parametrize("key", ["x" * 6000, "한글".encode().decode("latin-1"), "a'b\"c\\"])
async def test_any_header_value_can_be_a_key(idle: Door, key: str) -> None:
    await idle.publish(LIMITED)
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answers = [await idle.http.post("/limited", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].content == answers[1].content


async def test_a_sender_that_goes_away_in_the_middle_starts_nothing(idle: Door) -> None:
    await idle.publish(LIMITED.replace("id: limited", "id: patient"))
    url = httpx.URL(str(idle.http.base_url))
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(b"POST /limited HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\nContent-Type: text/plain\r\n\r\nabc")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.3)
    assert await idle.client.runs(flow="patient") == []
    del reader
