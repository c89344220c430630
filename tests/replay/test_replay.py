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
from temporalio.client import WorkflowHistory
from temporalio.workflow import NondeterminismError
from tests.replay.commands import recorded, replay

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
ROOT = Path(__file__).parents[2]


def test_there_are_histories_to_replay() -> None:
    assert len(HISTORIES) >= 4


@pytest.mark.parametrize("seed", ["0", "4242"])
@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_a_stored_history_replays_to_the_same_commands(path: Path, seed: str) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.replay.commands", str(path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    answer = json.loads(run.stdout)
    assert answer["produced"] == answer["stored"]
    assert answer["stored"]


Change = Callable[[dict[str, Any]], None]


def swap_steps(definition: dict[str, Any]) -> None:
    steps = definition["steps"]
    steps[0], steps[1] = steps[1], steps[0]


def change_input(definition: dict[str, Any]) -> None:
    definition["steps"][0]["config"]["args"] = ["something else"]


def change_timer(definition: dict[str, Any]) -> None:
    definition["steps"][2]["config"]["duration"] = 9.0


@pytest.mark.parametrize("change", [swap_steps, change_input, change_timer])
async def test_a_changed_definition_does_not_pass_as_the_same_run(change: Change) -> None:
    text = (Path(__file__).parent / "histories" / "two-echoes-and-a-wait.json").read_text(encoding="utf-8")
    data = json.loads(text)
    payloads = data["events"][0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"]
    envelope, definition = (json.loads(base64.b64decode(payload["data"])) for payload in payloads[1:])
    change(definition)
    # The engine keeps compiled definitions by key: a changed one must not meet the old one's code.
    envelope["definition"] = change.__name__
    for payload, value in zip(payloads[1:], (envelope, definition), strict=True):
        payload["data"] = base64.b64encode(json.dumps(value).encode()).decode()
    history = WorkflowHistory.from_json("changed", json.dumps(data))
    try:
        produced = await replay(history)
    except NondeterminismError:
        return
    assert produced != recorded(history)
