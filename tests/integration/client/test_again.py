"""Runs that go on from older ones, against a real Temporal server and a real worker: what ran, under which key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import temporalio.client

from orchestrator import admission
from orchestrator.client import Client, Run, RunCancelled, RunFailed
from orchestrator.errors import Conflict, InputsInvalid, NotFound, Refused, TooLarge
from orchestrator.settings import Settings
from orchestrator.spec.definition import Envelope, definition_to_json, envelope_to_json
from orchestrator.spec.project import Project
from orchestrator.worker import FlowWorker

FUNCTIONS = '''
import asyncio, pathlib
from temporalio import activity
from orchestrator.errors import TerminalError
from orchestrator.steps.attempt import current_step

FOLDER = pathlib.Path(__file__).parent.parent

@activity.defn
async def work(name):
    """Writes its path and key down; fails as long as there is a file of its name, hangs where it is called ``hang``."""
    step = current_step()
    with (FOLDER / "calls.txt").open("a") as log:
        log.write(f"{step.path} {step.idempotency_key.rpartition('#')[2]}\\n")
    if (FOLDER / f"fail-{name}").exists():
        raise TerminalError("told", f"{name} was told to fail")
    while (FOLDER / f"hang-{name}").exists():
        await asyncio.sleep(0.05)
    return "x" * 600_000 if name == "big" else name
'''


class Bench:
    """A client with a worker, and switches that make steps fail."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder

    async def publish(self, text: str) -> None:
        await admission.publish_text(self.client.store, Project(), text)

    def fail(self, *names: str, how: str = "fail") -> None:
        """From now on exactly these steps fail (or hang)."""
        for old in self.folder.glob(f"{how}-*"):
            old.unlink()
        for name in names:
            (self.folder / f"{how}-{name}").touch()

    def calls(self) -> list[str]:
        """``path generation`` of every call since the last look."""
        log = self.folder / "calls.txt"
        found = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return found

    async def failed(self, text: str, *names: str, inputs: dict[str, Any] | None = None) -> Run:
        """A run of a flow that has failed because these steps do."""
        await self.publish(text)
        self.fail(*names)
        run = await self.client.start(text.split("\n")[1].removeprefix("id: "), inputs)
        with pytest.raises(RunFailed):
            await run.result(30)
        return run

    async def begun(self, path: str) -> None:
        """Wait until a step has been called."""
        for _ in range(400):
            log = self.folder / "calls.txt"
            if log.exists() and any(line.startswith(f"{path} ") for line in log.read_text().splitlines()):
                return
            await asyncio.sleep(0.025)
        raise AssertionError(f"'{path}' was never called")


@asynccontextmanager
async def opened(temporal: temporalio.client.Client, folder: Path, **more: Any) -> AsyncIterator[Bench]:
    (folder / "activities").mkdir()
    (folder / "activities" / "again_functions.py").write_text(FUNCTIONS)
    settings = Settings(
        project_dir=folder,
        temporal_address=temporal.service_client.config.target_host,
        task_queue=f"orchestrator-{uuid4().hex[:8]}",
        **more,
    )
    async with (
        await Client.connect(settings) as client,
        FlowWorker(settings, client.temporal, client.store, Project),
    ):
        yield Bench(client, folder)


