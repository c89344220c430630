"""Queues: messages sent by steps, people and programs become runs of the flow that consumes them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door
from tests.integration.redis_server import redis_server

from orchestrator.client.queues import QueueDesk
from orchestrator.client.starting import keyed_run_id
from orchestrator.dispatch import queues as dispatching
from orchestrator.dispatch.queues import QueueConsumer
from orchestrator.errors import Conflict, Unavailable
from orchestrator.store.queues import Message, Sent

WORK = """
id: work
triggers: [{type: queue, queue: jobs, inputs: {n: "{{ trigger.body.n }}"}}]
inputs: {n: integer}
steps: [{id: done, type: transform, config: {value: {n: "{{ inputs.n }}", id: "{{ trigger.message_id }}", queue: "{{ trigger.queue }}"}}}]
output: "{{ steps.done.output }}"
"""
SEND = """
id: send
inputs: {n: integer}
steps:
  - {id: put, type: queue, config: {queue: jobs, message: {n: "{{ inputs.n }}"}}}
output: "{{ steps.put.output.id }}"
"""
URGENT = """
id: a-urgent
triggers: [{type: queue, queue: jobs, if: "{{ trigger.body.urgent | default(false) }}"}]
steps: [{id: done, type: transform, config: {value: now}}]
"""
BROKEN = """
id: broken
triggers: [{type: queue, queue: jobs}]
steps: [{id: stop, type: fail, config: {type: broken, message: "it always does"}}]
"""


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> Any:
    (tmp_path / "orchestrator.yaml").write_text("queues:\n  jobs: {max_refusals: 2, lease: 2s}\n")
    async with open_door(temporal, tmp_path) as opened:
        yield opened


def desk_of(door: Door) -> QueueDesk:
    return QueueDesk(door.store, lambda: door.project, door.settings)


async def send(door: Door, queue: str, body: Any, **more: Any) -> Sent:
    async with aclosing(desk_of(door)) as desk:
        return await desk.send(queue, body, **more)


async def settled(door: Door, message_id: str, *, status: str = "done") -> Message:
    """The message, once it is."""
    for _ in range(400):
        found = await door.store.queues.get(message_id)
        if found.status == status:
            return found
        await asyncio.sleep(0.025)
    raise AssertionError(f"message {message_id} is not {status}: {found}")


async def test_what_a_step_sends_starts_one_run_of_the_flow_that_consumes_the_queue(door: Door) -> None:
    await door.publish(WORK)
    await door.publish(SEND)
    message = await (await door.client.start("send", {"n": 4})).result(20)
    done = await settled(door, message)
    assert done.outcome is not None
    run = door.client.run(done.outcome["run_id"])
    assert await run.result(20) == {"n": 4, "id": message, "queue": "jobs"}
    assert done.body is None


async def test_messages_wait_for_a_flow_that_consumes_them(door: Door) -> None:
    sent = await send(door, "jobs", {"n": 1})
    await asyncio.sleep(0.3)
    assert (await door.store.queues.get(sent.id)).deliveries == 0
    await door.publish(WORK)
    assert (await settled(door, sent.id)).deliveries == 1


async def test_the_first_flow_whose_condition_wants_a_message_gets_it(door: Door) -> None:
    await door.publish(URGENT)
    plain = await send(door, "jobs", {"n": 1, "urgent": False})
    assert (await settled(door, plain.id)).outcome == {"skipped": True}
    await door.publish(WORK)
    urgent, other = [await send(door, "jobs", body) for body in ({"urgent": True}, {"n": 2})]
    flows = [(await settled(door, sent.id)).outcome for sent in (urgent, other)]
    assert [told and told["flow"] for told in flows] == ["a-urgent", "work"]


async def test_a_message_no_run_can_be_started_for_becomes_a_dead_letter_and_can_be_tried_again(door: Door) -> None:
    await door.publish(WORK)
    sent, good = await send(door, "jobs", {"n": "many"}), await send(door, "jobs", {"n": 1})
    dead = await settled(door, sent.id, status="dead")
    assert dead.refusals == 2
    assert dead.problem is not None
    assert dead.problem.startswith("invalid_inputs: ")
    assert dead.body == {"n": "many"}
    await settled(door, good.id)
    await door.publish(WORK.replace("inputs: {n: integer}", "version: 2.0.0\ninputs: {n: string}"))
    assert await door.store.queues.redrive("jobs", sent.id) == 1
    done = await settled(door, sent.id)
    assert done.outcome is not None
    assert (await door.client.run(done.outcome["run_id"]).result(20))["n"] == "many"


async def test_a_message_whose_acknowledgement_was_lost_is_not_started_again_also_when_its_run_failed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.publish(BROKEN)
    done, lost = door.store.queues.done, []

    async def lose_the_first(message: Message, outcome: Any) -> None:
        if message.deliveries == 1:
            lost.append(outcome["run_id"])
        else:
            await done(message, outcome)

    monkeypatch.setattr(door.store.queues, "done", lose_the_first)
    sent = await send(door, "jobs", {})
    message = await settled(door, sent.id)
    assert message.deliveries == 2
    assert message.outcome == {"flow": "broken", "run_id": lost[0]}
    [run] = await _runs(door, "broken")
    assert run.status == "failed"


async def _runs(door: Door, flow: str) -> list[Any]:
    """Temporal's own list of the flow's runs in this store; it comes a little late."""
    for _ in range(100):
        found = await door.client.runs(flow=flow)
        if found and all(run.status != "running" for run in found):
            return [run for run in found if await _is_ours(door, run.id)]
        await asyncio.sleep(0.05)
    raise AssertionError(f"no run of {flow}")


async def _is_ours(door: Door, run_id: str) -> bool:
    messages = await door.store.queues.list("jobs", "done")
    return any(one.outcome and one.outcome.get("run_id") == run_id for one in messages)


async def test_several_gateways_share_a_queue_and_every_message_starts_one_run(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "AT_ONCE", 4)
    await door.publish(WORK)
    others = [QueueConsumer(door.client, desk_of(door)) for _ in range(3)]

    async def keep_turning(consumer: QueueConsumer) -> None:
        while True:
            await consumer.turn()

    turning = [asyncio.create_task(keep_turning(other)) for other in others]
    try:
        sent = [await send(door, "jobs", {"n": n}, id=f"m{n % 20}") for n in range(30)]
        assert len({one.id for one in sent}) == 20
        done = [await settled(door, one.id) for one in sent]
    finally:
        for task in turning:
            task.cancel()
        await asyncio.wait(turning)
    runs = {one.id: one.outcome["run_id"] for one in done if one.outcome}
    assert len(runs) == len(set(runs.values())) == 20
    assert all(one.deliveries == 1 for one in done)


async def test_messages_are_sent_over_http_once_per_idempotency_key(door: Door) -> None:
    await door.publish(WORK)
    headers = {"Idempotency-Key": "order-7"}
    answers = [
        await door.http.post("/v1/queues/jobs/messages", json={"message": {"n": 7}}, headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert [answer.json()["new"] for answer in answers] == [True, False]
    sent = answers[0].json()["id"]
    await settled(door, sent)
    [shown] = (await door.http.get("/v1/queues/jobs/messages", params={"status": "done"})).json()["messages"]
    assert (shown["id"], shown["message"], shown["outcome"]["flow"]) == (sent, None, "work")
    await door.http.post("/v1/queues/jobs/messages", json={"message": 1, "delay": "1h", "key": "k"})
    await door.http.post("/v1/queues/nobody/messages", json={"message": 1})
    queues = (await door.http.get("/v1/queues")).json()["queues"]
    assert [(one["queue"], one["waiting"], one["dead"], one["consumers"]) for one in queues] == [
        ("jobs", 1, 0, ["work"]), ("nobody", 1, 0, []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("queue", "body", "status"),
    [
        ("jobs", b'{"message": NaN}', 422),
        ("jobs", b'{"message": 1, "key": ""}', 422),
        ("jobs", b'{"message": 1, "key": "\\u0000"}', 422),
        ("jobs", b'{"message": 1, "delay": -1}', 422),
        ("jobs", b'{"message": 1, "delay": "soon"}', 422),
        ("jobs", b'{"message": 1, "other": 1}', 422),
        ("jobs", b'{"message": ', 400),
        ("jobs", b'{"message": "' + b"x" * 1_000_000 + b'"}', 413),
        ("%0A", b'{"message": 1}', 422),
        ("q" * 201, b'{"message": 1}', 422),
    ],
    ids=lambda case: str(case)[:30],
)
async def test_what_is_no_message_is_refused_as_a_problem(door: Door, queue: str, body: bytes, status: int) -> None:
    headers = {"content-type": "application/json"}
    answer = await door.http.post(f"/v1/queues/{queue}/messages", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await door.store.queues.counts() == []


async def test_dead_letters_are_tried_again_over_http(door: Door) -> None:
    await door.publish(WORK)
    sent = await send(door, "jobs", "no number")
    await settled(door, sent.id, status="dead")
    answer = await door.http.post("/v1/queues/jobs/redrive", json={"id": sent.id})
    assert answer.json() == {"redriven": 1}
    assert (await settled(door, sent.id, status="dead")).refusals == 2
    assert (await door.http.post("/v1/queues/jobs/redrive")).status_code == 200


async def test_flows_keep_data_between_their_runs(door: Door) -> None:
    await door.publish("""
