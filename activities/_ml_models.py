"""The algorithms of the `ml-training` flow: what each searches through, and the whole pipeline from a row's features to
its class. Everything here needs scikit-learn, so it is imported where it is used."""

from __future__ import annotations

from typing import Any, Literal

Algorithm = Literal["random_forest", "gradient_boosting", "neural_network"]

FALSE_DISCOVERIES = 0.05
"""Share of the selected features that may have nothing to do with the target."""


def search_space(algorithm: Algorithm) -> dict[str, Any]:
    """Hyper-parameters and their ranges, as optuna takes them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if algorithm == "random_forest":
        return {
            "n_estimators": IntDistribution(20, 120),
            "max_depth": IntDistribution(3, 12),
            "min_samples_leaf": IntDistribution(1, 8),
        }
    if algorithm == "gradient_boosting":
        return {
            "max_iter": IntDistribution(30, 120),
            "learning_rate": FloatDistribution(0.03, 0.3, log=True),
            "max_leaf_nodes": IntDistribution(5, 31),
        }
    return {
        "width": CategoricalDistribution([8, 16, 32]),
        "alpha": FloatDistribution(1e-5, 1e-1, log=True),
        "learning_rate_init": FloatDistribution(1e-3, 3e-2, log=True),
    }


def pipeline(algorithm: Algorithm, kinds: list[str], params: dict[str, Any], seed: int) -> Any:
    """Fill, scale, encode, select, classify: one object, so that each fold learns all of it from its own rows alone."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_selection import SelectFdr, f_classif
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [place for place, kind in enumerate(kinds) if kind == "number"]
    words = [place for place, kind in enumerate(kinds) if kind == "category"]
    scaled = Pipeline([("fill", SimpleImputer(keep_empty_features=True)), ("scale", StandardScaler())])
    encoded = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return Pipeline(
        [
            ("prepare", ColumnTransformer([("numbers", scaled, numbers), ("words", encoded, words)])),
            ("select", SelectFdr(f_classif, alpha=FALSE_DISCOVERIES)),
            ("model", _classifier(algorithm, params, seed)),
        ]
    )


def _classifier(algorithm: Algorithm, params: dict[str, Any], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.neural_network import MLPClassifier

    if algorithm == "random_forest":
        return RandomForestClassifier(**params, class_weight="balanced", n_jobs=1, random_state=seed)
    if algorithm == "gradient_boosting":
        return HistGradientBoostingClassifier(**params, random_state=seed)
    others = {name: value for name, value in params.items() if name != "width"}
    layers = (params.get("width", 16),)
    return MLPClassifier(layers, **others, max_iter=300, early_stopping=True, random_state=seed)
