"""What the runs of a monitored flow took is told over HTTP and on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.integration.gateway.conftest import Door

from orchestrator.cli import main
from orchestrator.client import RunFailed
from orchestrator.client.metrics import metrics_of
from orchestrator.store.ledger import Line

FLOW = """
id: measured
inputs: {fail: boolean}
monitoring:
  metrics: [step_duration, success_rate]
  alerts: [{condition: execution_time > 1h, channel: ops}]
steps:
  - {id: kept, type: state, config: {put: k, value: 1}}
  - {id: no, type: fail, if: inputs.fail, config: {type: broken, message: "no"}}
"""
NOON = datetime.now(UTC)
"""Of no calendar: the gateway forgets what is old."""


async def test_the_metrics_that_a_flow_names_are_told_over_a_window(door: Door) -> None:
    await door.publish(FLOW)
    for fail in (False, True, False):
        run = await door.client.start("measured", {"fail": fail})
        if fail:
            with pytest.raises(RunFailed):
                await run.result(30)
        else:
            await run.result(30)
    answer = await door.http.get("/v1/flows/measured/metrics", params={"window": "1h"})
    told = answer.json()
    assert answer.status_code == 200
    assert told["runs"] == {"completed": 2, "failed": 1}
    assert told["complete"] is True
    assert told["rates"] == {"success_rate": pytest.approx(2 / 3)}
    assert sorted(told["spreads"]) == ["execution_time", "step_duration"]
    assert set(told["steps"]) == {"kept"}
    assert (told["steps"]["kept"]["runs"], told["steps"]["kept"]["attempts"]) == (3, 3)


async def test_a_flow_that_is_not_measured_says_what_to_write(door: Door) -> None:
    await door.publish("{id: plain, steps: [{type: wait, config: {duration: 1}}]}")
    answer = await door.http.get("/v1/flows/plain/metrics")
    assert answer.status_code == 404
    assert "write for example `monitoring: {metrics: [execution_time, success_rate]}`" in answer.json()["detail"]
    assert (await door.http.get("/v1/flows/nobody/metrics")).status_code == 404


@pytest.mark.parametrize("window", ["yesterday", "-1", "1y"])
async def test_a_window_that_is_none_is_refused(door: Door, window: str) -> None:
    answer = await door.http.get("/v1/flows/measured/metrics", params={"window": window})
    assert answer.status_code == 422
    assert "is not a duration" in answer.json()["detail"]


async def test_what_was_taken_is_summed_up_by_rank(door: Door) -> None:
    await door.publish(FLOW)
    for number in range(1, 101):
        end = NOON + timedelta(seconds=number)
        steps: dict[str, Any] = {"a": {"runs": 2, "seconds": 4.0, "longest": number / 10, "attempts": 3, "cost": 0.5}}
        status = "cancelled" if number > 80 else "completed" if number > 20 else "timed_out"
        line = Line(f"run-{number}", "measured", "1", status, NOON, end, float(number), steps=steps)
        await door.store.ledger.write(line)
    found = await metrics_of(door.store, "measured", 3600.0, now=NOON + timedelta(seconds=200))
    spread = found.spreads["execution_time"]
    assert (spread.mean, spread.p50, spread.p95, spread.max, spread.total) == (50.5, 50.0, 95.0, 100.0, 5050.0)
    assert found.rates == {"success_rate": 0.75}
    step = found.steps["a"]
    assert (step.runs, step.attempts, step.seconds, step.longest, step.cost) == (200, 300, 2.0, 10.0, 50.0)
    empty = await metrics_of(door.store, "measured", 10.0, now=NOON)
    assert (empty.runs, empty.spreads, empty.rates, empty.steps) == ({}, {}, {}, {})


def test_the_command_line_says_what_stands_in_the_way(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)
    project = ["-C", str(tmp_path)]
    assert main([*project, "publish", str(tmp_path / "flow.yaml")]) == 0
    assert main([*project, "metrics", "measured", "--window", "soon"]) == 2
    assert "--window: 'soon' is not a duration" in capsys.readouterr().err
    assert main([*project, "metrics", "measured", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == {}
    assert main([*project, "metrics", "measured"]) == 0
    assert "runs that ended since" in capsys.readouterr().out
