"""Runs of a flow with every construct under SIGKILL. ``make chaos`` does the same with 200 runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.chaos.__main__ import Plan, chaos
from tests.e2e.chaos.recorder import Call
from tests.e2e.chaos.runs import Case, expected_output, unlike_expected
from tests.e2e.chaos.verdict import BOOKING, LOOP, Recorded, judge

LET_GO = "together/guarded/doubtful/grab#compensate/let-go"


async def test_runs_end_right_and_recorded_steps_stay_done_while_everything_is_killed(tmp_path: Path) -> None:
    result = await chaos(Plan(runs=12, in_flight=6, kills=7, pause=(0.1, 1.0), seed=11, limit=240), tmp_path)
    assert not result.verdict.violations, str(result)
    assert {"worker", "gateway", "temporal"} <= result.kills.keys()
    assert result.recorded.continued > 0


def called(*paths: str, run: str = "chaos-1") -> list[Call]:
    return [Call(float(at), f"{run}/{path}#1", 1) for at, path in enumerate(paths)]


def test_the_judge_finds_a_step_that_ran_again_after_its_result_was_recorded() -> None:
    key = "chaos-1/hold#1"
    recorded = Recorded(finished={key: (2.0, 1)})
    calls = [Call(1.0, key, 1), Call(3.0, key, 2)]
    assert judge([], calls, recorded).violations == [f"{key} ran again 1.00 s after its result was recorded"]
    assert judge([], calls[:1], recorded).violations == []


def test_the_judge_counts_an_attempt_given_up_as_lost_apart() -> None:
    key = "chaos-1/hold#1"
    verdict = judge([], [Call(1.0, key, 2), Call(3.0, key, 1)], Recorded(finished={key: (2.0, 2)}))
    assert (verdict.violations, verdict.overlapping, verdict.repeated) == ([], 1, 1)


def test_the_judge_finds_two_results_of_one_step_and_a_run_that_never_ended() -> None:
    recorded = Recorded(open=["chaos-1"])
    recorded.results["chaos-1/hold#1"] = 2
    assert judge([], [], recorded).violations == ["chaos-1/hold#1 has 2 results", "chaos-1 never ended"]


@pytest.mark.parametrize(
    ("fate", "paths", "told"),
    [
        ("complete", [LET_GO, "#finally/cleaned"], None),
        ("complete", [LET_GO], "handlers"),
        ("complete", [LET_GO, "#finally/cleaned", "found"], "'found' was called"),
        ("cancel", [LET_GO, *LOOP, *BOOKING, "#finally/cleaned"], None),
        ("cancel", [LET_GO, *LOOP, *reversed(BOOKING), "#finally/cleaned"], "wrong order"),
        ("cancel", [LET_GO, *BOOKING, "#finally/cleaned"], "compensated"),
        ("fail", [LET_GO, *LOOP, *BOOKING, "#finally/cleaned"], "handlers"),
    ],
)
def test_the_judge_knows_what_each_fate_undoes_and_handles(fate: str, paths: list[str], told: str | None) -> None:
    violations = judge([Case(1, fate)], called(*paths), Recorded()).violations
    assert [told is not None and told in violation for violation in violations] == ([True] if told else [])


def test_another_output_is_a_problem() -> None:
    case = Case(3, "complete")
    assert unlike_expected(case, expected_output(3)) == []
    assert unlike_expected(case, expected_output(3) | {"total": 5}) == ["output total: 5, not 4"]
    assert unlike_expected(case, None) == ["ended with None"]