@pytest.fixture
async def bench(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(temporal, tmp_path) as made:
        yield made


def work(name: str, more: str = "") -> str:
    return f"{{id: {name}, type: function, config: {{handler: work, args: [{name}]}}{more}}}"


LINE = f"""
id: line
vars: {{seen: 0}}
steps:
  - {work("a")}
  - {{id: note, type: set, config: {{seen: 1}}}}
  - {work("b")}
  - {work("c")}
output: "{{{{ vars.seen }}}} {{{{ run.attempt }}}}"
"""


async def test_a_retry_runs_the_failed_step_under_its_old_key_and_nothing_that_completed(bench: Bench) -> None:
    run = await bench.failed(LINE, "b")
    assert bench.calls() == ["a 1", "b 1"]
    plan = await bench.client.plan_retry(run.id)
    assert (plan.run_id, plan.kept, plan.again) == (f"{run.id}~r2", ("a", "note"), ("b",))
    bench.fail()
    again = await bench.client.retry(run.id, by="kim")
    assert again.id == plan.run_id
    assert await again.result(30) == "1 2"
    assert bench.calls() == ["b 1", "c 1"]
    info = await again.info()
    assert (info.retry_of, info.root, info.attempt) == (run.id, run.id, 2)


async def test_retries_chain_and_only_the_last_run_of_a_chain_goes_on(bench: Bench) -> None:
    run = await bench.failed(LINE, "b")
    bench.fail("c")
    second = await bench.client.retry(run.id)
    with pytest.raises(RunFailed):
        await second.result(30)
    with pytest.raises(Conflict, match=f"goes on as '{second.id}' already, which is failed"):
        await bench.client.retry(run.id)
    bench.fail()
    third = await bench.client.retry(second.id)
    assert third.id == f"{run.id}~r3"
    assert await third.result(30) == "1 3"
    assert bench.calls() == ["a 1", "b 1", "b 1", "c 1", "c 1"]


async def test_of_two_retries_at_once_one_wins_and_the_other_is_told(bench: Bench) -> None:
    run = await bench.failed(LINE, "b")
    bench.fail()
    results = await asyncio.gather(*[bench.client.retry(run.id) for _ in range(3)], return_exceptions=True)
    started = [one for one in results if isinstance(one, Run)]
    refused = [one for one in results if isinstance(one, Conflict)]
    assert (len(started), len(refused)) == (1, 2)
    assert f"goes on as '{started[0].id}'" in str(refused[0])
    await started[0].result(30)
    assert bench.calls() == ["a 1", "b 1", "b 1", "c 1"]


async def test_a_run_that_goes_on_or_completed_cannot_be_retried(bench: Bench) -> None:
    await bench.publish(LINE)
    bench.fail("b", how="hang")
    run = await bench.client.start("line")
    await bench.begun("b")
    with pytest.raises(Conflict, match="is running; end it first"):
        await bench.client.retry(run.id)
    bench.fail(how="hang")
    await run.result(30)
    with pytest.raises(Conflict, match="completed, so it cannot be retried"):
        await bench.client.retry(run.id)
    with pytest.raises(Conflict, match="completed, so it cannot be restarted"):
        await bench.client.restart(run.id)
    with pytest.raises(NotFound):
        await bench.client.retry("no-such-run")


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_stopped_run_goes_on_where_it_was_stopped(bench: Bench, how: str) -> None:
    await bench.publish(LINE)
    bench.fail("b", how="hang")
    run = await bench.client.start("line")
    await bench.begun("b")
    await getattr(run, how)("for a test")
    with pytest.raises((RunCancelled, RunFailed)):
        await run.result(30)
    bench.fail(how="hang")
    again = await bench.client.retry(run.id)
    assert await again.result(30) == "1 2"
    assert bench.calls() == ["a 1", "b 1", "b 1", "c 1"]


NESTED = f"""
id: nested
steps:
  - id: outer
    type: for-each
    config:
      items: 3
      steps:
        - parallel:
            branches:
              - {work("left")}
              - id: careful
                type: try
                config:
                  steps:
                    - id: inner
                      type: for-each
                      config: {{items: 2, steps: [{work("x")}, {work("y", ', if: "loop.parent.index == 1 and item == 1"')}]}}
                  finally: [{work("z")}]
          id: both
output: "{{{{ steps.outer.output | length }}}}"
"""


async def test_a_retry_goes_on_inside_nested_loops_branches_and_try(bench: Bench) -> None:
    run = await bench.failed(NESTED, "y")
    first = bench.calls()
    assert "outer[1]/both/careful/inner[1]/y 1" in first
    bench.fail()
    again = await bench.client.retry(run.id)
    assert await again.result(30) == 3
    calls = bench.calls()
    # The pass that failed goes on at the failed step; its `finally` ran already and runs again, under a new key.
    assert calls[:2] == ["outer[1]/both/careful/inner[1]/y 1", "outer[1]/both/careful/finally/z 2"]
    assert all(call.startswith("outer[2]/") for call in calls[2:])
    assert len(calls) == 2 + 4
    assert not set(calls) & set(first) - {"outer[1]/both/careful/inner[1]/y 1"}


UNDONE = f"""
id: undone
steps:
  - {work("book", ", compensate: " + work("unbook"))}
  - id: each
    type: for-each
    config:
      items: 2
      steps: [{work("pay", ", compensate: " + work("refund"))}, {work("mail")}]
  - {work("last")}
output: "{{{{ steps.each.output | length }}}} {{{{ steps.last.output }}}}"
"""


async def test_what_was_compensated_runs_again_under_a_new_key_also_inside_a_finished_loop(bench: Bench) -> None:
    run = await bench.failed(UNDONE, "last")
    assert bench.calls()[-3:] == [
        "each[1]/pay#compensate/refund 1",
        "each[0]/pay#compensate/refund 1",
        "book#compensate/unbook 1",
    ]
    plan = await bench.client.plan_retry(run.id)
    assert plan.undone == ("book", "each[0]/pay", "each[1]/pay")
    assert plan.kept == ("each[0]/mail", "each[1]/mail")
    bench.fail("last")
    second = await bench.client.retry(run.id)
    with pytest.raises(RunFailed) as caught:
        await second.result(30)
    assert [one["path"] for one in caught.value.error["compensations"]] == ["each[1]/pay", "each[0]/pay", "book"]
    assert bench.calls() == [
        "book 2", "each[0]/pay 2", "each[1]/pay 2", "last 1",
        "each[1]/pay#compensate/refund 2", "each[0]/pay#compensate/refund 2", "book#compensate/unbook 2",
    ]  # fmt: skip
    bench.fail()
    third = await bench.client.retry(second.id)
    assert await third.result(30) == "2 last"
    assert bench.calls() == ["book 3", "each[0]/pay 3", "each[1]/pay 3", "last 1"]


async def test_a_cancelled_run_is_compensated_and_its_retry_does_it_again(bench: Bench) -> None:
    await bench.publish(UNDONE)
    bench.fail("last", how="hang")
    run = await bench.client.start("undone")
    await bench.begun("last")
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result(30)
    assert bench.calls()[-1] == "book#compensate/unbook 1"
    bench.fail(how="hang")
    again = await bench.client.retry(run.id)
    assert await again.result(30) == "2 last"
    assert bench.calls() == ["book 2", "each[0]/pay 2", "each[1]/pay 2", "last 1"]


async def test_a_terminated_run_still_owes_its_compensations_in_the_retry(bench: Bench) -> None:
    await bench.publish(UNDONE)
    bench.fail("last", how="hang")
    run = await bench.client.start("undone")
    await bench.begun("last")
    await run.terminate()
    bench.fail(how="hang")
    bench.fail("last")
    bench.calls()
    again = await bench.client.retry(run.id)
    with pytest.raises(RunFailed):
        await again.result(30)
    assert bench.calls() == [
        "last 1", "each[1]/pay#compensate/refund 1", "each[0]/pay#compensate/refund 1", "book#compensate/unbook 1",
    ]  # fmt: skip


async def test_a_rerun_repeats_a_step_and_what_follows_and_sets_vars_back(bench: Bench) -> None:
    await bench.publish(LINE)
    run = await bench.client.start("line")
    await run.result(30)
    bench.calls()
    again = await bench.client.rerun(run.id, "note")
    assert await again.result(30) == "1 2"
    assert bench.calls() == ["b 2", "c 2"]
    third = await bench.client.rerun(again.id, "c")
    await third.result(30)
    assert bench.calls() == ["c 3"]
    with pytest.raises(Refused, match="no step `nope`"):
        await bench.client.rerun(third.id, "nope")


async def test_pins_count_instead_of_running_the_step(bench: Bench) -> None:
    flow = f"""
id: pinned
steps:
  - {work("a")}
  - {work("b", ", output_schema: {type: string}")}
output: "{{{{ steps.a.output }}}} {{{{ steps.b.output }}}}"
"""
    run = await bench.failed(flow, "b")
    with pytest.raises(InputsInvalid, match=r"pins\.b"):
        await bench.client.retry(run.id, pins={"b": 7})
    with pytest.raises(Refused, match="no step `x`"):
        await bench.client.retry(run.id, pins={"x": 7})
    again = await bench.client.retry(run.id, pins={"b": "by hand"})
    assert await again.result(30) == "a by hand"
    assert bench.calls() == ["a 1", "b 1"]
    assert (await again.state())["steps"]["b"]["pinned"] is True


async def test_a_restart_goes_on_on_the_current_version_and_keeps_what_is_the_same(bench: Bench) -> None:
    old = f"""
id: moving
version: 1
steps:
  - {work("a")}
  - {{id: g, steps: [{work("b")}, {work("c")}]}}
  - {work("d")}
"""
    new = f"""
id: moving
version: 2
vars: {{fresh: new}}
steps:
  - {work("a")}
  - {{id: g, steps: [{work("b")}, {{id: c, type: function, config: {{handler: work, args: [other]}}}}]}}
  - {work("e")}
output: "{{{{ steps.c.output }}}} {{{{ steps.e.output }}}} {{{{ vars.fresh }}}} {{{{ run.version }}}}"
"""
    run = await bench.failed(old, "d")
    bench.calls()
    with pytest.raises(NotFound):
        await bench.client.restart(run.id, "9")
    await bench.publish(new)
    plan = await bench.client.plan_restart(run.id)
    assert (plan.version, plan.kept, plan.changed) == ("2", ("a", "g/b"), ("g/c", "d"))
    again = await bench.client.restart(run.id)
    assert await again.result(30) == "other e new 2"
    assert bench.calls() == ["g/c 2", "e 1"]


async def test_a_run_that_another_client_started_bare_is_retried_like_any_other(bench: Bench) -> None:
    await bench.publish(LINE)
    bench.fail("b")
    run_id = f"bare-{uuid4().hex}"
    await bench.client.temporal.start_workflow("line", {}, id=run_id, task_queue=bench.client.settings.task_queue)
    with pytest.raises(RunFailed):
        await bench.client.run(run_id).result(30)
    bench.fail()
    again = await bench.client.retry(run_id)
    assert await again.result(30) == "1 2"
    assert bench.calls() == ["a 1", "b 1", "b 1", "c 1"]


async def test_a_delivery_that_comes_again_is_answered_with_the_run_that_went_on(bench: Bench, key: str) -> None:
    await bench.publish(LINE)
    bench.fail("b")
    run = await bench.client.start("line", idempotency_key=key)
    with pytest.raises(RunFailed):
        await run.result(30)
    bench.fail()
    again = await bench.client.retry(run.id)
    await again.result(30)
    assert (await bench.client.start("line", idempotency_key=key)).id == again.id


async def test_a_paused_run_begins_nothing_new_until_it_is_resumed(bench: Bench) -> None:
    await bench.publish(LINE)
    bench.fail("a", how="hang")
    run = await bench.client.start("line")
    await bench.begun("a")
    await run.pause(by="kim")
    bench.fail(how="hang")
    for _ in range(200):
        state = await run.state()
        if state["steps"]["a"]["status"] == "completed":
            break
        await asyncio.sleep(0.025)
    await asyncio.sleep(0.3)
    state = await run.state()
    assert (state["status"], state["paused"]) == ("paused", True)
    assert bench.calls() == ["a 1"]
    await run.resume()
    assert await run.result(30) == "1 1"
    with pytest.raises(Conflict):
        await run.pause()


EVENT = """
id: listening
inputs: {order: integer}
steps:
  - {id: paid, type: wait-for-event, config: {event: order.paid, correlate: {data.order: "{{ inputs.order }}"}}}
output: "{{ steps.paid.output.event.data.amount }}"
"""


async def test_an_event_reaches_the_wait_it_correlates_with(bench: Bench) -> None:
    await bench.publish(EVENT)
    run = await bench.client.start("listening", {"order": 7})
    await run.deliver({"type": "order.paid", "data": {"order": 8, "amount": 1}})
    told = await run.deliver({"type": "order.paid", "data": {"order": 7, "amount": 2}})
    assert told["id"] and told["time"]
    assert await run.result(30) == 2
    with pytest.raises(Conflict):
        await run.deliver({"type": "order.paid"})
    with pytest.raises(Refused, match="has a type"):
        await run.deliver({"data": 1})
    with pytest.raises(Refused, match="no kind"):
        await run.deliver({"type": "a", "kind": "b"})


async def test_a_run_that_had_continued_as_new_is_retried_from_what_it_carried(bench: Bench) -> None:
    await bench.publish(UNDONE)
    bench.fail("last")
    found = await bench.client.store.flows.current("undone")
    envelope = Envelope(found.definition, trigger={"type": "api", "id": "t", "time": "now"}, continue_after=1)
    run_id = f"undone-{uuid4().hex}"
    await bench.client.temporal.start_workflow(
        "undone",
        args=[{}, envelope_to_json(envelope, {}), definition_to_json(found.definition)],
        id=run_id,
        task_queue=bench.client.settings.task_queue,
    )
    run = bench.client.run(run_id)
    with pytest.raises(RunFailed):
        await run.result(60)
    assert (await run.state())["continued"] >= 3
    bench.calls()
    bench.fail()
    again = await bench.client.retry(run_id)
    assert await again.result(60) == "2 last"
    assert bench.calls() == ["book 2", "each[0]/pay 2", "each[1]/pay 2", "last 1"]


LARGE = f"""
id: large
steps:
  - id: each
    type: for-each
    config: {{items: 12, collect: none, steps: [{work("grow", ", compensate: " + work("shrink"))}]}}
  - {work("last")}
output: done
"""


async def test_a_journal_larger_than_one_message_is_carried_page_by_page(bench: Bench) -> None:
    run = await bench.failed(LARGE.replace("[grow]", "[big]"), "last", "shrink")
    bench.calls()
    bench.fail()
    again = await bench.client.retry(run.id)
    assert await again.result(60) == "done"
    assert bench.calls() == ["last 1"]


async def test_a_journal_that_temporal_could_not_carry_is_refused_in_words(
    temporal: temporalio.client.Client, tmp_path: Path
) -> None:
    async with opened(temporal, tmp_path, payloads="none") as bench:
        run = await bench.failed(LARGE.replace("[grow]", "[big]"), "last", "shrink")
        with pytest.raises(TooLarge, match="ORCHESTRATOR_PAYLOADS"):
            await bench.client.retry(run.id)


async def test_a_retry_goes_on_inside_a_sub_flow_at_the_step_that_failed_there(bench: Bench) -> None:
    await bench.publish(f"id: child\nsteps: [{work('x')}, {work('y')}]\n")
    parent = f"""
id: parent
steps:
  - {work("a")}
  - {{id: sub, type: flow, config: {{flow: child}}}}
output: "{{{{ steps.sub.output }}}}"
"""
    run = await bench.failed(parent, "y")
    assert bench.calls() == ["a 1", "x 1", "y 1"]
    bench.fail()
    again = await bench.client.retry(run.id)
    assert await again.result(30) == "y"
    assert bench.calls() == ["y 1"]


async def test_a_retry_runs_a_sub_flow_of_another_version_from_its_beginning(bench: Bench) -> None:
    await bench.publish(f"id: child\nsteps: [{work('x')}, {work('y')}]\n")
    run = await bench.failed("\nid: parent\nsteps:\n  - {id: sub, type: flow, config: {flow: child}}\n", "y")
    await bench.publish(f"id: child\nsteps: [{work('x')}, {work('z')}]\n")
    bench.fail()
    bench.calls()
    again = await bench.client.retry(run.id)
    assert await again.result(30) == "z"
    assert bench.calls() == ["x 1", "z 1"]


async def test_a_retry_starts_the_failed_parts_of_a_large_loop_again(bench: Bench) -> None:
    flow = """
id: many
steps:
  - id: each
    type: for-each
    config:
      items: 1100
      steps:
        - {id: stop, type: fail, if: "item == 700 and run.attempt == 1", config: {type: told, message: no luck}}
        - {id: value, type: transform, config: {value: "{{ item }} {{ run.attempt }}"}}
output: ["{{ steps.each.output[0] }}", "{{ steps.each.output[700] }}", "{{ steps.each.output | length }}"]
"""
    run = await bench.failed(flow)
    again = await bench.client.retry(run.id)
    assert await again.result(60) == ["0 1", "700 2", 1100]


async def test_a_signal_that_came_before_its_wait_is_taken_by_the_retry(bench: Bench) -> None:
    flow = f"""
id: early
steps:
  - {work("a")}
  - {{id: go, type: wait-for-event, config: {{signal: go}}}}
output: "{{{{ steps.go.output.event.data.n }}}}"
"""
    await bench.publish(flow)
    bench.fail("a", how="hang")
    run = await bench.client.start("early")
    await bench.begun("a")
    await run.signal("go", {"n": 7})
    await run.cancel()
    with pytest.raises(RunCancelled):
        await run.result(30)
    bench.fail(how="hang")
    again = await bench.client.retry(run.id)
    assert await again.result(30) == 7


async def test_a_run_that_failed_before_its_first_step_is_retried_from_the_start(bench: Bench) -> None:
    flow = """
id: unborn
inputs: {n: integer}
vars: {share: "{{ 10 / inputs.n }}"}
steps: [{id: a, type: transform, config: {value: 1}}]
"""
    run = await bench.failed(flow, inputs={"n": 0})
    plan = await bench.client.plan_retry(run.id)
    assert (plan.kept, plan.again) == ((), ())
    with pytest.raises(RunFailed, match="expression_error"):
        await (await bench.client.retry(run.id)).result(30)
