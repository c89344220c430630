"""A finished run, recorded as a case of a test file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import temporalio.client

from orchestrator.client import Client, Run, RunCancelled, RunFailed
from orchestrator.errors import Conflict, Refused
from orchestrator.flowtests.recording.case import recording
from orchestrator.flowtests.recording.filing import file_run
from orchestrator.flowtests.recording.recorded import RecordedRun, read_run
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.spec.source import read_source
from orchestrator.worker import FlowWorker

FUNCTIONS = '''
from temporalio import activity

@activity.defn
def price(order: dict) -> dict:
    """Fails at its first attempt."""
    if activity.info().attempt == 1:
        raise ConnectionError("the price list does not answer")
    return {"price": order["amount"] * 2, "note": "x" * 5000}
'''
FLOW = """
id: order
version: 1
inputs: {order: {type: object, required: [id, amount]}}
env: {SHOP: nowhere}
steps:
  - id: reserve
    type: file
    config: {operation: write, path: "data/{{ inputs.order.id }}.txt", content: reserved}
    compensate: {id: release, type: file, config: {operation: delete, path: "data/{{ inputs.order.id }}.txt"}}
  - id: price
    type: function
    retry: {initial_interval: 10ms, on: ["*"]}
    config: {handler: price, params: {amount: "{{ inputs.order.amount }}"}}
  - id: parts
    type: for-each
    config:
      items: 2
      steps:
        - {id: part, type: file, config: {operation: write, path: "data/part-{{ item }}", content: "{{ item }}"}}
  - id: approval
    type: human-task
    config: {assignee: kim}
  - id: large
    type: condition
    config:
      if: "{{ inputs.order.amount }} > 100"
      then: [{id: insure, type: file, config: {operation: read, path: data/insurance.txt}}]
  - id: paid
    type: wait-for-event
    config: {event: order.paid}
