"""Functions of the `ml-training` flow: a model is deployed by a pointer that the model server reads.

Nothing is started and nothing has to be stopped: one server (workflows/ml/server.py) serves every model, and the
pointer is replaced as a whole. So a worker may be killed at any instant, and a step that is repeated changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _files import Kept, replace
from _ml_files import MODELS
from temporalio import activity

from orchestrator.errors import TerminalError

Json = Any


@dataclass(frozen=True)
class Deployment:
    """Which model answers under a name, and what is known of it."""

    name: str
    model: Kept
    metrics: dict[str, float]
    run: str
    at: str


@dataclass(frozen=True)
class Withdrawal:
    """The model that is to answer no longer."""

    name: str
    model: Kept


@activity.defn
def deploy_model(deployment: Deployment) -> dict[str, object]:
    """``{name, model, replaced}``: point the name at the model, and keep what it pointed at for `withdraw_model`.
    Raises TerminalError ``file_changed`` where the model is not what was trained."""
    MODELS.kept(deployment.model)
    pointer = _pointer(deployment.name)
    current = _read(pointer)
    if current is None or current["model"] != asdict(deployment.model):
        before = None if current is None else {name: value for name, value in current.items() if name != "before"}
        replace(pointer, json.dumps(asdict(deployment) | {"before": before}, indent=2).encode())
        current = {"before": before}
    before = current["before"]
    return {
        "name": deployment.name,
        "model": asdict(deployment.model),
        "replaced": None if before is None else before["model"],
    }


@activity.defn
def withdraw_model(withdrawal: Withdrawal) -> dict[str, object]:
    """``{withdrawn, serving}``: point the name at the model before this one, or at none. Another model that has been
    deployed since stays."""
    pointer = _pointer(withdrawal.name)
    current = _read(pointer)
    if current is None or current["model"] != asdict(withdrawal.model):
        return {"withdrawn": False, "serving": None if current is None else current["model"]}
    before = current["before"]
    if before is None:
        pointer.unlink(missing_ok=True)
    else:
        replace(pointer, json.dumps(before | {"before": None}, indent=2).encode())
    return {"withdrawn": True, "serving": None if before is None else before["model"]}


def _pointer(name: str) -> Path:
    folder = (MODELS.folder / "deployed").resolve()
    path = folder / f"{name}.json"
    if path.parent != folder:
        raise TerminalError("path_refused", f"'{name}' is no name of a model")
    return path


def _read(pointer: Path) -> Json:
    try:
        return json.loads(pointer.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
