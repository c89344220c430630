"""Inputs of a run as they are given on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.cli.console import InputUnusable

Json = Any


def read_inputs(path: Path | None, given: Iterable[str]) -> dict[str, Json]:
    """Inputs of a file, then of the command line; what was given there stays text until the declared type is known.
    Raises InputUnusable."""
    inputs: dict[str, Json] = {}
    if path is not None:
        try:
            inputs = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputUnusable(f"--inputs-file {path} cannot be read as JSON: {error}") from error
        if not isinstance(inputs, dict):
            raise InputUnusable(f"--inputs-file {path} must hold a JSON object, one member per input")
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputUnusable(f"--input {pair!r} has no value: write --input name=value")
        inputs[name] = Text(value)
    return inputs


class Text(str):
    """An input given as text on the command line."""


def typed(inputs: dict[str, Json], schema: dict[str, Json]) -> dict[str, Json]:
    """The inputs with text from the command line turned into JSON, unless the flow declares text there."""
    declared: dict[str, Json] = schema.get("properties", {})
    return {
        name: _typed(value, declared.get(name, {})) if isinstance(value, Text) else value
        for name, value in inputs.items()
    }


def _typed(value: str, schema: Json) -> Json:
    declared = schema if isinstance(schema, dict) else {}
    choices = declared.get("enum")
    if declared.get("type") == "string" or (choices and all(isinstance(choice, str) for choice in choices)):
        return str(value)
    try:
        return json.loads(value)
    except ValueError:
        return str(value)