output: {price: "{{ steps.price.output.price }}", by: "{{ steps.approval.output.by }}", paid: "{{ steps.paid.output.event.data.sum }}"}
"""
LONG = 60


@pytest.fixture
async def client(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Client]:
    """A client that knows ``FLOW``, with a worker that serves ``price``."""
    (tmp_path / "activities").mkdir()
    (tmp_path / "activities" / "prices.py").write_text(FUNCTIONS, encoding="utf-8")
    (tmp_path / "activities" / "more.py").write_text(MORE_FUNCTIONS, encoding="utf-8")
    settings = Settings(
        project_dir=tmp_path,
        temporal_address=temporal.service_client.config.target_host,
        task_queue=f"orchestrator-{uuid4().hex[:8]}",
    )
    async with (
        await Client.connect(settings, eager=True) as opened,
        FlowWorker(settings, opened.temporal, opened.store, Project),
    ):
        for text in (FLOW, LITTLE, MANY):
            await opened.publish(text)
        yield opened


async def waiting_at(run: Run, step: str) -> dict[str, Any]:
    """The state of the run once it waits at a step."""
    async with asyncio.timeout(LONG):
        while True:
            state = await run.state()
            if any(wait["step"] == step for wait in state["waits"]):
                return state
            await asyncio.sleep(0.05)


async def decided(client: Client, amount: int) -> Run:
    """A run whose task is approved."""
    run = await client.start("order", {"order": {"id": "o1", "amount": amount}})
    await waiting_at(run, "approval")
    async with asyncio.timeout(LONG):
        while not (tasks := await client.tasks()):
            await asyncio.sleep(0.05)
    await client.decide(tasks[0].id, "approve", comment="fine", by="kim")
    return run


async def passes(client: Client, recorded: RecordedRun) -> None:
    """Written beside the flow twice, the case passes each time."""
    folder = client.settings.project_dir / "workflows"
    folder.mkdir()
    (folder / "orders.yaml").write_text(FLOW, encoding="utf-8")
    for name in (f"as in run {recorded.id}", f"as in run {recorded.id} (2)"):
        filed = await file_run(client.settings, recorded)
        assert (filed.file.name, filed.name, filed.is_other_version) == ("orders.test.yaml", name, False)
        assert filed.result.passed, [str(one) for one in filed.result.problems]


async def test_a_completed_run_becomes_a_case_that_repeats_it(client: Client) -> None:
    run = await decided(client, 7)
    await waiting_at(run, "paid")
    await run.deliver({"type": "order.paid", "data": {"sum": 14}, "source": "bank", "id": "e1"})
    assert await run.result(LONG) == {"price": 14, "by": "kim", "paid": 14}

    recorded = await read_run(client, run.id)
    made = recording(recorded)
    case = made.case
    assert case["name"] == f"as in run {run.id}"
    assert case["inputs"] == {"order": {"id": "o1", "amount": 7}}
    assert "env" not in case, "what the flow says by itself"
    assert list(case["mocks"]) == ["reserve", "price", "parts[0]/part", "parts[1]/part"]
    failed, answered = case["mocks"]["price"]
    assert failed["error"]["type"] == "ConnectionError"
    assert failed["error"]["message"] == "the price list does not answer"
    assert answered["output"]["price"] == 14
    assert len(answered["output"]["note"]) == 200
    assert made.remarks == ["mocks.price[1].output.note had 5,000 characters; the first 200 stand here"]
    decision, payment = case["events"]
    assert decision == {"decide": "approval", "decision": "approve", "comment": "fine", "by": "kim"}
    payment.pop("after", None)
    assert payment == {"on": "paid", "event": "order.paid", "data": {"sum": 14}, "source": "bank", "id": "e1"}
    assert case["expect"] == {
        "output": {"price": 14, "by": "kim", "paid": 14},
        "ran": ["reserve", "price", "parts", "part", "approval", "large", "paid"],
        "skipped": ["insure"],
    }
    await passes(client, recorded)


async def test_a_failed_run_is_recorded_with_its_error_and_what_was_undone(client: Client) -> None:
    run = await decided(client, 700)
    with pytest.raises(RunFailed):
        await run.result(LONG)
    recorded = await read_run(client, run.id)
    case = recording(recorded).case
    assert case["mocks"]["insure"]["error"]["type"] == "not_found"
    assert "release" in case["mocks"]
    assert case["expect"]["status"] == "failed"
    assert case["expect"]["error"] == {"type": "not_found", "step": "insure"}
    assert case["expect"]["compensated"] == ["reserve"]
    assert "insure" in case["expect"]["ran"] and "release" in case["expect"]["ran"]
    await passes(client, recorded)


async def test_a_cancelled_run_is_recorded_with_the_moment_it_was_cancelled(client: Client) -> None:
    run = await decided(client, 7)
    await waiting_at(run, "paid")
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result(LONG)
    recorded = await read_run(client, run.id)
    case = recording(recorded).case
    assert [event for event in case["events"] if "cancel" in event] == [case["events"][-1]]
    assert case["expect"]["status"] == "cancelled"
    assert "output" not in case["expect"]
    await passes(client, recorded)


async def test_what_has_no_end_or_no_beginning_of_its_own_is_not_recorded(client: Client) -> None:
    run = await client.start("order", {"order": {"id": "o1", "amount": 7}})
    await waiting_at(run, "approval")
    with pytest.raises(Conflict, match="once it is over"):
        await read_run(client, run.id)
    await run.terminate()
    async with asyncio.timeout(LONG):
        while (await run.info()).status != "terminated":
            await asyncio.sleep(0.05)
    with pytest.raises(Refused, match="terminated"):
        await read_run(client, run.id)
    again = await client.retry(run.id)
    await waiting_at(again, "approval")
    await again.cancel()
    with pytest.raises(RunCancelled):
        await again.result(LONG)
    with pytest.raises(Refused, match=f"goes on from '{run.id}'"):
        await read_run(client, again.id)


MANY = """
id: many
inputs: {kind: string}
triggers: [{type: webhook, id: door, path: /many, inputs: {kind: "{{ trigger.body.kind }}"}}]
steps:
  - id: first
    type: parallel
    config:
      wait_for: any
      branches:
        - {id: slow, type: function, config: {handler: sleepy, params: {seconds: 30}}}
        - {id: quick, type: function, config: {handler: sleepy, params: {seconds: 0}}}
  - id: tries
    type: try
    config:
      retry: {max_attempts: 2, initial_interval: 10ms, on: ["*"]}
      steps:
        - {id: unsure, type: function, retry: none, config: {handler: every_second}}
      catch:
        - {on: ["*"], steps: [{id: given-up, type: transform, config: {value: 1}}]}
  - id: again
    type: while
    config:
      while: "{{ loop.index }} < 2"
      max_iterations: 5
      steps:
        - {id: pass, type: state, config: {increment: "many-{{ run.id }}"}}
  - {id: child, type: flow, config: {flow: little, inputs: {n: 3}}}
  - {id: go, type: wait-for-event, config: {signal: start}}
  - {id: called, type: wait-for-event, config: {callback: true}}
  - {id: gone, type: file, on_error: continue, config: {operation: read, path: data/gone.txt}}
  - id: fast
    type: block
    defaults: {durability: express}
    config:
      steps: [{id: express, type: function, timeout: 1s, config: {handler: sleepy, params: {seconds: 0}}}]