id: counting
steps:
  - {id: count, type: state, config: {increment: runs}}
  - {id: before, type: state, config: {get: last}}
  - {id: keep, type: state, config: {put: last, value: "{{ run.id }}"}}
output: {count: "{{ steps.count.output.value }}", before: "{{ steps.before.output.value }}"}
""")
    first = await door.client.start("counting")
    assert await first.result(20) == {"count": 1, "before": None}
    assert await (await door.client.start("counting")).result(20) == {"count": 2, "before": first.id}


async def test_a_queue_in_redis_works_as_one_of_the_store_and_one_that_is_away_stops_no_other(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    with redis_server() as port:
        (tmp_path / "orchestrator.yaml").write_text(
            "queues:\n"
            f"  jobs: {{url: 'redis://:{{{{ secrets.REDIS }}}}@127.0.0.1:{port}/0', max_refusals: 1}}\n"
            "  away: {url: 'redis://127.0.0.1:1/0'}\n"
            "  wrong: {concurrency: '{{ secrets.REDIS }}'}\n"
        )
        async with open_door(temporal, tmp_path, secrets={"REDIS": "s3cr3t"}) as door:
            await door.publish(WORK)
            await door.publish(SEND)
            for queue in ("away", "wrong"):
                await door.publish(WORK.replace("id: work", f"id: {queue}").replace("queue: jobs", f"queue: {queue}"))
            await door.store.queues.send("wrong", {"n": 1}, once="1")
            message = await (await door.client.start("send", {"n": 4})).result(20)
            bad = await send(door, "jobs", {"n": "many"})
            async with aclosing(desk_of(door)) as desk:
                for _ in range(400):
                    if (await desk.broker("jobs").count("jobs")).waiting == 0:
                        break
                    await asyncio.sleep(0.025)
                [dead] = await desk.broker("jobs").list("jobs", "dead")
            assert (dead.id, dead.body) == (bad.id, {"n": "many"})
            run_id = keyed_run_id("work", f"queue jobs {message}")
            assert await door.client.run(run_id).result(20) == {"n": 4, "id": message, "queue": "jobs"}
            answer = await door.http.post("/v1/queues/jobs/messages", json={"message": 1, "key": "k"})
            assert answer.status_code == 422
            answer = await door.http.post("/v1/queues/away/messages", json={"message": 1})
            assert answer.status_code == 503


async def test_a_second_flow_that_would_take_every_message_is_refused(door: Door) -> None:
    await door.publish(WORK)
    await door.publish(URGENT)
    with pytest.raises(Conflict, match="flow 'work' takes every message of queue 'jobs'"):
        await door.publish(BROKEN)
    await door.publish(WORK.replace("id: work", "id: work\nversion: 7"))
    await door.publish(BROKEN.replace("id: broken", "id: broken\nenabled: false"))


async def test_while_temporal_cannot_be_asked_messages_wait_and_none_is_given_up(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatching, "RETRY", 0.05)
    await door.publish(WORK)
    start, asked = door.client.start, []

    async def away_at_first(*arguments: Any, **options: Any) -> Any:
        asked.append(options["idempotency_key"])
        if len(asked) <= 3:
            raise Unavailable("Temporal cannot be reached")
        return await start(*arguments, **options)

    monkeypatch.setattr(door.client, "start", away_at_first)
    sent = await send(door, "jobs", {"n": 1})
    done = await settled(door, sent.id)
    assert (done.refusals, done.deliveries, len(set(asked))) == (0, 4, 1)
