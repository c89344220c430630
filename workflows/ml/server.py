"""Answers with the models that `ml-training` has deployed.

    python workflows/ml/server.py            # port 8110, models in .orchestrator/models

A model is deployed by the pointer ``deployed/NAME.json``, which is read anew with every request: this process is
started once and never told anything. It loads a model only where its content is what the pointer says.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import joblib
import numpy
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi import Path as InPath
from pydantic import BaseModel, Field

# A row is read here as it was when the model was trained.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "activities"))
from _ml_rows import BadValue, features

Json = Any
Name = Annotated[str, InPath(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class Question(BaseModel):
    """Rows, each with the columns that the model was trained with."""

    rows: list[dict[str, Json]] = Field(min_length=1, max_length=1000)


class Models:
    """The deployed models of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._loaded: dict[str, Json] = {}
        """By name: the hash of the model, and the model."""

    def pointer(self, name: str) -> Json:
        """What is deployed under a name. Raises 404."""
        try:
            return json.loads((self._folder / "deployed" / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HTTPException(404, f"no model is deployed as '{name}'") from None

    def model(self, name: str) -> tuple[Json, Json]:
        """The pointer and the model it points at. Raises 404, and 503 where the file is not what was deployed."""
        pointer = self.pointer(name)
        wanted = pointer["model"]["sha256"]
        digest, model = self._loaded.get(name, (None, None))
        if digest != wanted:
            model = self._load(pointer["model"]["path"], wanted)
            self._loaded[name] = (wanted, model)
        return pointer, model

    def _load(self, path: str, wanted: str) -> Json:
        file = (self._folder / path).resolve()
        content = file.read_bytes() if file.is_relative_to(self._folder) and file.is_file() else b""
        if hashlib.sha256(content).hexdigest() != wanted:
            raise HTTPException(503, f"the file {path} is not the model that was deployed; deploy it again")
        return joblib.load(io.BytesIO(content))


def application(folder: Path) -> FastAPI:
    """The server of one folder of models."""
    app = FastAPI(title="Models", docs_url=None, redoc_url=None)
    models = Models(folder)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/models/{name}")
    def about(name: Name) -> Json:
        """What is deployed: model, metrics, run, time, and what it replaced."""
        return models.pointer(name)

    @app.post("/models/{name}/predict")
    def predict(name: Name, question: Question) -> Json:
        """A class and its probability for each row, and which model said so."""
        pointer, model = models.model(name)
        missing = [column for column in model["schema"] for row in question.rows if column not in row]
        if missing:
            raise HTTPException(422, f"a row has no '{missing[0]}'; where the value is not known, say null")
        try:
            values = [features(row, model["schema"]) for row in question.rows]
        except BadValue as error:
            raise HTTPException(422, str(error)) from error
        array = numpy.array(values, dtype=object)
        answers = model["pipeline"].predict(array)
        shares = model["pipeline"].predict_proba(array)[:, 1]
        return {
            "model": pointer["model"]["sha256"],
            "algorithm": model["algorithm"],
            "answers": [int(answer) for answer in answers],
            "probabilities": [round(float(share), 4) for share in shares],
        }

    return app


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Answers with the models that ml-training has deployed")
    parser.add_argument("--port", type=int, default=8110)
    parser.add_argument("--models", type=Path, default=Path(".orchestrator/models"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"models of {given.models} on http://127.0.0.1:{given.port}", flush=True)  # noqa: T201
    uvicorn.run(application(given.models), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
