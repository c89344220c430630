"""Functions of the `ml-training` flow: features, the search for a good model, and how good it is."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

from _files import Kept, replace
from _ml_files import MODELS, learning
from _ml_models import Algorithm, pipeline, search_space
from _ml_rows import Kind, feature_kinds, features, schema_of
from ml_data import read_rows
from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.steps.attempt import current_step
from orchestrator.steps.function import cpu

PROBES = 5
"""Rows of the holdout whose answers the deployed model has to give as well."""


@dataclass(frozen=True)
class Table:
    """The data, what its columns are, and which of them is to be told."""

    data: Kept
    columns: dict[Kind, list[str]]
    target: str

    @property
    def schema(self) -> dict[str, Kind]:
        """The kind of each column."""
        return schema_of(self.columns)


@dataclass(frozen=True)
class Split:
    """What the flow passes to `build_features`."""

    table: Table
    holdout: float
    seed: int


@dataclass(frozen=True)
class Search:
    """How many settings are tried, each on so many stratified folds."""

    trials: int
    folds: int


@dataclass(frozen=True)
class Training:
    """What the flow passes to `train_model`."""

    algorithm: Algorithm
    table: Table
    split: Kept
    search: Search
    seed: int


@dataclass(frozen=True)
class Candidate:
    """A trained model, as `train_model` gives it."""

    algorithm: str
    score: float
    model: Kept
    params: dict[str, Any]
    trials: int


@dataclass(frozen=True)
class Requirements:
    """What the best model has to reach on rows it has never seen."""

    accuracy: float
    precision: float


@dataclass(frozen=True)
class Evaluation:
    """What the flow passes to `evaluate_models`; null where an algorithm failed or was not asked for."""

    candidates: list[Candidate | None]
    table: Table
    split: Kept
    requirements: Requirements


@activity.defn
@cpu
def build_features(split: Split) -> dict[str, object]:
    """``{split: {path, sha256}, kept, dropped, train, holdout, duplicates}``: rows that are there twice are dropped,
    the rest is split with the same share of each class, and what the training rows say of each feature decides
    which are kept. Raises TerminalError ``not_trainable`` where nothing is left."""
    table = split.table
    rows = read_rows(MODELS.kept(table.data).decode())
    unique = {tuple(row.items()): place for place, row in enumerate(rows)}
    places = sorted(unique.values())
    with learning():
        from sklearn.model_selection import train_test_split

        try:
            train, holdout = train_test_split(
                places,
                test_size=split.holdout,
                stratify=[rows[place][table.target] for place in places],
                random_state=split.seed,
            )
            names, chosen = _selected(table, [rows[place] for place in train])
        except ValueError as error:
            raise TerminalError("not_trainable", f"these data cannot be split and prepared: {error}") from error
    if not chosen:
        raise TerminalError("not_trainable", "no feature has anything to do with the target")
    return {
        "split": MODELS.keep(
            "split", ".json", json.dumps({"train": sorted(train), "holdout": sorted(holdout)}).encode()
        ),
        "kept": chosen,
        "dropped": [name for name in names if name not in chosen],
        "train": len(train),
        "holdout": len(holdout),
        "duplicates": len(rows) - len(places),
    }


@activity.defn
@cpu
def train_model(training: Training) -> dict[str, object]:
    """``{algorithm, score, params, trials, model: {path, sha256}}``: the best settings that a Bayesian search found by
    F1 over stratified folds, and a model trained with them. Trials that a lost worker has finished are not repeated.
    Raises TerminalError ``not_trainable``."""
    x, y = _matrix(training.table, training.split, "train")
    with learning():
        import joblib

        try:
            best = _search(training, x, y)
            model = pipeline(training.algorithm, _kinds(training.table), best["params"], training.seed).fit(x, y)
        except ValueError as error:
            raise TerminalError(
                "not_trainable", f"{training.algorithm} cannot learn from these rows: {error}"
            ) from error
        file = io.BytesIO()
        bundle = {"pipeline": model, "schema": training.table.schema, "algorithm": training.algorithm}
        joblib.dump(bundle, file)
    return {
        "algorithm": training.algorithm,
        **best,
        "model": MODELS.keep(training.algorithm, ".joblib", file.getvalue()),
    }


@activity.defn
@cpu
def evaluate_models(evaluation: Evaluation) -> dict[str, object]:
    """``{best, metrics, all, meets, because, probe}``. The best is the one with the highest score in its search; the
    holdout only judges it, for a model chosen by the holdout would look better than it is. ``probe`` holds rows of the
    holdout and the model's answers. Raises TerminalError ``no_model`` where no algorithm brought one."""
    candidates = [candidate for candidate in evaluation.candidates if candidate is not None]
    if not candidates:
        raise TerminalError("no_model", "no algorithm brought a model; their steps say why")
    x, y = _matrix(evaluation.table, evaluation.split, "holdout")
    best = max(candidates, key=lambda candidate: candidate.score)
    answers = {candidate.algorithm: _answers(candidate, x) for candidate in candidates}
    metrics = {algorithm: _metrics(y, told) for algorithm, told in answers.items()}
    own, asked = metrics[best.algorithm], evaluation.requirements
    wanted = {"accuracy": asked.accuracy, "precision": asked.precision}
    because = [
        f"{name} is {own[name]:.3f} and has to be {least}" for name, least in wanted.items() if own[name] < least
    ]
    rows = _rows(evaluation.table, evaluation.split, "holdout")[:PROBES]
    return {
        "best": {
            "algorithm": best.algorithm,
            "score": best.score,
            "params": best.params,
            "model": {"path": best.model.path, "sha256": best.model.sha256},
        },
        "metrics": own,
        "all": metrics,
        "meets": not because,
        "because": because,
        "probe": {
            "rows": [{column: row[column] for column in evaluation.table.schema} for row in rows],
            "answers": answers[best.algorithm][: len(rows)],
        },
    }


