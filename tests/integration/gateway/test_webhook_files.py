"""Files that come with a delivery, and deliveries to test addresses."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update

from orchestrator.store import tables
from orchestrator.store.database import Store
from orchestrator.store.samples import KEPT

from .conftest import Door

FILES = """
id: files
triggers: [{type: webhook, path: /files, respond: result}]
inputs: {count: integer}
steps:
  - {id: read, type: file, config: {operation: read, path: "{{ trigger.files.paper.ref }}", encoding: base64}}
  - id: all
    type: transform
    config:
      value: {files: "{{ trigger.files }}", body: "{{ trigger.body }}", read: "{{ steps.read.output.content }}", count: "{{ inputs.count }}"}
"""
CONTENT = bytes(range(256)) * 40


async def test_files_of_a_form_are_kept_and_read_by_reference(door: Door, key: str) -> None:
    await door.publish(FILES)
    paper = ("../../etc/Prüfung 1.pdf", CONTENT, "application/pdf")
    sent: dict[str, Any] = {"data": {"count": "2"}, "headers": {"Idempotency-Key": key}}
    files: Any = [("paper", paper), ("extra", ("a.txt", b"a")), ("extra", ("b.txt", b"b"))]
    answer = await door.http.post("/files", files=files, **sent)
    assert answer.status_code == 200, answer.text
    output = answer.json()
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert output["files"]["paper"] == {
        "ref": f"upload:{digest}/Prüfung 1.pdf", "name": "../../etc/Prüfung 1.pdf", "content_type": "application/pdf",
        "size": len(CONTENT), "sha256": digest,
    }  # fmt: skip
    assert [one["name"] for one in output["files"]["extra"]] == ["a.txt", "b.txt"]
    assert (output["body"], output["count"]) == ({"count": "2"}, 2)
    assert base64.b64decode(output["read"]) == CONTENT
    history = (await door.client.run(answer.headers["x-run-id"]).handle.fetch_history()).to_json()
    assert base64.b64encode(CONTENT[:300]).decode() not in history.split('"steps.read')[0][:1000]
    # Another boundary between the parts is the same delivery.
    again = await door.http.post("/files", files=files, **sent)
    assert (again.status_code, again.content) == (200, answer.content)


async def test_an_http_step_sends_an_upload_on(door: Door) -> None:
    await door.publish(FILES)
    await door.publish(
        "id: forward\ntriggers: [{type: webhook, path: /forward, respond: result}]\n"
        "steps: [{id: a, type: http, config: {method: POST, url: '" + str(door.http.base_url) + "/files/test', "
        'form: {count: "1"}, file: {path: "{{ trigger.files.paper.ref }}", field: paper}}}]\n'
    )
    answer = await door.http.post("/forward", files={"paper": ("a.pdf", CONTENT, "application/pdf")})
    seen = answer.json()["body"]["trigger"]["files"]["paper"]
    assert (seen["name"], seen["content_type"]) == ("a.pdf", "application/pdf")
    assert (seen["sha256"], seen["ref"]) == (hashlib.sha256(CONTENT).hexdigest(), None)


async def test_what_is_no_upload_is_refused_in_words(door: Door) -> None:
    await door.publish(
        "id: reading\ntriggers: [{type: webhook, path: /reading, respond: result}]\n"
        'steps: [{id: a, type: file, config: {operation: "{{ trigger.body.do }}", path: "{{ trigger.body.path }}"}}]\n'.replace(
            'operation: "{{ trigger.body.do }}"', "operation: read"
        )
    )
    for path in ("upload:" + "0" * 64, "upload:../../etc/passwd", "upload:"):
        answer = await door.http.post("/reading", json={"path": path})
        assert (answer.status_code, answer.json()["error"]["type"]) == (502, "not_found")


async def test_an_empty_choice_of_a_browser_is_no_file(idle: Door) -> None:
    await idle.publish(FILES)
    boundary = b'--b\r\nContent-Disposition: form-data; name="paper"; filename=""\r\n\r\n\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = await idle.http.post("/files/test", content=boundary, headers=kind)
    assert answer.json()["trigger"]["files"] == {}


async def test_files_of_a_refused_delivery_are_not_kept(idle: Door) -> None:
    await idle.publish(FILES)
    for data in ({"count": "many"}, {}):
        answer = await idle.http.post("/files", files={"paper": ("a.pdf", CONTENT)}, data=data)
        assert answer.status_code == 422
    assert await idle.store.uploads.purge(-1) == 0


async def test_too_many_parts_are_refused(idle: Door) -> None:
    await idle.publish(FILES)
    answer = await idle.http.post("/files", files=[("f", (f"{n}.txt", b"x")) for n in range(101)])
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:orchestrator:problem:invalid_request")


async def test_uploads_go_when_they_are_old_and_stay_when_they_come_again(tmp_path: Path) -> None:
    # A store of its own: a gateway would purge it too.
    store = await Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    uploads = store.uploads
    old, again = [await uploads.put(content, "a.txt") for content in (b"old", b"again")]
    async with store._database.writing() as connection:
        await connection.execute(update(tables.uploads).values(used_at=datetime.now(UTC) - timedelta(days=91)))
    assert await uploads.put(b"again", "b.txt") != again
    assert await uploads.purge() == 1
    assert await uploads.read(again) == ("a.txt", b"again")
    assert old.startswith("upload:")
    await store.aclose()


TRIED = """
id: tried-orders
version: 1.0.0
triggers:
  - type: webhook
    id: orders
    path: /orders/{number}
    if: trigger.body.amount > 0
    inputs: {number: "{{ trigger.params.number }}", amount: "{{ trigger.body.amount }}"}
    idempotency_key: "order-{{ trigger.params.number }}"
