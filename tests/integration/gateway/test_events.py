"""Events: accepted at the door, routed to flows that subscribe and runs that wait."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door

from orchestrator.client import RunFailed

SUBSCRIBER = """
id: on-payment
triggers:
  - {type: event, event: "payment.*", source: "shop/*", if: "{{ event.data.amount }} > 10", inputs: {amount: "{{ trigger.body.amount }}"}}
inputs: {amount: number}
steps: [{id: done, type: transform, config: {value: "{{ trigger.event.type }} {{ inputs.amount }}"}}]
"""
WAITING = """
id: order
inputs: {order: string}
steps:
  - {id: hold, type: wait-for-event, config: {signal: go}}
  - {id: paid, type: wait-for-event, config: {event: payment.completed, correlate: {data.order: "{{ inputs.order }}"}, timeout: 1h}}
  - {id: shipped, type: wait-for-event, config: {event: "parcel.*", correlate: {data.order: "{{ steps.paid.output.event.data.order }}"}}}
output: "{{ steps.shipped.output.event.data.parcel }}"
"""
CHAIN = """
id: ping
triggers: [{type: event, event: ball}]
steps: [{id: hit, type: emit, config: {event: ball, data: {n: 1}}}]
"""


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> Any:
    (tmp_path / "orchestrator.yaml").write_text(
        "events:\n  user.registered: {type: object, required: [email], properties: {email: {type: string}}}\n"
    )
    async with open_door(temporal, tmp_path) as opened:
        yield opened


async def outcome(door: Door, event_id: str) -> list[dict[str, Any]]:
    """What became of an event, once it is routed."""
    for _ in range(400):
        for one in (await door.http.get("/v1/events")).json()["events"]:
            if one["id"] == event_id and one["routed_at"]:
                return list(one["outcome"])
        await asyncio.sleep(0.025)
    raise AssertionError(f"event {event_id} was not routed")


async def send(door: Door, *events: dict[str, Any], status: int = 202) -> dict[str, Any]:
    answer = await door.http.post("/v1/events", json=list(events) if len(events) > 1 else events[0])
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def payment(number: str, amount: float = 20, source: str = "shop/1", **more: Any) -> dict[str, Any]:
    return {"id": number, "type": "payment.completed", "source": source, "data": {"amount": amount, **more}}


async def test_an_event_starts_one_run_of_each_flow_whose_patterns_and_condition_fit(door: Door) -> None:
    await door.publish(SUBSCRIBER)
    told = await send(door, payment("e1"), payment("e2", 5), payment("e3", source="bank"))
    assert [(one["id"], one["new"], one["subscribers"]) for one in told["events"]] == [
        ("e1", True, 1), ("e2", True, 1), ("e3", True, 0),
    ]  # fmt: skip
    [started] = await outcome(door, "e1")
    assert await door.client.run(started["run_id"]).result(20) == "payment.completed 20"
    assert await outcome(door, "e2") == await outcome(door, "e3") == []


async def test_the_same_event_again_starts_nothing(door: Door) -> None:
    await door.publish(SUBSCRIBER)
    await send(door, payment("e1"))
    [first] = await outcome(door, "e1")
    again = await send(door, payment("e1", 99))
    assert [one["new"] for one in again["events"]] == [False]
    assert await outcome(door, "e1") == [first]
    assert len(await door.client.runs(flow="on-payment")) <= 1


async def test_a_run_gets_the_events_that_correlate_also_before_its_wait_is_reached(door: Door) -> None:
    await door.publish(WAITING)
    runs = {name: await door.client.start("order", {"order": name}) for name in ("a", "b")}
    await asyncio.sleep(0.5)
    await send(door, payment("p-b", order="b"), payment("p-x", order="x"))
    delivered = await outcome(door, "p-b")
    assert delivered == [{"run_id": runs["b"].id, "delivered": True}]
    assert await outcome(door, "p-x") == []
    await runs["b"].signal("go")
    for _ in range(200):
        waits = (await runs["b"].state())["waits"]
        if any(wait["step"] == "shipped" for wait in waits):
            break
        await asyncio.sleep(0.05)
    await send(door, {"id": "s", "type": "parcel.sent", "data": {"order": "b", "parcel": 7}})
    assert await runs["b"].result(20) == 7
    await send(door, {"id": "s2", "type": "parcel.sent", "data": {"order": "b", "parcel": 8}})
    assert await outcome(door, "s2") == []
    await runs["a"].terminate()


async def test_data_that_the_catalogue_refuses_is_told_by_field_and_nothing_is_accepted(door: Door) -> None:
    told = await send(door, payment("good"), {"id": "bad", "type": "user.registered", "data": {"email": 7}}, status=422)
    assert told["type"] == "urn:orchestrator:problem:invalid_event"
    assert (
        told["errors"] == [{"field": "[1].data.email", "message": "must be string, got number"}]
        or told["errors"][0]["field"] == "[1].data.email"
    )
    assert (await door.http.get("/v1/events")).json()["events"] == []


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "application/cloudevents+json"}, b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t"}', 202),
        ({"content-type": "application/cloudevents-batch+json"}, b'[{"type": "t"}, {"type": "u"}]', 202),
        ({"content-type": "application/cloudevents-batch+json"}, b'{"type": "t"}', 400),
        ({"ce-specversion": "1.0", "ce-type": "t", "ce-id": "1", "ce-source": "s%20x"}, b"", 202),
        ({"ce-specversion": "0.3", "ce-type": "t", "ce-id": "1", "ce-source": "s"}, b"", 422),
        ({"ce-type": "t", "content-type": "text/plain"}, "héllo".encode(), 202),
        ({"ce-type": "t", "content-type": "text/plain"}, b"\xff", 400),
        ({"content-type": "application/json"}, b"[]", 422),
        ({"content-type": "application/json"}, b"[1]", 400),
        ({"content-type": "application/json"}, b"{", 400),
        ({"content-type": "application/json"}, b"{}", 422),
        ({"content-type": "application/json"}, b'{"type": "t", "time": "yesterday"}', 422),
        ({"content-type": "application/json"}, b'{"type": "\\u0000"}', 422),
        ({"content-type": "application/json"}, b'{"type": "t", "id": "1\\nWARNING"}', 422),
        ({"content-type": "application/json"}, b'{"type": "run.failed", "source": "orchestrator"}', 422),
        ({"content-type": "application/cloudevents+json"}, b'{"specversion": "1.0", "type": "t", "data_base64": "AA=="}', 422),
        ({"content-type": "application/json"}, b'{"type": "t", "data": ' + b"[" * 101 + b"]" * 101 + b"}", 400),
        ({"content-type": "text/plain"}, b"t", 415),
    ],
)  # fmt: skip
async def test_events_come_as_cloudevents_say_and_anything_else_is_refused(
    door: Door, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await door.http.post("/v1/events", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 202:
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_flow_sends_an_event_once_whatever_its_attempts_and_circles_end(door: Door) -> None:
    await door.publish(CHAIN)
    await send(door, {"id": "serve", "type": "ball"})
    [first] = await outcome(door, "serve")
    for _ in range(800):
        events = (await door.http.get("/v1/events", params={"limit": 100})).json()["events"]
        if len(events) == 17 and all(one["routed_at"] for one in events):
            break
        await asyncio.sleep(0.05)
    [last] = [one["run_id"] for one in events[0]["outcome"]]
    with pytest.raises(RunFailed, match="in a circle"):
        await door.client.run(last).result(20)
    assert len(events) == 17
    assert first["flow"] == "ping"


async def test_a_flow_that_an_event_cannot_start_is_named_in_its_outcome(door: Door) -> None:
    await door.publish(SUBSCRIBER)
    await send(door, {"id": "odd", "type": "payment.odd", "source": "shop/1", "data": {"amount": "many"}})
    [told] = await outcome(door, "odd")
    assert (told["flow"], told["error"]["type"]) == ("on-payment", "refused")


BATCHED = """
id: bill
triggers:
  - {type: event, event: call.ended, batch: {size: 3, max_wait: 1s, key: "{{ trigger.body.customer }}"}}
