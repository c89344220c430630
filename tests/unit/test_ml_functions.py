"""What ml-training computes: whether data are fit, which features are kept, a search that goes on after a crash, and
deploying as a pointer that can be put back."""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.function_step import attempt, call

from orchestrator.errors import TerminalError
from orchestrator.steps.context import CURRENT, StepContext

Json = Any
COLUMNS = {"number": ["size", "noise"], "category": ["clinic"], "time": ["seen"]}
LIMITS = {"completeness": 0.95, "duplicates": 0.05, "outliers": 0.05}


@pytest.fixture
def step(tmp_path: Path) -> Iterator[StepContext]:
    """The attempt that the functions run in; its project is empty."""
    with attempt(tmp_path, "ml-training", "train") as context:
        yield context


def patients(count: int = 120) -> list[dict[str, Json]]:
    """Rows whose size and clinic tell the target, and whose noise and time do not."""
    chance = random.Random(3)
    rows = []
    for number in range(count):
        ill = number % 3 == 0
        rows.append(
            {
                "size": round(chance.gauss(9 if ill else 4, 1), 3),
                "noise": round(chance.gauss(0, 1), 3),
                "clinic": "north" if ill == (chance.random() < 0.8) else "south",
                "seen": f"2025-{chance.randrange(1, 13):02d}-{chance.randrange(1, 28):02d}T{chance.randrange(24):02d}:00:00",
                "ill": int(ill),
            }
        )
    return rows