inputs: {number: integer, amount: number}
steps: [{id: all, type: transform, config: {value: 1}}]
"""


async def test_a_test_address_shows_what_would_start_and_starts_nothing(idle: Door) -> None:
    await idle.publish(TRIED)
    good = (await idle.http.post("/orders/7/test", json={"amount": 3})).json()
    assert (good["test"], good["would_start"], good["version"]) == (True, True, "1.0.0")
    assert (good["inputs"], good["idempotency_key"]) == ({"number": 7, "amount": 3}, "order-7")
    assert good["trigger"]["params"] == {"number": "7"}
    filtered = (await idle.http.post("/orders/7/test", json={"amount": 0})).json()
    assert (filtered["would_start"], "if" in filtered["reason"]) == (False, True)
    wrong = (await idle.http.post("/orders/seven/test", json={"amount": 1})).json()
    assert (wrong["would_start"], wrong["problems"][0]["field"]) == (False, "number")
    assert await idle.client.runs(flow="tried-orders") == []
    # Nor does a try take the key of the real thing.
    assert (await idle.http.post("/orders/7", json={"amount": 4})).status_code == 202


async def test_samples_are_kept_for_editors_the_newest_of_each_trigger(idle: Door) -> None:
    await idle.publish(TRIED)
    for number in range(KEPT + 2):
        await idle.http.post(f"/orders/{number}/test", json={"amount": 1})
    samples = (await idle.http.get("/v1/flows/tried-orders/samples", params={"trigger": "orders"})).json()["samples"]
    assert [int(one["delivery"]["params"]["number"]) for one in samples] == list(range(KEPT + 1, 1, -1))
    assert samples[0]["outcome"]["inputs"] == {"number": KEPT + 1, "amount": 1}
    assert (await idle.http.get("/v1/flows/tried-orders/samples", params={"trigger": "x"})).json() == {"samples": []}
    assert (await idle.http.get("/v1/flows/nothing/samples")).status_code == 404
    [hook] = (await idle.http.get("/v1/flows/tried-orders/webhooks")).json()["webhooks"]
    assert (hook["url"], hook["test_url"]) == (
        f"{idle.settings.gateway_url}/orders/{{number}}", f"{idle.settings.gateway_url}/orders/{{number}}/test",
    )  # fmt: skip
    assert hook["counts"] == {"tested": KEPT + 2}


async def test_a_webhook_of_its_own_at_a_test_address_comes_first(idle: Door) -> None:
    await idle.publish(TRIED)
    await idle.publish(TRIED.replace("id: tried-orders", "id: real").replace("{number}", "{number}/test"))
    answer = await idle.http.post("/orders/7/test", json={"amount": 3})
    assert (answer.status_code, answer.json()["flow"]) == (202, "real")
