"""Acting on runs over HTTP: every wish is carried out or refused in words, never a 5xx."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.integration.gateway.conftest import Door

FAILS = """
id: fails
vars: {n: 0}
inputs: {go: {type: boolean, default: false}}
steps:
  - {id: first, type: transform, config: {value: 1}}
  - {id: stop, type: fail, config: {type: no_luck, message: not today}}
  - {id: last, type: transform, config: {value: "{{ steps.first.output }} {{ run.attempt }}"}}
"""
WAITS = """
id: waits
steps:
  - {id: ok, type: wait-for-event, config: {signal: go}}
  - {id: paid, type: wait-for-event, config: {event: order.paid}}
output: "{{ steps.ok.output.event.data.n }} {{ steps.paid.output.event.data.n }}"
"""


async def started(door: Door, flow: str) -> str:
    answer = await door.http.post(f"/v1/flows/{flow}/runs", json={})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


async def ended(door: Door, run_id: str) -> dict[str, Any]:
    """The run once it is over."""
    for _ in range(400):
        shown: dict[str, Any] = (await door.http.get(f"/v1/runs/{run_id}")).json()
        if shown["finished_at"]:
            return shown
        await asyncio.sleep(0.025)
    raise AssertionError(f"run {run_id} never ended: {shown}")


async def reached(door: Door, run_id: str, status: str) -> dict[str, Any]:
    for _ in range(400):
        shown: dict[str, Any] = (await door.http.get(f"/v1/runs/{run_id}")).json()
        if shown["status"] == status:
            return shown
        await asyncio.sleep(0.025)
    raise AssertionError(f"run {run_id} was never {status}: {shown}")


async def reached_step(door: Door, run_id: str, step: str) -> None:
    for _ in range(400):
        state = (await door.http.get(f"/v1/runs/{run_id}")).json()["state"]
        if any(wait["step"] == step for wait in state["waits"]):
            return
        await asyncio.sleep(0.025)
    raise AssertionError(f"run {run_id} never waited at {step}")


async def test_a_failed_run_is_planned_retried_and_linked(door: Door) -> None:
    await door.publish(FAILS)
    run_id = await started(door, "fails")
    await ended(door, run_id)
    plan = await door.http.post(f"/v1/runs/{run_id}/retry", params={"plan": "true"}, json={"pins": {"stop": None}})
    assert plan.status_code == 200, plan.text
    assert plan.json() == {
        "run_id": f"{run_id}~r2", "retry_of": run_id, "flow": "fails", "version": "1", "kept": ["first"],
        "again": [], "undone": [], "changed": [], "left": [], "pinned": ["stop"],
    }  # fmt: skip
    again = await door.http.post(f"/v1/runs/{run_id}/retry", json={"pins": {"stop": None}, "by": "kim"})
    assert again.status_code == 202, again.text
    assert again.json() == {"run_id": f"{run_id}~r2", "flow": "fails", "version": "1"}
    new = await ended(door, again.json()["run_id"])
    assert (new["status"], new["result"], new["retry_of"], new["root"], new["attempt"]) == (
        "completed", "1 2", run_id, run_id, 2,
    )  # fmt: skip
    old = await ended(door, run_id)
    assert (old["retry_of"], old["attempt"], old["goes_on_as"]) == (None, 1, f"{run_id}~r2")
    twice = await door.http.post(f"/v1/runs/{run_id}/retry")
    assert (twice.status_code, twice.json()["type"]) == (409, "urn:orchestrator:problem:conflict")
    rerun = await door.http.post(f"/v1/runs/{run_id}~r2/rerun", json={"from": "last"})
    assert (await ended(door, rerun.json()["run_id"]))["result"] == "1 3"


async def test_a_failed_run_is_restarted_on_the_version_of_choice(door: Door) -> None:
    await door.publish(FAILS)
    run_id = await started(door, "fails")
    await ended(door, run_id)
    await door.publish(
        FAILS.replace("type: fail, config: {type: no_luck, message: not today}", "type: transform, config: {value: 2}")
    )
    again = await door.http.post(f"/v1/runs/{run_id}/restart", json={"version": "2"})
    assert again.json()["version"] == "2", again.text
    assert (await ended(door, again.json()["run_id"]))["result"] == "1 2"
    unknown = await door.http.post(f"/v1/runs/{run_id}/restart", json={"version": "9"})
    assert unknown.status_code == 404


async def test_a_run_is_paused_resumed_and_told_things(door: Door) -> None:
    await door.publish(WAITS)
    run_id = await started(door, "waits")
    await reached(door, run_id, "waiting")
    assert (await door.http.post(f"/v1/runs/{run_id}/pause", json={"by": "kim"})).status_code == 202
    await reached(door, run_id, "paused")
    for _ in range(2):
        sent = await door.http.post(f"/v1/runs/{run_id}/signals/go", json={"n": 1}, headers={"Idempotency-Key": "s-1"})
        assert sent.status_code == 202, sent.text
    assert (await door.http.get(f"/v1/runs/{run_id}")).json()["state"]["steps"].keys() == {"ok"}
    assert (await door.http.post(f"/v1/runs/{run_id}/resume")).status_code == 202
    await reached_step(door, run_id, "paid")
    happened = {"type": "order.paid", "id": "e-1", "data": {"n": 2}}
    event = await door.http.post(f"/v1/runs/{run_id}/events", json=happened)
    assert (event.status_code, event.json()["event"]["id"]) == (202, "e-1")
    assert (await ended(door, run_id))["result"] == "1 2"


async def test_a_run_is_cancelled_or_terminated(door: Door) -> None:
    await door.publish(WAITS)
    for verb, status in (("cancel", "cancelled"), ("terminate", "terminated")):
        run_id = await started(door, "waits")
        answer = await door.http.post(f"/v1/runs/{run_id}/{verb}", json={"reason": "enough"})
        assert answer.status_code == 202, answer.text
        assert (await ended(door, run_id))["status"] == status
        assert (await door.http.post(f"/v1/runs/{run_id}/{verb}")).status_code == 409


DEEP = "[" * 50_000 + "]" * 50_000


REFUSED: list[tuple[str, str | None, int]] = [
    ("retry", '{"pins": 7}', 422),
    ("retry", '{"pins": {"nope": 1}}', 403),
    ("retry", '{"other": 1}', 422),
    ("retry", '{"pins": {"stop": NaN}}', 422),
    ("retry", '{"pins": {"stop": "\\ud800"}}', 422),
    ("retry", "{", 400),
    ("rerun", None, 422),
    ("rerun", "{}", 422),
    ("rerun", '{"from": "nope"}', 403),
    ("rerun", '{"from": "last"}', 403),
    ("rerun", '{"from": "each[0]/x"}', 403),
    ("rerun", '{"from": "\\ud800"}', 422),
    ("restart", '{"version": 7}', 422),
    ("pause", '{"stop_clock": "perhaps"}', 422),
    ("pause", None, 409),
    ("resume", None, 409),
    ("signals/go", "{", 400),
    ("signals/go", None, 409),
    ("signals/orchestrator.pause", None, 403),
    ("events", None, 422),
    ("events", '{"type": ""}', 422),
    ("events", '{"type": "a", "data": NaN}', 422),
    ("events", '{"type": "a"}', 409),
    ("signals/go", DEEP, 400),
    ("retry", '{"pins": {"a": ' + DEEP + "}}", 400),
    ("events", '{"type": "a", "data": ' + DEEP + "}", 400),
]


async def test_a_wish_that_cannot_be_met_is_refused_in_words(door: Door) -> None:
    await door.publish(FAILS)
    run_id = await started(door, "fails")
    await ended(door, run_id)
    headers = {"Content-Type": "application/json"}
    for verb, body, status in REFUSED:
        answer = await door.http.post(f"/v1/runs/{run_id}/{verb}", content=body, headers=headers)
        told = f"{verb} {str(body)[:60]}: {answer.text[:300]}"
        assert answer.status_code == status, told
        assert answer.headers["content-type"] == "application/problem+json", told
        assert answer.json()["detail"], told


async def test_an_unknown_run_is_not_found_whatever_is_wished(door: Door) -> None:
    for verb in ("cancel", "terminate", "pause", "resume", "retry", "restart", "signals/go"):
        answer = await door.http.post(f"/v1/runs/no-such-run/{verb}")
        assert (verb, answer.status_code) == (verb, 404)
    assert (await door.http.post("/v1/runs/no-such-run/rerun", json={"from": "a"})).status_code == 404
    assert (await door.http.post("/v1/runs/no-such-run/events", json={"type": "a"})).status_code == 404


async def test_without_a_worker_a_retry_says_that_none_answers(door: Door, idle: Door) -> None:
    await idle.publish(FAILS)
    run_id = await started(idle, "fails")
    assert (await idle.http.post(f"/v1/runs/{run_id}/terminate")).status_code == 202
    answer = await idle.http.post(f"/v1/runs/{run_id}/retry", timeout=40)
    assert (answer.status_code, "no worker answers" in answer.json()["detail"]) == (503, True)
