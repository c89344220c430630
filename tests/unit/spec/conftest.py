"""Loading flows from text in tests."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import FlowInvalid
from orchestrator.spec.loading import LoadedFlow, load_flow
from orchestrator.spec.project import Project

Load = Callable[..., LoadedFlow]
Problems = Callable[..., list[str]]


def _load(text: str, **project: Any) -> LoadedFlow:
    return load_flow(textwrap.dedent(text), "flow.yaml", Project(**project))


def _problems(text: str, **project: Any) -> list[str]:
    try:
        _load(text, **project)
    except FlowInvalid as error:
        return [str(problem).removeprefix("flow.yaml:") for problem in error.problems]
    return []


@pytest.fixture
def load() -> Load:
    """Loads a flow that must be good."""
    return _load


@pytest.fixture
def problems() -> Problems:
    """The problems of a flow as ``line:column: message (hint)``; none if it is good."""
    return _problems
