"""How a mocked step's attempts go: answers, delays, retries and time limits, as the step's own activity would have it,
in the run's own time.

All of it happens in the workflow: nothing is sent anywhere, and a delay is a timer that the test server skips.
"""

from __future__ import annotations

import json
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from orchestrator.errors import TerminalError
from orchestrator.expressions import fill_late
from orchestrator.flowtests.playing.play import Part
from orchestrator.spec.backoff import next_delay
from orchestrator.spec.call import StepCall
from orchestrator.spec.flowtests.cases import Mock
from orchestrator.spec.flowtests.model import Answer, MockError
from orchestrator.spec.inputs import check_json
from orchestrator.steps.registry import step_types, validate_config

Json = Any

_TRANSIENT = frozenset({408, 429, 502, 503, 504, 529})
_STATUS = {"rate_limit_exceeded": 429, "temporary_service_unavailable": 503}
_RETRYABLE = frozenset({"network_error", "timeout", "worker_lost", "invalid_output", *_STATUS})
"""Types whose errors are worth another attempt where the mock does not say."""
_UNCHECKED = frozenset({"function", "flow", "agent", "human-task", "wait-for-event"})
"""Types whose rendered config is checked elsewhere, or is no activity's."""
OWN_ERROR = "test_failed"
"""The type of an error that only a test can cause."""


def config_of(call: StepCall, args: list[Json], handler: str) -> Json:
    """The step's rendered config. Secrets stand there by name; what else is known late, by value."""
    filled = fill_late(args, call.late, lambda name: _late(name, call)) if call.late else args
    if call.type == "function":
        return {"handler": handler, "params": filled[0]} if len(filled) == 1 else {"handler": handler, "args": filled}
    return filled[0] if filled else None


def _late(name: str, call: StepCall) -> Json:
    if name == "step.idempotency_key":
        return call.key
    if name == "step.attempt":
        return 1
    if name.startswith("callback."):
        return f"http://localhost/v1/callbacks/{name.removeprefix('callback.').removesuffix('.url')}"
    return f"{{{{ {name} }}}}"


class Attempts:
    """One scheduled step, attempt by attempt."""

    def __init__(self, part: Part, call: StepCall, mock: Mock, config: Json, total: float | None) -> None:
        self._part = part
        self._call = call
        self._mock = mock
        self._config = config
        self._total = total
        self._usage: dict[str, Json] = {}

    async def result(self) -> dict[str, Json]:
        """What the activity would return. Raises ActivityError as Temporal would."""
        self._check_config()
        begun = workflow.now()
        attempt = 0
        while True:
            attempt += 1
            self._part.called(self._call, self._config, attempt)
            answer = self._next()
            left = self._left(begun)
            failure = await self._delayed(answer, left)
            if answer.usage is not None:
                self._use(answer.usage.model_dump(exclude_none=True))
            failure = failure or answer.failure
            if failure is None:
                self._check_output(answer.output)
                used = {"usage": self._usage} if self._usage else {}
                return {"output": json.loads(json.dumps(answer.output)), "attempts": attempt, **used}
            record = error_of(failure, attempt) | ({"usage": self._usage} if self._usage else {})
            delay = next_delay(
                self._call.retry,
                record,
                attempt,
                retry_after=failure.retry_after,
                seconds_left=self._left(begun),
                chance=0.0,
            )
            if delay is None:
                raise failed(self._call, record)
            await workflow.sleep(delay, summary=f"{self._call.path}: before attempt {attempt + 1}")

    def _next(self) -> Answer:
        answer = self._part.answer(self._mock)
        if answer is not None:
            return answer
        count = len(self._mock.answers)
        message = (
            f"step '{self._call.path}' was called once more than the {count} answers of its mock: add another, or "
            "write one answer without a list, which is given every time"
        )
        self._part.blame(message, self._mock.where)
        raise failed(self._call, _own(message))

    def _left(self, begun: Any) -> float | None:
        return None if self._total is None else self._total - (workflow.now() - begun).total_seconds()

    async def _delayed(self, answer: Answer, left: float | None) -> MockError | None:
        """Wait as long as the answer says; a time limit that passes first is the attempt's failure."""
        limit = self._call.attempt_timeout
        bound = min([one for one in (limit, left) if one is not None], default=None)
        if bound is None or answer.delay < bound:
            if answer.delay:
                await workflow.sleep(answer.delay, summary=f"{self._call.path}: the mock's delay")
            return None
        await workflow.sleep(bound, summary=f"{self._call.path}: until its time limit")
        if bound == left:
            return MockError(
                type="step_timeout", message=f"the step took longer than its total timeout of {self._total:g}s"
            )
        return MockError(type="timeout", message=f"the attempt took longer than its timeout of {limit:g}s")

    def _use(self, usage: dict[str, Json]) -> None:
        for name, number in usage.items():
            self._usage[name] = self._usage.get(name, 0) + number

    def _check_config(self) -> None:
        """As the step's activity does before it does anything."""
        kind = step_types().get(self._call.type)
        if kind is None or self._call.type in _UNCHECKED:
            return
        message = None
        try:
            validate_config(kind.config, self._config, self._call.source)
        except TerminalError as error:
            message = error.message
        if message is not None:
            # Outside the handler: the failure has a cause of its own.
            raise failed(self._call, error_of(MockError(type="invalid_config", message=message), 1))

    def _check_output(self, output: Json) -> None:
        """A mock that answers what the step never could tests nothing."""
        if self._call.output_schema is None:
            return
        problems = check_json(self._call.output_schema, output)
        if problems:
            listed = "; ".join(f"{problem.field or 'output'}: {problem.message}" for problem in problems[:5])
            message = f"the mocked output of '{self._call.path}' does not match its output_schema: {listed}"
            self._part.blame(message, self._mock.where)
            raise failed(self._call, _own(message))


def error_of(failure: MockError, attempt: int) -> dict[str, Json]:
    """The error's record as the step's activity would tell it."""
    status = failure.status
    if status is None:
        status = _STATUS.get(failure.type)
    if status is None and failure.type.startswith("http_") and failure.type[5:].isdigit():
        status = int(failure.type[5:])
    retryable = failure.retryable
    if retryable is None:
        retryable = failure.type in _RETRYABLE or status in _TRANSIENT
    record: dict[str, Json] = {
        "orchestrator": 1,
        "type": failure.type,
        "message": failure.message,
        "attempts": attempt,
        "retryable": retryable,
    }
    if status is not None:
        record["status"] = status
    if failure.data is not None:
        record["data"] = failure.data
    return record


def _own(message: str) -> dict[str, Json]:
    return error_of(MockError(type=OWN_ERROR, message=message), 1)


def failed(call: StepCall, record: dict[str, Json]) -> ActivityError:
    """A step's last failure, as Temporal hands it to the run."""
    error = ActivityError(
        str(record["message"]),
        scheduled_event_id=0,
        started_event_id=0,
        identity="a test",
        activity_type=call.type,
        activity_id=call.path,
        retry_state=None,
    )
    error.__cause__ = ApplicationError(str(record["message"]), record, type=str(record["type"]), non_retryable=True)
    return error


def unanswered(part: Part, call: StepCall) -> ActivityError:
    """The run reached a step that the case says nothing about."""
    message = (
        f"step '{call.path}' ({call.type}, {call.source}) is neither mocked nor real: add "
        f"`{call.step}: {{output: …}}` to the case's `mocks`, or `{call.step}` to `real`"
    )
    part.blame(message, part.case.where())
    return failed(call, _own(message))