output:
  id: "{{ run.id }}"
  passes: "{{ steps.again.output }}"
  child: "{{ steps.child.output }}"
  winner: "{{ steps.first.winner }}"
  data: "{{ steps.go.output.event.data }}"
  called: "{{ steps.called.output.event.data }}"
"""
LITTLE = (
    'id: little\ninputs: {n: number}\nsteps: [{id: twice, type: transform, config: {value: "{{ inputs.n * 2 }}"}}]\n'
)
MORE_FUNCTIONS = '''
import time
from temporalio import activity

CALLS = []

@activity.defn
def sleepy(how: dict) -> str:
    """Sleeps, and stops when it is cancelled."""
    until = time.monotonic() + how["seconds"]
    while time.monotonic() < until:
        time.sleep(0.05)
    return f"after {how['seconds']}"

@activity.defn
def every_second() -> str:
    CALLS.append(1)
    if len(CALLS) % 2:
        raise ValueError("not this time")
    return "the word is open-sesame"
'''


async def test_races_retried_blocks_loops_sub_flows_signals_and_callbacks_are_repeated(client: Client) -> None:
    run = await client.start(
        "many",
        {"kind": "secret"},
        trigger={"type": "webhook", "id": "door", "method": "POST", "body": {"kind": "secret"}, "headers": {"a": "b"}},
    )
    await waiting_at(run, "go")
    await run.signal("start", {"n": 1})
    await waiting_at(run, "called")
    await run.handle.signal("orchestrator.callback", {"path": "called", "data": {"sum": 3}, "signal_id": "c1"})
    output = await run.result(LONG)
    assert (output["winner"], output["child"], output["called"]) == ("quick", 6, {"sum": 3})

    folder = client.settings.project_dir / "workflows"
    folder.mkdir()
    (folder / "many.yaml").write_text(MANY, encoding="utf-8")
    (folder / "little.yaml").write_text(LITTLE, encoding="utf-8")
    settings = replace(client.settings, secrets={"WORD": "open-sesame"})
    filed = await file_run(settings, await read_run(client, run.id))
    assert filed.result.passed, [str(one) for one in filed.result.problems]
    case = read_source(filed.file.read_text(encoding="utf-8"), "many.test.yaml").data["cases"][0]
    assert case["trigger"] == {
        "type": "webhook", "id": "door", "method": "POST", "body": {"kind": "secret"}, "headers": {"a": "b"},
    }  # fmt: skip
    failed, answered = case["mocks"]["unsure"]
    assert failed["error"]["message"] == "not this time"
    assert answered == {"output": "the word is ***"}, "secrets of this machine are masked"
    assert case["mocks"]["slow"] == {"output": None, "delay": "30d"}
    assert case["mocks"]["child"] == {"output": 6}
    assert case["mocks"]["gone"]["error"]["type"] == "not_found"
    assert [path for path in case["mocks"] if path.startswith("again")] == ["again[0]/pass", "again[1]/pass"]
    assert [event.get("signal") or event.get("callback") for event in case["events"]] == ["start", "called"]
    assert "output" not in case["expect"]
    assert case["expect"]["output_has"] == {name: value for name, value in output.items() if name != "id"}