def loaded(step: StepContext, rows: list[dict[str, Json]]) -> Json:
    """The rows as the flow has them after its first step."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    file = step.settings.project_dir / "data" / "patients.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text.getvalue())
    return call("load_training_data", {"source": "data/patients.csv"})["file"]


def table_of(step: StepContext, rows: list[dict[str, Json]] | None = None) -> Json:
    return {"data": loaded(step, rows or patients()), "columns": COLUMNS, "target": "ill"}


def checked(step: StepContext, rows: list[dict[str, Json]], **limits: float) -> Json:
    return call("check_training_data", table_of(step, rows) | {"limits": LIMITS | limits})


def test_data_that_are_fit_are_said_to_be(step: StepContext) -> None:
    verdict = checked(step, patients())
    assert verdict["ok"], verdict
    assert (verdict["rows"], verdict["completeness"], verdict["classes"]) == (120, 1.0, {"0": 80, "1": 40})


def without(column: str) -> Callable[[list[dict[str, Json]]], None]:
    def change(rows: list[dict[str, Json]]) -> None:
        for row in rows:
            del row[column]

    return change


def with_value(column: str, value: Json, share: float) -> Callable[[list[dict[str, Json]]], None]:
    def change(rows: list[dict[str, Json]]) -> None:
        for row in rows[: int(len(rows) * share)]:
            row[column] = value

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without("clinic"), "there is no column 'clinic'"),
        (without("ill"), "there is no column 'ill'"),
        (with_value("size", "large", 0.01), "line 2, column 'size': 'large' is no number"),
        (with_value("size", "nan", 0.01), "line 2, column 'size': 'nan' is no number"),
        (with_value("seen", "yesterday", 0.01), "line 2, column 'seen': 'yesterday' is no time"),
        (with_value("clinic", "", 0.5), "87.5% of the cells are filled, 95.0% have to be"),
        (with_value("noise", 1e6, 0.22), "values are far outside"),
        (with_value("ill", 2, 0.1), "column 'ill' has to be 0 or 1"),
        (with_value("ill", 1, 1), "column 'ill' is the same in every row"),
        (lambda rows: rows.extend(rows[:20]), "14.3% of the rows are there twice, 5.0% may be"),
    ],
)
def test_what_is_wrong_with_data_is_told(step: StepContext, change: Callable[[Json], None], problem: str) -> None:
    rows = patients()
    change(rows)
    verdict = checked(step, rows)
    assert not verdict["ok"]
    assert any(problem in told for told in verdict["problems"]), verdict["problems"]


def test_a_thousand_problems_are_not_all_listed(step: StepContext) -> None:
    rows = patients()
    with_value("size", "large", 1)(rows)
    problems = checked(step, rows)["problems"]
    assert len(problems) == 11
    assert problems[-1] == "and 111 more"


@pytest.mark.parametrize(
    ("source", "kind"), [("../secret.csv", "path_refused"), ("data/none.csv", "not_found"), ("data/x", "bad_data")]
)
def test_a_source_that_cannot_be_read_is_refused_by_name(step: StepContext, source: str, kind: str) -> None:
    folder = step.settings.project_dir / "data"
    folder.mkdir()
    (folder / "x").write_text("size,ill\n1\n")
    with pytest.raises(TerminalError) as refused:
        call("load_training_data", {"source": source})
    assert refused.value.type == kind


def test_a_file_that_was_changed_after_it_was_written_is_never_read(step: StepContext) -> None:
    table = table_of(step)
    (step.settings.state / "models" / table["data"]["path"]).write_text("size\n1\n")
    with pytest.raises(TerminalError, match="not what this flow wrote"):
        call("check_training_data", table | {"limits": LIMITS})
    outside = {"path": "../../data/patients.csv", "sha256": table["data"]["sha256"]}
    with pytest.raises(TerminalError, match="outside the folder"):
        call("check_training_data", table | {"limits": LIMITS, "data": outside})


def test_features_that_tell_something_are_kept_and_the_others_dropped(step: StepContext) -> None:
    built = call("build_features", {"table": table_of(step), "holdout": 0.2, "seed": 1})
    assert {"size", "clinic=north", "clinic=south"} <= set(built["kept"])
    assert {"noise", "seen_hour", "seen_month_sin", "seen_weekday_cos"} <= set(built["dropped"])


def test_the_split_holds_each_class_in_its_share_and_no_row_twice(step: StepContext) -> None:
    rows = patients()
    built = call("build_features", {"table": table_of(step, [*rows, *rows[:6]]), "holdout": 0.2, "seed": 1})
    assert (built["train"], built["holdout"], built["duplicates"]) == (96, 24, 6)
    split = json.loads((step.settings.state / "models" / built["split"]["path"]).read_text())
    assert not set(split["train"]) & set(split["holdout"])
    assert sum(place % 3 == 0 for place in split["holdout"] if place < 120) in range(7, 10)


def test_data_that_tell_nothing_cannot_be_learned_from(step: StepContext) -> None:
    table = table_of(step) | {"columns": {"number": ["noise"]}}
    with pytest.raises(TerminalError, match="no feature has anything to do with the target"):
        call("build_features", {"table": table, "holdout": 0.2, "seed": 1})


def training(step: StepContext, algorithm: str = "random_forest", trials: int = 2) -> Json:
    table = table_of(step)
    split = call("build_features", {"table": table, "holdout": 0.2, "seed": 1})["split"]
    search = {"trials": trials, "folds": 2}
    return {"algorithm": algorithm, "table": table, "split": split, "search": search, "seed": 1}


@pytest.mark.parametrize("algorithm", ["random_forest", "gradient_boosting", "neural_network"])
def test_each_algorithm_finds_a_model_that_is_judged_on_the_holdout(step: StepContext, algorithm: str) -> None:
    task = training(step, algorithm)
    found = call("train_model", task)
    assert found["trials"] == 2
    assert found["params"]
    asked = {"candidates": [None, found], "table": task["table"], "split": task["split"]}
    judged = call("evaluate_models", asked | {"requirements": {"accuracy": 0.5, "precision": 0.5}})
    assert set(judged["metrics"]) == {"accuracy", "precision", "recall", "f1"}
    assert judged["all"] == {algorithm: judged["metrics"]}
    assert len(judged["probe"]["rows"]) == len(judged["probe"]["answers"]) == 5


def test_a_search_goes_on_after_the_trials_that_a_lost_worker_finished(step: StepContext) -> None:
    task, tried = training(step, trials=3), []

    def lost_in_the_second(progress: Json) -> None:
        tried.append(progress)
        if len(tried) == 2:
            raise KeyboardInterrupt

    CURRENT.set(replace(step, report=lost_in_the_second))
    with pytest.raises(KeyboardInterrupt):
        call("train_model", task)
    assert call("train_model", task)["trials"] == 3
    assert [one["trial"] for one in tried] == [1, 2, 3]
    assert all(one["of"] == 3 for one in tried)
    CURRENT.set(replace(step, idempotency_key="run-2/train#1", report=tried.append))
    call("train_model", task)
    assert len(tried) == 6, "another run searches by itself"


def test_the_best_is_the_one_of_the_search_and_the_holdout_only_judges_it(step: StepContext) -> None:
    task = training(step)
    forest = call("train_model", task)
    other = call("train_model", task | {"algorithm": "neural_network"}) | {"score": forest["score"] + 1}
    asked = {"candidates": [forest, other], "table": task["table"], "split": task["split"]}
    strict = call("evaluate_models", asked | {"requirements": {"accuracy": 1.01, "precision": 0.0}})
    assert strict["best"]["algorithm"] == "neural_network"
    assert not strict["meets"]
    assert [reason.partition(" is ")[0] for reason in strict["because"]] == ["accuracy"]
    assert call("evaluate_models", asked | {"requirements": {"accuracy": 0.0, "precision": 0.0}})["meets"]


def test_without_any_model_nothing_is_evaluated(step: StepContext) -> None:
    nothing = {"path": "x", "sha256": "y"}
    asked = {"candidates": [None, None], "table": {"data": nothing, "columns": {}, "target": "ill"}, "split": nothing}
    with pytest.raises(TerminalError) as refused:
        call("evaluate_models", asked | {"requirements": {"accuracy": 0, "precision": 0}})
    assert refused.value.type == "no_model"


def test_without_the_library_a_step_says_what_to_install(step: StepContext, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(step)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TerminalError, match=r"pip install 'orchestrator\[ml\]'") as refused:
        call("build_features", {"table": table, "holdout": 0.2, "seed": 1})
    assert refused.value.type == "library_missing"


def model(step: StepContext, word: str) -> Json:
    """Some file that an earlier step wrote."""
    (step.settings.project_dir / "data").mkdir(exist_ok=True)
    (step.settings.project_dir / "data" / "m.csv").write_text(f"word\n{word}\n")
    return call("load_training_data", {"source": "data/m.csv"})["file"]


def deploy(file: Json, name: str = "tumours") -> Json:
    about = {"metrics": {"f1": 1.0}, "run": "run-1", "at": "2026-01-01T00:00:00Z"}
    return call("deploy_model", {"name": name, "model": file} | about)


def serving(step: StepContext, name: str = "tumours") -> Json:
    """The model a name points at; None where it points at none."""
    pointer = step.settings.state / "models" / "deployed" / f"{name}.json"
    return json.loads(pointer.read_text())["model"] if pointer.exists() else None


def test_deploying_twice_is_deploying_once_and_the_way_back_stays(step: StepContext) -> None:
    first, second = model(step, "one"), model(step, "two")
    assert deploy(first)["replaced"] is None
    for _ in range(2):
        assert deploy(second)["replaced"] == first
    assert serving(step) == second
    for withdrawn in (True, False):
        back = call("withdraw_model", {"name": "tumours", "model": second})
        assert back == {"withdrawn": withdrawn, "serving": first}
    assert serving(step) == first


def test_withdrawing_the_first_model_leaves_none(step: StepContext) -> None:
    file = model(step, "one")
    deploy(file)
    assert call("withdraw_model", {"name": "tumours", "model": file}) == {"withdrawn": True, "serving": None}
    assert serving(step) is None
    assert call("withdraw_model", {"name": "tumours", "model": file})["withdrawn"] is False


def test_what_was_deployed_since_is_not_withdrawn(step: StepContext) -> None:
    first, second = model(step, "one"), model(step, "two")
    deploy(first)
    deploy(second)
    assert call("withdraw_model", {"name": "tumours", "model": first}) == {"withdrawn": False, "serving": second}


def test_a_name_leads_nowhere_else_and_a_changed_model_is_not_deployed(step: StepContext) -> None:
    file = model(step, "one")
    with pytest.raises(TerminalError) as refused:
        deploy(file, "../elsewhere")
    assert refused.value.type == "path_refused"
    with pytest.raises(TerminalError) as refused:
        deploy(file | {"sha256": "0" * 64})
    assert refused.value.type == "file_changed"
    assert serving(step) is None


def test_files_of_a_run_with_a_strange_id_stay_in_the_folder(step: StepContext) -> None:
    CURRENT.set(replace(step, run_id="../../x"))
    file = model(step, "one")
    assert (step.settings.state / "models" / file["path"]).resolve().is_relative_to(step.settings.state / "models")
