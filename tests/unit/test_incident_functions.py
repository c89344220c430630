"""What an incident's playbook may do, and how bad an incident is: rules, whatever Claude wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.steps.function.handlers import discover, invoke_arguments

FUNCTIONS = discover(Path(__file__).parents[2] / "activities")
OPERATIONS = {"setRelease": True, "scale": True, "restart": False}
Json = Any


def call(name: str, given: Json) -> Json:
    """The function with JSON, as the worker calls it."""
    function = FUNCTIONS[name]
    return function.call(*invoke_arguments(function, [given]))


def checked(steps: Json) -> Json:
    """A playbook checked, for an alert about `shop`."""
    text = steps if isinstance(steps, str) else json.dumps(steps)
    return call("check_playbook", {"steps": text, "service": "shop", "operations": OPERATIONS})


def changing(**changed: Json) -> Json:
    """A step that sets a release and says how that is undone, with these members changed."""
    config = {"service": "operations", "method": "setRelease", "params": {"service": "shop"}, "body": {"release": 41}}
    undo = {"type": "api", "config": config | {"body": {"release": 42}}}
    return {"id": "back", "type": "api", "config": config, "compensate": undo} | changed


@pytest.mark.parametrize(
    ("level", "error_rate", "expected"),
    [(1, None, 1), (1, 0.02, 2), (2, 0.1, 3), (1, 0.3, 4), (5, 0.0, 5), (9, None, 5), (-3, None, 1)],
)
def test_what_was_measured_raises_the_level_and_never_lowers_it(
    level: int, error_rate: float | None, expected: int
) -> None:
    assert call("assess_severity", {"level": level, "remedy": "none", "error_rate": error_rate})["level"] == expected


@pytest.mark.parametrize(
    ("level", "remedy", "expected"), [(4, "restart", True), (5, "restart", False), (1, "none", False)]
)
def test_the_worst_incidents_are_not_restarted_unseen(level: int, remedy: str, expected: bool) -> None:
    assert call("assess_severity", {"level": level, "remedy": remedy})["auto_remediable"] is expected


def test_an_action_is_told_apart_from_what_undoes_it_and_rehearsed_without_running() -> None:
    found = checked([changing(), {"type": "wait", "config": {"duration": "1m"}}])
    assert found["ok"] is True
    back, pause = found["actions"]
    assert "compensate" not in back["step"]
    assert [step["config"]["body"] for step in back["undo"]] == [{"release": 42}]
    assert pause["step"]["id"] == "action-2"
    assert pause["undo"] == []
    assert [(step["id"], step["if"], step["needs"]) for step in found["rehearsal"]] == [
        ("back", False, []),
        ("undo-back-1", False, []),
        ("action-2", False, []),
    ]


def test_a_playbook_may_be_yaml_and_may_be_empty() -> None:
    assert checked("- {id: pause, type: wait, config: {duration: 5s}}")["ok"] is True
    assert checked("[]") == {"ok": True, "problems": [], "actions": [], "rehearsal": []}


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([changing(type="sql")], "`sql` is not allowed; allowed: api, wait"),
        ([changing(config={"service": "crm", "method": "setRelease", "params": {"service": "shop"}})], "`crm` is not"),
        (
            [changing(config={"service": "operations", "method": "drop", "params": {"service": "shop"}})],
            "no method `drop`",
        ),
        (
            [changing(config={"service": "operations", "method": "scale", "params": {"service": "bank"}})],
            "touches `bank`",
        ),
        ([changing(config={"service": "operations", "method": "scale"})], "touches `None`"),
        ([changing(config="all")], "`config` is no mapping"),
        ([changing(compensate=None)], "says in no `compensate`"),
        ([changing(compensate={"type": "file", "config": {}})], "`file` is not allowed"),
        ([changing(compensate=["undo it"])], "what undoes it is no step"),
        ([changing(on_error="continue")], "has no `on_error`"),
        ([changing(id=f"a{number}") for number in range(6)], "6 actions, at most 5"),
        ("restart everything", "a playbook is a list of steps"),
        (["restart everything"], "a playbook is a list of steps"),
        ("- {id: a, type: [}", "line 1"),
        ("", "the file is empty"),
    ],
)
def test_a_playbook_out_of_bounds_is_refused_with_its_reasons(steps: Json, reason: str) -> None:
    found = checked(steps)
    assert (found["ok"], found["actions"], found["rehearsal"]) == (False, [], [])
    assert reason in "; ".join(found["problems"])
