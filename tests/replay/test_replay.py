"""Stored histories replay to the same commands, in fresh processes, whatever the hash seed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.workflow import NondeterminismError
from tests.replay.commands import recorded, replay, stored
from tests.replay.flows import KEPT

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
ROOT = Path(__file__).parents[2]


def test_a_history_of_every_construct_is_kept() -> None:
    assert {path.stem for path in HISTORIES} >= KEPT.keys()


@pytest.fixture(scope="module", params=["0", "4242"])
def replayed(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every stored history replayed in one fresh process with its own hash seed."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.replay.commands", *map(str, HISTORIES)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": request.param},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    # The SDK writes its log to stdout too; the answer is the last line.
    answers: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_stored_history_replays_to_the_same_commands(path: Path, replayed: dict[str, Any]) -> None:
    answer = replayed[str(path)]
    assert "raised" not in answer, answer["raised"]
    assert answer["produced"] == answer["stored"]
    assert any(answer["stored"])


Change = Callable[[dict[str, Any]], None]


def swap_steps(definition: dict[str, Any]) -> None:
    steps = definition["steps"]
    steps[0], steps[1] = steps[1], steps[0]


def change_input(definition: dict[str, Any]) -> None:
    definition["steps"][0]["config"]["args"] = ["something else"]


def change_timer(definition: dict[str, Any]) -> None:
    definition["steps"][2]["config"]["duration"] = 9.0


def change_interval(definition: dict[str, Any]) -> None:
    definition["steps"][0]["config"]["interval"] = 9.0


def change_express_input(definition: dict[str, Any]) -> None:
    definition["steps"][0]["lists"]["steps"][0]["config"]["args"] = ["something else"]


def change_compensation(definition: dict[str, Any]) -> None:
    definition["steps"][0]["lists"]["compensate"][0]["config"]["args"] = ["something else"]


def change_child_input(definition: dict[str, Any]) -> None:
    definition["steps"][0]["config"]["inputs"] = {"n": 7}


def change_start_value(definition: dict[str, Any]) -> None:
    definition["vars"] = {"n": 7}


def change_goal(definition: dict[str, Any]) -> None:
    definition["steps"][0]["config"]["goal"] = "Get something else done."


CHANGES: list[tuple[str, Change]] = [
    ("two-echoes-and-a-wait", swap_steps),
    ("two-echoes-and-a-wait", change_input),
    ("two-echoes-and-a-wait", change_timer),
    ("while-with-interval", change_interval),
    ("express", change_express_input),
    ("saga-cancelled", change_compensation),
    ("sub-flows", change_child_input),
    ("continued", change_start_value),
    ("agent", change_goal),
]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[change.__name__ for _, change in CHANGES])
async def test_a_changed_definition_does_not_pass_as_the_same_run(name: str, change: Change) -> None:
    text = (Path(__file__).parent / "histories" / f"{name}.json").read_text(encoding="utf-8")
    data = json.loads(text)
    payloads = data["events"][0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"]
    envelope, definition = (json.loads(base64.b64decode(payload["data"])) for payload in payloads[1:3])
    change(definition)
    # The engine keeps compiled definitions by key: a changed one must not meet the old one's code.
    envelope["definition"] = change.__name__
    for payload, value in zip(payloads[1:3], (envelope, definition), strict=True):
        payload["data"] = base64.b64encode(json.dumps(value).encode()).decode()
    history, local = stored(json.dumps(data))
    try:
        produced = await replay(history)
    except NondeterminismError:
        return
    assert produced != (recorded(history), local)
