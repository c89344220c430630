"""The keys of a test file. Unknown ones are refused, with their place, when the file is loaded."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from orchestrator.spec.base import Duration, Spec

Json = Any

STATUSES = Literal["completed", "failed", "cancelled", "timed_out", "not_started"]
ACTIONS = ("decide", "event", "signal", "callback", "cancel", "pause", "resume")
"""What an entry of ``events`` can be; one of them."""
WALL_CLOCK = 20.0
"""Seconds a case may take by the clock on the wall."""


class MockError(Spec):
    """How a mocked attempt fails. What is left out follows from the type, as it would for the real step."""

    type: str = Field(min_length=1)
    message: str = "the test says so"
    status: int | None = None
    retryable: bool | None = None
    retry_after: Duration | None = None
    data: Json = None


class Usage(Spec):
    """What an attempt is said to have used, as ``steps.x.usage`` shows it."""

    cost: float | None = Field(default=None, strict=False)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


class Answer(Spec):
    """What one attempt of a mocked step does."""

    output: Json = None
    error: str | MockError | None = None
    delay: Duration = 0.0
    usage: Usage | None = None

    @model_validator(mode="after")
    def _one(self) -> Answer:
        if self.error is not None and "output" in self.model_fields_set:
            raise ValueError("an answer has `output` or `error`, not both")
        return self

    @property
    def failure(self) -> MockError | None:
        """The error as a whole, also where only its type was written."""
        return MockError(type=self.error) if isinstance(self.error, str) else self.error


class Occurrence(Spec):
    """Something that happens to the run from outside."""

    decide: str | None = None
    decision: str | None = None
    comment: str | None = None
    by: str | None = None
    event: str | None = None
    source: str | None = None
    subject: str | None = None
    id: str | None = None
    signal: str | None = None
    callback: str | None = None
    error: MockError | None = None
    cancel: Literal[True] | None = None
    pause: Literal[True] | None = None
    resume: Literal[True] | None = None
    data: Json = None
    on: str | None = None
    after: Duration | None = None

    @model_validator(mode="after")
    def _one(self) -> Occurrence:
        given = [name for name in ACTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            named = ", ".join(f"`{name}`" for name in ACTIONS)
            raise ValueError(f"an event is exactly one of {named}")
        allowed = {"on", "after", given[0], *_MEMBERS.get(given[0], ())}
        wrong = sorted(self.model_fields_set - allowed)
        if wrong:
            raise ValueError(f"`{wrong[0]}` says nothing about `{given[0]}`")
        if given[0] == "decide" and self.decision is None:
            raise ValueError("`decision` is missing: which of the task's decisions is taken")
        return self

    @property
    def action(self) -> str:
        """Which of ``ACTIONS`` it is."""
        return next(name for name in ACTIONS if getattr(self, name) is not None)


_MEMBERS = {
    "decide": ("decision", "data", "comment", "by"),
    "event": ("data", "source", "subject", "id"),
    "signal": ("data",),
    "callback": ("data", "error"),
}


class Between(Spec):
    """A number with bounds."""

    at_least: float | None = Field(default=None, strict=False)
    at_most: float | None = Field(default=None, strict=False)


class Lasting(Spec):
    """A length of time with bounds."""

    at_least: Duration | None = None
    at_most: Duration | None = None


class ErrorWanted(Spec):
    """What is expected of the run's error: its type, a part of its message, the step it comes from."""

    type: str | None = None
    message: str | None = None
    step: str | None = None
    data: Json = None
    status: int | None = None


class Expect(Spec):
    """What must be true when the run is over. What is left out is not looked at."""

    status: STATUSES = "completed"
    output: Json = None
    output_has: Json = None
    error: ErrorWanted | None = None
    ran: list[str] = Field(default=[])
    skipped: list[str] = Field(default=[])
    not_reached: list[str] = Field(default=[])
    failed: list[str] = Field(default=[])
    compensated: list[str] | None = None
    order: list[str] = Field(default=[])
    calls: dict[str, int] = Field(default={})
    called_with: dict[str, Json] = Field(default={})
    vars: dict[str, Json] = Field(default={})
    warnings: list[str] | None = None
    duration: Lasting | Duration | None = None
    cost: Between | float | int | None = None


class Start(Spec):
    """A start through a declared trigger, as its door would make it. Which members apply depends on ``type``."""

    type: Literal["webhook", "schedule", "event", "file", "queue", "api"]
    id: str | None = None
    body: Json = None
    method: str | None = None
    headers: dict[str, Json] | None = None
    query: dict[str, Json] | None = None
    params: dict[str, Json] | None = None
    scheduled_time: str | None = None
    event: dict[str, Json] | None = None
    events: list[dict[str, Json]] | None = None
    file: dict[str, Json] | None = None
    files: Json = None
    message_id: str | None = None
    by: str | None = None
    ip: str | None = None
    path: str | None = None
    delivery_id: str | None = None
    time: str | None = None


Answers = Answer | list[Answer]


class Defaults(Spec):
    """What every case starts from."""

    inputs: dict[str, Json] = Field(default={})
    env: dict[str, Json] = Field(default={})
    mocks: dict[str, Answers] = Field(default={})
    real: list[str] = Field(default=[])
    timeout: Duration | None = None


class Case(Defaults):
    """One case."""

    name: str = Field(min_length=1)
    inputs: dict[str, Json] | None = None  # type: ignore[assignment] # left out: the defaults' alone
    trigger: Start | None = None
    events: list[Occurrence] = Field(default=[])
    expect: Expect = Expect()


class Suite(Spec):
    """A whole file."""

    flow: str | None = None
    defaults: Defaults = Defaults()
    cases: list[Case] = Field(min_length=1)
