"""One tree of errors. Every message says what happened, where, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class OrchestratorError(Exception):
    """Anything a user can meet. ``str(error)`` is the whole message; ``code`` is stable for scripts and HTTP."""

    code = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a file: position is 1-based; ``hint`` says what to do."""

    message: str
    file: str = "<flow>"
    line: int = 1
    column: int = 1
    hint: str | None = None
    severity: str = "error"

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


class FlowInvalid(OrchestratorError):
    """The flow or project file cannot be used; ``problems`` lists every finding with its position."""

    code = "flow_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SettingsInvalid(OrchestratorError):
    """A setting in the environment cannot be used as it is."""

    code = "settings_invalid"


class Unavailable(OrchestratorError):
    """Something this process needs (Temporal, the store, a port) cannot be reached or had."""

    code = "unavailable"


class NotFound(OrchestratorError):
    """The named flow, version, run, task or trigger does not exist."""

    code = "not_found"


class Conflict(OrchestratorError):
    """The request contradicts what is already there: a version with other content, a decided task, a finished run."""

    code = "conflict"


class IdempotencyMismatch(Conflict):
    """An idempotency key was used before with another body."""

    code = "idempotency_mismatch"


class Refused(OrchestratorError):
    """The request is understood and not allowed, such as starting a disabled flow."""

    code = "refused"


class ConcurrencyLimit(OrchestratorError):
    """As many runs of the flow go on as it allows, and it does not queue."""

    code = "concurrency_limit"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field of an input: ``field`` is a dotted path such as ``customer.email``."""

    field: str
    message: str


class InputsInvalid(OrchestratorError):
    """Inputs that do not match what the flow declares; ``problems`` names each field."""

    code = "invalid_inputs"

    def __init__(self, flow: str, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in self.problems)
        super().__init__(f"the inputs do not match what flow '{flow}' declares: {listed}")


class EventInvalid(OrchestratorError):
    """An event that is none, or whose data is not what ``events`` in orchestrator.yaml says; ``problems`` names each
    field."""

    code = "invalid_event"

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        listed = "; ".join(f"{problem.field}: {problem.message}" for problem in self.problems)
        super().__init__(f"nothing was accepted: {listed}")


class StepError(OrchestratorError):
    """A step attempt failed and may be retried.

    ``type`` is what ``on``/``catch`` filters name (``network_error``, ``rate_limit_exceeded``, ``http_502`` …);
    ``retry_after`` is in seconds, as the other side asked; ``data`` is any JSON the author may use.
    """

    code = "step_error"
    retryable = True

    def __init__(
        self,
        type: str,  # noqa: A002 - the word of the flow format
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        data: Any = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.data = data


class TerminalError(StepError):
    """A step attempt failed and trying again will not help, unless the author's ``retry.on`` names its type."""

    code = "terminal_error"
    retryable = False


class TooLarge(OrchestratorError):
    """A body, or a start as a whole, has more bytes than a run can be started with."""

    code = "payload_too_large"
