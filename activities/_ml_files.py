"""What every function of the `ml-training` flow needs: where models lie, and scikit-learn, which may be missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from _files import RunFiles

from orchestrator.errors import TerminalError

MODELS = RunFiles("models")
_LIBRARIES = ("sklearn", "optuna", "joblib", "numpy", "threadpoolctl")


@contextmanager
def learning() -> Iterator[None]:
    """Around everything that imports or calls scikit-learn and optuna: one thread, no warnings in the worker's log.
    Raises TerminalError ``library_missing`` that says what to install."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
            from threadpoolctl import threadpool_limits

            optuna.logging.set_verbosity(optuna.logging.ERROR)
            with threadpool_limits(1):
                yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise TerminalError(
            "library_missing",
            f"this step needs '{error.name}': run `pip install 'orchestrator[ml]'` where the worker runs, then retry",
        ) from error
