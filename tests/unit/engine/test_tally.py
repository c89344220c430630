"""What the steps of a run took is counted once, wherever it was taken."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.journal import Journal
from orchestrator.engine.tally import MOST_STEPS, Tally
from orchestrator.spec.definition import Node

AT = "2026-05-01T09:00:{:06.3f}Z"


class Counting:
    """A journal somebody keeps count of."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.state = Tally.fresh()
        self.journal.ended = Tally(self.journal, self.state).add

    def begin(self, path: str, kind: str = "function") -> dict[str, Any]:
        return self.journal.start(Node(path.rsplit("/", 1)[-1], kind, "f:1:1"), path, AT.format(0))

    def end(self, path: str, record: dict[str, Any], seconds: float, **extra: Any) -> None:
        self.journal.complete(path, record, AT.format(seconds), None, extra)

    def done(self, path: str, seconds: float, kind: str = "function", **extra: Any) -> None:
        self.end(path, self.begin(path, kind), seconds, **extra)


def test_a_step_that_runs_often_is_one_entry() -> None:
    counting = Counting()
    for number, seconds in enumerate((1.0, 3.0, 2.0)):
        counting.done(f"each[{number}]/charge", seconds, attempts=number + 1)
    assert counting.state == {
        "attempts": 3, "step_duration": 3.0, "tokens": 0, "cost": 0.0,
        "steps": {"charge": {"runs": 3, "seconds": 6.0, "longest": 3.0, "attempts": 6}},
    }  # fmt: skip


def test_what_holds_others_waits_or_asks_people_is_no_work() -> None:
    counting = Counting()
    for kind in ("block", "parallel", "for-each", "wait", "wait-for-event", "human-task", "set"):
        counting.done(kind, 50.0, kind)
    assert counting.state == Tally.fresh()


def test_a_step_that_fails_or_is_cancelled_has_taken_its_time_and_tokens_too() -> None:
    counting = Counting()
    record = counting.begin("ask", "claude")
    error = {"type": "timeout", "message": "m", "attempts": 3, "usage": {"input_tokens": 5, "cost": 0.25}}
    counting.journal.fail("ask", record, AT.format(4), error)
    counting.journal.cancel("b", counting.begin("b"), AT.format(1))
    assert (counting.state["attempts"], counting.state["tokens"], counting.state["cost"]) == (3, 5, 0.25)
    assert counting.state["steps"]["ask"] == {
        "runs": 1, "seconds": 4.0, "longest": 4.0, "attempts": 3, "failed": 1, "tokens": 5, "cost": 0.25,
    }  # fmt: skip
    assert "failed" not in counting.state["steps"]["b"]


def test_what_an_agent_does_counts_once_as_the_agents() -> None:
    counting = Counting()
    agent = counting.begin("team/lead", "agent")
    counting.done("team/lead/turn[0]/model", 2.0, "agent-turn", usage={"input_tokens": 10, "cost": 0.1})
    helper = counting.begin("team/lead/turn[0]/call-0", "agent")
    counting.done("team/lead/turn[0]/call-0/turn[0]/model", 1.0, "agent-turn", usage={"input_tokens": 7})
    counting.end("team/lead/turn[0]/call-0", helper, 1.0, usage={"input_tokens": 7})
    counting.end("team/lead", agent, 5.0, usage={"input_tokens": 17, "output_tokens": 3, "cost": "unpriced"})
    assert list(counting.state["steps"]) == ["lead"]
    assert (counting.state["tokens"], counting.state["cost"], counting.state["step_duration"]) == (20, 0.0, 5.0)


def test_a_flow_of_very_many_steps_is_counted_together() -> None:
    counting = Counting()
    for number in range(MOST_STEPS + 5):
        counting.done(f"s{number}", 1.0, usage={"output_tokens": 1})
    assert len(counting.state["steps"]) == MOST_STEPS
    assert counting.state["tokens"] == MOST_STEPS + 5
