"""A finished run turned into a case, from what was read of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.flowtests.recording.case import recording, without_what_differs
from orchestrator.flowtests.recording.recorded import Attempt, Message, RecordedRun
from orchestrator.spec.definition import Envelope
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project

BEGAN = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)
FLOW = """
id: mixed
inputs: {n: number}
env: {LIMIT: 5}
steps:
  - id: each
    type: for-each
    config:
      items: 2
      steps: [{id: ask, type: human-task, config: {assignee: kim}}]
  - {id: team, type: agent, config: {model: claude-sonnet-5-5, goal: find out}}
  - {id: computed, type: run-steps, config: {steps: "{{ steps.team.output.plan }}", allow: [http], max_steps: 3}}
  - {id: both, type: wait-for-event, config: {event: [a.done, b.done], mode: all, timeout: 2d, on_timeout: continue}}
  - {id: late, type: wait-for-event, config: {signal: hurry, timeout: 1h, on_timeout: continue}}
  - {id: told, type: wait-for-event, config: {callback: true}}
"""


def at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat()


def record(kind: str, start: float, end: float, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "attempts": 1, "started_at": at(start), "finished_at": at(end), **more}


def run_with(steps: dict[str, dict[str, Any]], *, messages: tuple[Message, ...] = (), **members: Any) -> RecordedRun:
    """A run of ``FLOW``."""
    definition = load_flow(FLOW, "mixed.yaml", Project()).definition
    given: dict[str, Any] = {
        "id": "mixed-1",
        "body": {"n": 1},
        "envelope": Envelope(definition=definition, inputs={"n": 1}, trigger={"type": "api"}),
        "started_at": BEGAN,
        "status": "completed",
        "output": None,
        "error": None,
        "steps": steps,
        "compensated": (),
        "attempts": {},
        "messages": messages,
    }
    return RecordedRun(**given | members)


def test_decisions_in_a_loop_name_the_pass_and_how_long_each_was_open() -> None:
    steps = {
        "each": record("for-each", 0, 7300),
        "each[0]/ask": record("human-task", 0, 3600),
        "each[1]/ask": record("human-task", 3600, 7300),
    }
    messages = (
        Message("ask", {"decision": "approve", "by": "ada", "task": "mixed-1:each[0]/ask"}, 3600),
        Message("ask", {"decision": "approve"}, 7300.4),
        Message("ask", {"action": "comment", "comment": "hm", "by": "ada"}, 10),
        Message("other", {"decision": "approve"}, 11),
    )
    assert recording(run_with(steps, messages=messages)).case["events"] == [
        {"on": "each[0]/ask", "after": "1h", "decide": "each[0]/ask", "decision": "approve", "by": "ada"},
        {"on": "each[1]/ask", "after": "3700s", "decide": "each[1]/ask", "decision": "approve"},
    ]


def test_an_agent_is_one_answer_and_what_it_did_is_left_out() -> None:
    steps = {
        "team": record("agent", 0, 90, output={"text": "done"}, usage={"cost": 0.5, "model": "m", "input_tokens": 7}),
        "team/turn[1]/call-0": record("mcp", 1, 2, output={"text": "found"}),
    }
    assert recording(run_with(steps)).case["mocks"] == {
        "team": {"output": {"text": "done"}, "delay": "90s", "usage": {"cost": 0.5, "input_tokens": 7}}
    }


def test_steps_that_were_computed_answer_by_their_path() -> None:
    steps = {
        "computed": record("run-steps", 0, 1),
        "computed/fetch": record("http", 0, 1, output={"status": 200}),
    }
    case = recording(run_with(steps, attempts={"computed/fetch": [Attempt(output={"status": 200})]})).case
    assert case["mocks"] == {"computed/fetch": {"output": {"status": 200}}}
    assert case["expect"]["ran"] == ["computed"], "the flow does not name what it computes"


def test_what_a_wait_was_given_is_what_happens_and_one_that_ran_out_gets_nothing() -> None:
    taken = {
        "a.done": {"id": "1", "type": "a.done", "source": "x", "time": at(5), "data": {"n": 1}},
        "b.done": {"id": "2", "type": "b.done", "source": "y", "time": at(9), "data": None},
    }
    steps = {
        "both": record(
            "wait-for-event", 0, 86_400, output={"timed_out": False, "event": taken["b.done"], "events": taken}
        ),
        "late": record("wait-for-event", 86_400, 90_000, output={"timed_out": True, "event": None, "events": {}}),
        "told": record("wait-for-event", 90_000, 90_000.2, "failed", error={"type": "lost", "message": "no parcel"}),
    }
    assert recording(run_with(steps)).case["events"] == [
        {"on": "both", "after": "1d", "event": "a.done", "data": {"n": 1}, "source": "x", "id": "1"},
        {"on": "both", "after": "1d", "event": "b.done", "source": "y", "id": "2"},
        {"on": "told", "callback": "told", "error": {"type": "lost", "message": "no parcel"}},
    ]


def test_a_pause_is_told_by_the_step_it_met() -> None:
    steps = {"both": record("wait-for-event", 2, 500, "cancelled")}
    messages = (Message("orchestrator.pause", {}, 62), Message("orchestrator.resume", {}, 122))
    case = recording(run_with(steps, messages=messages, status="cancelled", cancelled_at=499.9)).case
    assert case["events"] == [
        {"on": "both", "after": "1m", "pause": True},
        {"on": "both", "after": "2m", "resume": True},
        {"on": "both", "after": "498s", "cancel": True},
    ]
    assert case["expect"] == {"status": "cancelled"}


def test_env_is_recorded_where_it_was_not_what_the_flow_says() -> None:
    run = run_with({})
    run.envelope.env.update({"LIMIT": 7})
    assert recording(run).case["env"] == {"LIMIT": 7}
    run.envelope.env.update({"LIMIT": 5})
    assert "env" not in recording(run).case


def test_of_an_output_that_differs_what_is_the_same_stays_expected() -> None:
    made = recording(run_with({}, output={"id": "r1", "sum": 7, "lines": [1, 2], "at": {"day": 1, "time": "09:00"}}))
    without_what_differs(made, {"id": "r2", "sum": 7, "lines": [1, 3], "at": {"day": 1, "time": "10:00"}})
    assert made.case["expect"] == {"output_has": {"sum": 7, "at": {"day": 1}}}
    assert made.remarks == ["what differs from run to run is left out of the expected output"]


def test_an_output_with_nothing_in_common_is_not_expected_at_all() -> None:
    made = recording(run_with({}, output="r1"))
    without_what_differs(made, "r2")
    assert made.case["expect"] == {}
