"""Where training keeps its files: one folder for each run below ``models`` in the state folder, known by their hash."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import TerminalError
from orchestrator.steps.attempt import current_step

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
_LIBRARIES = ("sklearn", "optuna", "joblib", "numpy", "threadpoolctl")


@dataclass(frozen=True)
class Kept:
    """A file that an earlier step wrote: its path below the models folder, and what was in it."""

    path: str
    sha256: str


def models_folder() -> Path:
    """The folder of all models and of the pointers to those that are deployed."""
    return current_step().settings.state / "models"


def keep(stem: str, suffix: str, content: bytes) -> dict[str, str]:
    """Write a file of this run: ``{path, sha256}``. It is named by its content, so that an attempt that is repeated, or
    one that goes on although its worker was taken for lost, never changes what another step was told of."""
    digest = hashlib.sha256(content).hexdigest()
    path = models_folder() / _run_folder() / f"{stem}-{digest[:12]}{suffix}"
    replace(path, content)
    return {"path": str(path.relative_to(models_folder())), "sha256": digest}


def kept(file: Kept) -> bytes:
    """The content of a file that a step of this flow wrote. Raises TerminalError ``file_changed`` where it is gone or
    is not what the step wrote: such a file is never loaded."""
    root = models_folder().resolve()
    path = (root / file.path).resolve()
    if not path.is_relative_to(root):
        raise TerminalError("file_changed", f"'{file.path}' is outside the folder of models, {root}")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise TerminalError("file_changed", f"'{path}' is gone; start a new run") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise TerminalError("file_changed", f"'{path}' is not what this flow wrote there; start a new run")
    return content


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole: whoever reads it sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)


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


def _run_folder() -> str:
    run = current_step().run_id
    if _PLAIN.fullmatch(run):
        return run
    return f"run-{hashlib.sha256(run.encode()).hexdigest()[:24]}"
