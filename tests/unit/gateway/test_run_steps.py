"""The rows of a run's page: which step is in which, and what a step of a loop is told as."""

from __future__ import annotations

from orchestrator.client.run import Attempt
from orchestrator.gateway.pages.run_steps import LONGEST, Row, Run, tallies, value_of
from orchestrator.spec.definition import Definition, Json, Node
from orchestrator.spec.graph.model import static_paths

DEFINITION = Definition(
    "flow",
    "1",
    "hash",
    "flow.yaml",
    (
        Node(
            "each",
            "for-each",
            "flow.yaml:2:3",
            lists={"steps": (Node("charge", "http", "flow.yaml:3:3", config={"url": "{{ item }}"}),)},
        ),
        Node("think", "agent", "flow.yaml:4:3"),
    ),
)


def rows(records: dict[str, Json], **more: Json) -> list[Row]:
    attempts = more.get("attempts", {})
    return Run("run-1", records, more.get("waits", []), static_paths(DEFINITION), attempts).rows()


def record(type_: str, status: str = "completed", **more: Json) -> Json:
    return {"type": type_, "status": status, "attempts": 1, **more}


def test_steps_stand_below_the_one_they_are_in_whatever_order_they_are_kept_in() -> None:
    found = rows(
        {
            "each[0]/charge": record("http"),
            "each": record("for-each", "running"),
            "think": record("agent"),
            "each[1]/charge": record("http", "failed"),
            "think/turn[0]/model": record("agent"),
            "think/turn[0]/call-0": record("mcp"),
            "#finally/clean": record("transform"),
        }
    )
    assert [(row.path, row.depth, row.within) for row in found] == [
        ("each", 0, None),
        ("each[0]/charge", 1, ("pass", 0)),
        ("each[1]/charge", 1, ("pass", 1)),
        ("think", 0, None),
        ("think/turn[0]/model", 1, ("turn", 0)),
        ("think/turn[0]/call-0", 1, None),
        ("#finally/clean", 0, ("finally", None)),
    ]


def test_a_step_in_a_loop_is_told_by_its_worst_pass_and_counted() -> None:
    statuses = ("completed", "skipped", "failed", "completed", "completed")
    passes = {f"each[{number}]/charge": record("http", status) for number, status in enumerate(statuses)}
    passes["each[0]/charge"]["undone"] = True
    tally = tallies(rows({"each": record("for-each")} | passes))["charge"]
    assert tally.status == "failed"
    assert tally.counts() == [("failed", 1), ("compensated", 1), ("completed", 2), ("skipped", 1)]


def test_a_step_whose_effect_was_undone_is_compensated_and_one_with_an_open_wait_waits() -> None:
    found = rows(
        {"each": record("for-each", undone=True), "think": record("agent", "running")},
        waits=[{"path": "think", "step": "think", "kind": "human-task"}],
        attempts={"think": Attempt(3, "no answer"), "each": Attempt(2)},
    )
    assert [row.status for row in found] == ["compensated", "waiting"]
    assert [row.attempts for row in found] == [1, 3], "a step that is over is tried no more"


def test_a_step_that_the_flow_does_not_know_is_shown_as_its_record_tells_it() -> None:
    [row] = rows({"playbook/restart": record("api", name="Restart", output="done")})
    assert (row.title, row.type, row.config, row.source) == ("Restart", "api", "", "")
    assert row.output == value_of("done")


def test_config_is_what_the_author_wrote_and_values_are_cut_where_they_are_long() -> None:
    [_, row] = rows({"each": record("for-each"), "each[0]/charge": record("http", output="x" * (LONGEST + 7))})
    assert row.config == "url: '{{ item }}'\n"
    assert row.output is not None and (len(row.output.text), row.output.cut) == (LONGEST, 7)
    [left_out] = rows({"each": record("for-each", output_bytes=40_000)})
    assert left_out.output is not None and (left_out.output.text, left_out.output.size) == ("", 40_000)
