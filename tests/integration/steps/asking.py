"""The claude step against a stand-in, as the tests of the step ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from orchestrator.spec.acts.claude import ClaudeConfig
from orchestrator.steps.claude import step
from orchestrator.steps.context import StepContext
from orchestrator.testing import ClaudeStandIn

MakeContext = Callable[..., StepContext]


@pytest.fixture
async def claude() -> AsyncIterator[ClaudeStandIn]:
    async with ClaudeStandIn() as server:
        yield server


class Ask:
    """Runs the step as the worker would; keeps the context of the last attempt."""

    def __init__(self, claude: ClaudeStandIn, make_context: MakeContext) -> None:
        self._claude = claude
        self._make = make_context
        self.context: StepContext

    async def __call__(self, config: dict[str, Any] | None = None, **fields: Any) -> Any:
        settings = {"anthropic_api_key": "sk-test-key", "anthropic_base_url": self._claude.base_url}
        self.context = self._make(settings=settings | fields.pop("settings", {}), **fields)
        return await step.run(ClaudeConfig.model_validate({"prompt": "Hi"} | (config or {})), self.context)

    @property
    def usage(self) -> dict[str, Any]:
        return self.context.usage


@pytest.fixture
def ask(claude: ClaudeStandIn, make_context: MakeContext) -> Ask:
    return Ask(claude, make_context)
