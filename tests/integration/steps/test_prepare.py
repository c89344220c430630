"""The local activity that checks computed steps: the engine gets nodes it can run, or one clear error."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from orchestrator.spec.definition import definition_from_json, definition_to_json
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project
from orchestrator.steps.runs.prepare import prepare_activity

FLOW = """\
id: f
steps:
  - {id: look, type: transform, config: {value: 1}}
  - {id: plan, type: run-steps, config: {steps: "{{ steps.look.output }}", allow: [transform]}}
"""


async def call(steps: Any, **context: Any) -> Any:
    definition = load_flow(FLOW, "f.yaml", Project()).definition
    given = {"definition": definition_to_json(definition), "visible": ["look"], "step": "plan"} | context
    return await ActivityEnvironment().run(prepare_activity(), steps, ["transform"], 2, given)


async def test_computed_steps_come_back_as_a_definition_the_engine_can_read() -> None:
    answer = await call("- {id: a, type: transform, config: {value: '{{ steps.look.output }}'}}")
    definition = definition_from_json(answer["definition"])
    assert [(node.id, node.config) for node in definition.steps] == [("a", {"value": "{{ steps.look.output }}"})]
    assert definition.flow == "f"


async def test_what_may_not_run_is_one_error_that_is_not_tried_again() -> None:
    with pytest.raises(ApplicationError) as caught:
        await call([{"id": "a", "type": "http"}, {"type": "transform"}])
    assert (caught.value.type, caught.value.non_retryable) == ("invalid_steps", True)
    assert "computed step `a`, `steps[0].type`: `http` is not allowed here" in caught.value.message
    assert "computed `steps[1]`: `value` is missing" in caught.value.message


async def test_only_visible_steps_can_be_named() -> None:
    with pytest.raises(ApplicationError, match="`look` of the flow is not over"):
        await call([{"type": "transform", "config": {"value": "{{ steps.look.output }}"}}], visible=[])
