"""What monitoring promises is checked when a flow is loaded: metrics, conditions, units, channels."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.definition import definition_from_json, definition_key, definition_to_json
from orchestrator.spec.monitoring import (
    METRICS,
    described,
    from_json,
    holds,
    moments,
    read_condition,
    shown,
    to_json,
    while_running,
)

STEPS = "steps: [{type: wait, config: {duration: 1}}]\n"
SLACK = {"token": "xoxb-1", "channel": "#ops"}


def alert(condition: str, channel: str = "slack", top: str = "") -> str:
    return f'id: f\n{top}monitoring:\n  alerts:\n    - {{condition: "{condition}", channel: "{channel}"}}\n{STEPS}'


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("execution_time", "'execution_time' is not `metric op literal`"),
        ("execution_time > 300s and", "is not `metric op literal`"),
        ("(cost > 1)", "is not `metric op literal`"),
        ("exection_time > 300s", "there is no metric `exection_time`; did you mean `execution_time`?"),
        ("execution_time > 5%", "`execution_time` is a time, 5% is none; write for example 300s"),
        ("execution_time > 5x", "'5x' is not a duration"),
        ("tokens > 5s", "`tokens` is a plain number, 5s is none; write for example 3"),
        ("attempts > 5%", "`attempts` is a plain number, 5% is none"),
        ("success_rate < 95", "`success_rate` is a share; write 95% or a number from 0 to 1"),
        ("success_rate < 5m", "`success_rate` is a share, 5m is none; write for example 95%"),
        ("success_rate > 100%", "can never hold: `success_rate` is from 0% to 100%"),
        ("cost < 0", "can never hold: `cost` is 0 or more"),
        ("cost > 5 and cost < 2", "`cost > 5 and cost < 2` can never hold: no value of `cost` fits all of it"),
        ("tokens > 5 or cost >= 3 and cost < 3", "`cost >= 3 and cost < 3` can never hold"),
    ],
)
def test_a_condition_that_cannot_be_or_cannot_hold_is_refused_at_its_place(
    problems: Any, condition: str, why: str
) -> None:
    [problem] = problems(alert(condition), slack=SLACK)
    assert problem.startswith("4:19: `condition`: ")
    assert why in problem


def test_a_metric_that_nobody_measures_is_refused(problems: Any) -> None:
    text = f"id: f\nmonitoring: {{metrics: [execution_time, step_durations]}}\n{STEPS}"
    assert problems(text) == [
        "2:40: item 2 of `metrics`: there is no metric `step_durations`; did you mean `step_duration`?"
    ]


def test_an_alert_takes_no_templates(problems: Any) -> None:
    [channel] = problems(alert("cost > 1", "{{ env.CHANNEL }}"))
    assert "takes no templates" in channel


@pytest.mark.parametrize(
    ("channel", "project", "warning"),
    [
        ("ops", {}, "no contact `ops` is declared"),
        ("ops", {"contacts": {"ops": {}}}, "the contact `ops` cannot be told anything"),
        ("slack", {}, "no `slack` is declared"),
        ("slack", {"slack": {"token": "x"}}, "nobody says which channel of Slack is meant"),
        ("#ops", {}, "no `slack` is declared"),
        ("email", {}, "no `mail` is declared"),
        ("email", {"mail": {"server": "s", "from": "a@b.example"}}, "nobody says who gets the e-mail"),
        ("kim@example.com", {}, "no `mail` is declared"),
        ("ops", {"contacts": {"ops": {"slack": "#ops"}}}, None),
        ("slack", {"slack": SLACK}, None),
        ("slack", {"slack": {"webhooks": {"#ops": "https://hooks.example/1"}}}, None),
        ("slack", {"contacts": {"slack": {"webhook": "https://hooks.example/1"}}}, None),
        ("#ops", {"slack": {"token": "x"}}, None),
        ("email", {"mail": {"server": "s", "from": "a@b.example", "to": "kim@example.com"}}, None),
    ],
)
def test_a_channel_that_nobody_would_hear_is_warned_of(
    load: Any, channel: str, project: dict[str, Any], warning: str | None
) -> None:
    loaded = load(alert("cost > 1", channel), **project)
    assert [problem.message for problem in loaded.warnings] == ([] if warning is None else [warning])
    assert all(problem.line == 4 for problem in loaded.warnings)


@pytest.mark.parametrize(
    ("condition", "top", "warning"),
    [
        ("cost >= 0", "", "this holds for every run"),
        ("success_rate <= 100%", "", "this holds for every run"),
        ("execution_time > 5m", "timeout: 60s\n", "no run gets as far as 300s: the flow's `timeout` ends it after 60s"),
        ("queue_time > 5m", "", "`queue_time` is always 0: no run of this flow waits for its turn"),
        ("queue_time > 5m", "concurrency: {limit: 1}\n", None),
        ("execution_time > 5m", "timeout: 10m\n", None),
    ],
)
def test_a_condition_that_says_nothing_about_this_flow_is_warned_of(
    load: Any, condition: str, top: str, warning: str | None
) -> None:
    loaded = load(alert(condition, top=top), slack=SLACK)
    assert [problem.message for problem in loaded.warnings] == ([] if warning is None else [warning])


def test_and_binds_closer_than_or(load: Any) -> None:
    condition = read_condition("attempts > 2 and cost > 1 or tokens >= 10")
    assert [[term.metric for term in group] for group in condition] == [["attempts", "cost"], ["tokens"]]
    assert holds(condition, {"tokens": 10})
    assert holds(condition, {"attempts": 3, "cost": 2})
    assert not holds(condition, {"attempts": 3, "cost": 1, "tokens": 9})


def test_what_is_not_known_makes_nothing_true() -> None:
    assert not holds(read_condition("success_rate < 95%"), {"success_rate": None})
    assert not holds(read_condition("success_rate < 95%"), {})


def test_only_what_stays_true_is_told_before_a_run_is_over() -> None:
    condition = read_condition(
        "execution_time > 5m or execution_time > 1m and attempts >= 2 or execution_time > 2s and execution_time < 9s "
        "or execution_time > 3s and success_rate < 95% or attempts > 4"
    )
    assert len(while_running(condition)) == 2
    assert moments(condition) == [60.0, 300.0]


def test_values_are_shown_as_people_write_them() -> None:
    assert [shown("execution_time", value) for value in (0.25, 59.9, 312, 90061)] == [
        "0.25s",
        "59.9s",
        "5m 12s",
        "1d 1h",
    ]
    assert shown("success_rate", 0.9354) == "93.54%"
    assert shown("cost", 0.03125) == "$0.03125"
    assert shown("tokens", 12500) == "12500"
    told = described(read_condition("attempts > 2 or success_rate < 5% and attempts > 1"), {"attempts": 3})
    assert told == "attempts is 3"


def test_a_run_is_pinned_to_its_alerts(load: Any) -> None:
    loaded = load(alert("execution_time  >  5m"), slack=SLACK)
    definition = loaded.definition
    assert definition.monitoring == {
        "metrics": [],
        "alerts": [
            {
                "condition": "execution_time > 5m",
                "any": [[["execution_time", ">", 300.0]]],
                "channel": "slack",
                "message": None,
            }
        ],
    }
    assert definition_from_json(definition_to_json(definition)) == definition


def test_a_flow_without_monitoring_is_pinned_as_before(load: Any) -> None:
    definition = load(f"id: f\nmonitoring: {{}}\n{STEPS}").definition
    assert "monitoring" not in definition_to_json(definition)
    assert definition_key(definition).split(" ", 1)[1] == f"{definition.version} flow.yaml"


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(sorted(METRICS)), st.sampled_from(["<", "<=", ">", ">=", "=="]), st.integers(0, 9)
            ),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=3,
    ),
    st.fixed_dictionaries({name: st.integers(0, 20).map(lambda n: n / 2) for name in METRICS}),
)
def test_what_is_refused_as_impossible_never_holds(groups: list[Any], values: dict[str, float]) -> None:
    def literal(metric: str, number: int) -> str:
        return f"{number * 10}%" if METRICS[metric].unit == "share" else str(number)

    values |= {name: values[name] / 10 for name, metric in METRICS.items() if metric.unit == "share"}
    text = " or ".join(
        " and ".join(f"{metric} {op} {literal(metric, number)}" for metric, op, number in group) for group in groups
    )
    compare = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__, "==": float.__eq__}
    true = [
        all(
            compare[op](float(values[metric]), number / 10 if METRICS[metric].unit == "share" else float(number))
            for metric, op, number in group
        )
        for group in groups
    ]
    try:
        condition = read_condition(text)
    except ValueError as error:
        refused = next(i for i, group in enumerate(groups) if _text(group, literal) in str(error))
        assert not true[refused]
    else:
        assert holds(condition, values) == any(true)
        assert from_json(to_json(condition)) == condition


def _text(group: list[Any], literal: Any) -> str:
    return "`" + " and ".join(f"{metric} {op} {literal(metric, number)}" for metric, op, number in group) + "`"
