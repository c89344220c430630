"""The local activity behind ``run-steps``: computed steps are checked like a file before any of them runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from orchestrator.spec.call import PREPARE_STEPS
from orchestrator.spec.computed import StepsInvalid, prepare
from orchestrator.spec.definition import definition_from_json, definition_to_json

Json = Any


def prepare_activity() -> Callable[..., Any]:
    """The activity. It takes the computed steps, the allowed types, their most, and ``{"definition", "visible",
    "step"?}``: the flow that runs them, the steps of it they may name, and the id of the ``run-steps`` step. It answers
    ``{"definition"}``: the steps in a definition of their own."""

    @activity.defn(name=PREPARE_STEPS)
    async def prepare_steps(steps: Json, allow: list[str], max_steps: int, context: dict[str, Json]) -> dict[str, Json]:
        # Reading takes up to a second for the largest texts; heartbeats of other steps must not wait for it.
        return await asyncio.to_thread(_prepared, steps, allow, max_steps, context)

    return prepare_steps


def _prepared(steps: Json, allow: list[str], max_steps: int, context: dict[str, Json]) -> dict[str, Json]:
    definition = definition_from_json(context["definition"])
    try:
        prepared = prepare(steps, allow, max_steps, definition, context["visible"], context.get("step"))
    except StepsInvalid as error:
        # What was computed is as wrong in a minute as now.
        raise ApplicationError(str(error), type=error.code, non_retryable=True) from error
    return {"definition": definition_to_json(prepared)}
