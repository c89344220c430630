"""The examples of docs/control-flow.md give what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine.harness import Workbench

from orchestrator import admission

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.mark.parametrize(
    ("example", "output"),
    [
        ("first-answer", "near"),
        ("countdown", "3 passes"),
        ("quote", "about 10, because nobody answers"),
        ("book-trip", "sold_out"),
        ("await-payment", True),
        ("playbook", {"look": 3, "double": 6}),
    ],
)
async def test_an_example_gives_what_the_page_says(workbench: Workbench, example: str, output: Any) -> None:
    assert await workbench.run((EXAMPLES / f"{example}.yaml").read_text(encoding="utf-8")) == output


async def test_the_example_of_a_loop_keeps_the_order_and_the_errors(workbench: Workbench) -> None:
    result = await workbench.run((EXAMPLES / "check-addresses.yaml").read_text(encoding="utf-8"))
    assert result["good"] == ["ada@example.com", None, "kim@example.com"]
    [bad] = result["bad"]
    assert (bad["index"], bad["item"], bad["error"]["type"]) == (1, "nobody", "bad_address")


async def test_the_example_of_a_sub_flow_greets_both(workbench: Workbench) -> None:
    child = """
id: hello
inputs: {name: string, language: {type: string, default: en}}
steps: [{type: transform, config: {value: {text: "{{ inputs.language }} {{ inputs.name }}"}}}]
"""
    await admission.publish_text(workbench.store, workbench.project, child)
    result = await workbench.run((EXAMPLES / "greet-both.yaml").read_text(encoding="utf-8"))
    assert result == "en Ada ko Kim"
