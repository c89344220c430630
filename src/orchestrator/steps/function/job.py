"""What a worker and its processes say to each other. Imports little: every process does so when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.context import Json, StepContext


@dataclass(frozen=True, slots=True)
class Job:
    """One call, as it is sent to a process."""

    file: str
    function: str
    args: list[Json]
    step: dict[str, Any]
    """Members of the StepContext."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a function has got, said before its reply."""

    details: Json


@dataclass(frozen=True, slots=True)
class Reply:
    """What a process answers: the output as JSON or an error, and what the step used up."""

    output: Json = None
    error: dict[str, Any] | None = None
    """``terminal``, ``type``, ``message``, ``status``, ``retry_after``, ``data``."""
    usage: dict[str, Json] | None = None
    secrets: tuple[str, ...] = ()
    """Values the function was given and that must not get out."""

    def of(self, context: StepContext) -> Json:
        """The output, with what the step used up noted in ``context``. Raises the error, if there is one."""
        for value in self.secrets:
            context.secrets.remember(value)
        context.usage.update(self.usage or {})
        if self.error is None:
            return self.output
        told = dict(self.error)
        kind = TerminalError if told.pop("terminal") else StepError
        raise kind(told.pop("type"), told.pop("message"), **told)
