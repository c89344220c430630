"""Config of ``function`` steps: a Python function of the project's ``activities/`` folder."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from orchestrator.spec.base import ActConfig, act


@act("function")
class FunctionConfig(ActConfig):
    """A call of a user's function; the output is what it returns."""

    handler: str
    """The activity's name; ``assessRisk`` and ``assess_risk`` name the same function."""
    params: dict[str, Any] | None = None
    """Passed as one argument."""
    args: list[Any] | None = None
    """Passed as positional arguments."""
    task_queue: str | None = None
    """Where a worker of another program runs it; default: this project's workers."""

    @model_validator(mode="after")
    def _one_way(self) -> FunctionConfig:
        if self.params is not None and self.args is not None:
            raise ValueError("write 'params' (one argument) or 'args' (positional arguments), not both")
        return self

    @property
    def arguments(self) -> list[Any]:
        """The positional arguments of the call."""
        return [self.params] if self.params is not None else list(self.args or [])