steps: [{id: sum, type: transform, config: {value: "{{ trigger.body | map('seconds') }}"}}]
"""


async def test_events_of_one_key_come_to_one_run_by_number_or_after_a_while(door: Door) -> None:
    await door.publish(BATCHED)
    calls = [
        {"id": f"{customer}{number}", "type": "call.ended", "data": {"customer": customer, "seconds": number}}
        for number in range(4)
        for customer in ("a", "b")
    ]
    await send(door, *calls, *calls[:2])
    for _ in range(400):
        runs = await door.client.runs(flow="bill", status="completed")
        if len(runs) == 4:
            break
        await asyncio.sleep(0.05)
    results = [await door.client.run(run.id).result(20) for run in runs]
    assert sorted(len(batch) for batch in results) == [1, 1, 3, 3]
    assert sorted(seconds for batch in results for seconds in batch) == [0, 0, 1, 1, 2, 2, 3, 3]


async def test_no_flow_tells_of_runs_in_the_engines_name(door: Door) -> None:
    lie = "{id: lie, type: emit, config: {event: run.failed, source: orchestrator}}"
    await door.publish(f"id: liar\nsteps: [{lie}]\n")
    run = await door.client.start("liar", {})
    with pytest.raises(RunFailed, match="the engine's own"):
        await run.result(20)
    assert (await door.http.get("/v1/events")).json()["events"] == []