def _search(training: Training, x: Any, y: list[int]) -> dict[str, Any]:
    """Ask for settings, try them, tell how good they were; every trial is written down before the next one."""
    import optuna
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    step, search = current_step(), training.search
    asked = hashlib.sha256(f"{step.idempotency_key} {training}".encode()).hexdigest()
    log = MODELS.folder / "searches" / f"{asked[:24]}.json"
    space = search_space(training.algorithm)
    done = _done(log)
    study = optuna.create_study(
        # Another seed after a crash: the same one would ask for the first settings again.
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=training.seed + len(done)),
    )
    for params, score in done:
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=score))
    folds = StratifiedKFold(search.folds, shuffle=True, random_state=training.seed)
    while len(done) < search.trials:
        trial = study.ask(space)
        model = pipeline(training.algorithm, _kinds(training.table), trial.params, training.seed)
        score = float(cross_val_score(model, x, y, cv=folds, scoring="f1", error_score="raise").mean())
        study.tell(trial, score)
        done.append((trial.params, score))
        replace(log, json.dumps(done).encode())
        step.report({"trial": len(done), "of": search.trials, "best": round(study.best_value, 4)})
    return {"score": round(study.best_value, 4), "params": study.best_params, "trials": len(done)}


def _done(log: Any) -> list[tuple[dict[str, Any], float]]:
    try:
        return [(params, score) for params, score in json.loads(log.read_text())]
    except FileNotFoundError:
        return []


def _selected(table: Table, rows: list[dict[str, str]]) -> tuple[list[str], list[str]]:
    """The names of all prepared features, and of those that are selected."""
    prepared = pipeline("random_forest", _kinds(table), {}, 0)
    x = _array([features(row, table.schema) for row in rows])
    prepare, select = prepared.named_steps["prepare"], prepared.named_steps["select"]
    select.fit(prepare.fit_transform(x), [int(row[table.target]) for row in rows])
    columns = list(feature_kinds(table.schema))
    names = [_named(str(name), columns) for name in prepare.get_feature_names_out()]
    return names, [name for name, chosen in zip(names, select.get_support(), strict=True) if chosen]


def _named(feature: str, columns: list[str]) -> str:
    """``clinic=north`` for what scikit-learn calls ``words__x30_north``."""
    column, _, value = feature.partition("__x")[2].partition("_")
    name = columns[int(column)]
    return f"{name}={value}" if value else name


def _matrix(table: Table, split: Kept, part: str) -> tuple[Any, list[int]]:
    rows = _rows(table, split, part)
    with learning():
        return _array([features(row, table.schema) for row in rows]), [int(row[table.target]) for row in rows]


def _rows(table: Table, split: Kept, part: str) -> list[dict[str, str]]:
    rows = read_rows(MODELS.kept(table.data).decode())
    return [rows[place] for place in json.loads(MODELS.kept(split))[part]]


def _array(values: list[list[Any]]) -> Any:
    import numpy

    return numpy.array(values, dtype=object)


def _kinds(table: Table) -> list[str]:
    return list(feature_kinds(table.schema).values())


def _answers(candidate: Candidate, x: Any) -> list[int]:
    content = MODELS.kept(candidate.model)
    with learning():
        import joblib

        return [int(answer) for answer in joblib.load(io.BytesIO(content))["pipeline"].predict(x)]


def _metrics(y: list[int], answers: list[int]) -> dict[str, float]:
    with learning():
        from sklearn import metrics

        found = {
            "accuracy": metrics.accuracy_score(y, answers),
            "precision": metrics.precision_score(y, answers, zero_division=0),
            "recall": metrics.recall_score(y, answers, zero_division=0),
            "f1": metrics.f1_score(y, answers, zero_division=0),
        }
    return {name: round(float(value), 4) for name, value in found.items()}
