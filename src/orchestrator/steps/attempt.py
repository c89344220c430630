"""The boundary every step attempt crosses: late names in, heartbeats while it runs, masking, schema, size and error
mapping on the way out. A worker interceptor, so that step types and users' functions, async or in threads, share it."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from orchestrator.errors import StepError, TerminalError
from orchestrator.expressions import fill_late
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.backoff import next_delay
from orchestrator.spec.call import HEADER, StepCall, decode_call
from orchestrator.spec.inputs import check_json
from orchestrator.spec.project import Project
from orchestrator.steps.context import Resources, StepContext

Json = Any
LARGEST_RESULT = 1_900_000
"""Bytes of a step's result; Temporal refuses a single payload over 2 MB."""

_CONTEXT: ContextVar[StepContext] = ContextVar("orchestrator_step_context")


def current_step() -> StepContext:
    """The attempt that is running here: for functions that want the idempotency key, secrets or the logger.
    Raises LookupError outside a step."""
    return _CONTEXT.get()


class StepInterceptor(Interceptor):
    """Wraps every activity that carries a StepCall."""

    def __init__(self, settings: Settings, project: Callable[[], Project], resources: Resources) -> None:
        self._settings = settings
        self._project = project
        self._resources = resources

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """The boundary around one attempt."""
        return _Attempt(next, self._context)

    def _context(self, call: StepCall) -> StepContext:
        info = activity.info()
        return StepContext(
            path=call.path,
            step_id=call.step,
            step_type=call.type,
            source=call.source,
            flow=info.workflow_type or "",
            version=call.version,
            run_id=info.workflow_id or "",
            root_id=call.root,
            attempt=info.attempt,
            idempotency_key=call.key,
            settings=self._settings,
            project=self._project(),
            secrets=Secrets(self._settings.secrets),
            resources=self._resources,
            bindings=call.bindings,
            output_schema=call.output_schema,
        )


class _Attempt(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, context: Callable[[StepCall], StepContext]) -> None:  # noqa: A002
        super().__init__(next)
        self._make_context = context
        self._outbound: _Outbound | None = None

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._outbound = _Outbound(outbound)
        super().init(self._outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        payload = input.headers.get(HEADER)
        if payload is None:
            return await self.next.execute_activity(input)
        call = decode_call(payload.data)
        context = self._make_context(call)
        _CONTEXT.set(context)
        beats = _Heartbeats(self._outbound)
        try:
            return _result(call, context, await self._run(input, call, context))
        except StepError as error:
            raise _failure(call, context, error) from None
        except ApplicationError as error:
            raise _failure(call, context, _from_application(error)) from None
        except Exception as error:
            context.logger.warning("step %s of run %s raised", call.path, context.run_id, exc_info=True)
            raise _failure(call, context, StepError(type(error).__name__, str(error) or repr(error))) from None
        finally:
            beats.stop()

    async def _run(self, input: ExecuteActivityInput, call: StepCall, context: StepContext) -> Any:  # noqa: A002
        """The step itself within its own timeout, which is enforced here so that attempts are counted as the author
        wrote them."""
        if call.late:
            input.args = fill_late(list(input.args), call.late, functools.partial(_late_value, context))
        try:
            async with asyncio.timeout(call.attempt_timeout) as bound:
                return await self.next.execute_activity(input)
        except TimeoutError as error:
            if not bound.expired():
                raise StepError("timeout", str(error) or "something the step waited for timed out") from error
            raise StepError(
                "timeout", f"the attempt took longer than its timeout of {call.attempt_timeout:g}s"
            ) from error


class _Heartbeats:
    """Signs of life of the current attempt, every third of its heartbeat timeout, until stopped."""

    def __init__(self, outbound: _Outbound | None) -> None:
        timeout = activity.info().heartbeat_timeout
        self._timer: asyncio.TimerHandle | None = None
        if timeout is not None and outbound is not None:
            self._every = timeout.total_seconds() / 3
            self._outbound = outbound
            self._loop = asyncio.get_running_loop()
            self._later()

    def stop(self) -> None:
        """No more of them."""
        if self._timer is not None:
            self._timer.cancel()

    def _later(self) -> None:
        self._timer = self._loop.call_later(self._every, self._beat)

    def _beat(self) -> None:
        self._outbound.beat()
        self._later()


class _Outbound(ActivityOutboundInterceptor):
    """Keeps the step's own heartbeat details, so that the heartbeats in between do not erase its progress."""

    def __init__(self, next: ActivityOutboundInterceptor) -> None:  # noqa: A002
        super().__init__(next)
        self._details: tuple[Any, ...] = tuple(activity.info().heartbeat_details)

    def heartbeat(self, *details: Any) -> None:
        self._details = details
        self.next.heartbeat(*details)

    def beat(self) -> None:
        """A sign of life. Goes out below the SDK's replacement of ``activity.heartbeat``, which for synchronous
        activities blocks the worker's loop for 10 s a beat (ENGINE §4)."""
        self.next.heartbeat(*self._details)


def _late_value(context: StepContext, name: str) -> str | int:
    root, _, rest = name.partition(".")
    if root == "secrets":
        return context.secrets.get(rest)
    if name == "step.attempt":
        return context.attempt
    if name == "step.idempotency_key":
        return context.idempotency_key
    raise TerminalError("invalid_config", f"'{name}' is not known inside a step")


def _result(call: StepCall, context: StepContext, output: Any) -> RawValue:
    """The step's result, encoded here because its size has to be known."""
    try:
        plain = context.secrets.mask(to_jsonable_python(output))
    except PydanticSerializationError as error:
        raise TerminalError("invalid_output", f"the step returned what JSON cannot hold: {error}") from error
    if call.output_schema is not None:
        problems = check_json(call.output_schema, plain)
        if problems:
            listed = "; ".join(f"{problem.field or 'output'}: {problem.message}" for problem in problems[:5])
            raise StepError("invalid_output", f"the output does not match output_schema: {listed}", data=plain)
    result: dict[str, Json] = {"output": plain, "attempts": context.attempt}
    if context.usage:
        result["usage"] = context.usage
    # As the SDK's own JSON converter writes it.
    data = json.dumps(result, separators=(",", ":"), sort_keys=True).encode()
    if len(data) > LARGEST_RESULT:
        message = (
            f"the step's output has {len(data)} bytes, a run can keep {LARGEST_RESULT} per step: return less, or a "
            "reference"
        )
        raise TerminalError("payload_too_large", message)
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=data))


def _failure(call: StepCall, context: StepContext, error: StepError) -> ApplicationError:
    """What Temporal is told: the whole error record, whether it may try again, and when."""
    record: dict[str, Json] = {
        "orchestrator": 1,
        "type": error.type,
        "message": context.secrets.mask_text(error.message),
        "attempts": context.attempt,
        "retryable": error.retryable,
    }
    if error.status is not None:
        record["status"] = error.status
    if error.data is not None:
        record["data"] = context.secrets.mask(to_jsonable_python(error.data, fallback=str))
    if context.usage:
        record["usage"] = context.usage
    delay = next_delay(
        call.retry,
        record,
        context.attempt,
        retry_after=error.retry_after,
        seconds_left=_seconds_left(),
        chance=random.random(),
    )
    return ApplicationError(
        record["message"],
        record,
        type=error.type,
        non_retryable=delay is None,
        next_retry_delay=None if delay is None else timedelta(seconds=delay),
    )


def _seconds_left() -> float | None:
    """Until the step's total time is over: no attempt may start after that."""
    info = activity.info()
    total = info.schedule_to_close_timeout
    return None if total is None else (info.scheduled_time + total - datetime.now(UTC)).total_seconds()


def _from_application(error: ApplicationError) -> StepError:
    """A function that raises Temporal's own ApplicationError means its type and retryability."""
    kind = TerminalError if error.non_retryable else StepError
    delay = error.next_retry_delay
    data = error.details[0] if error.details else None
    return kind(
        error.type or "error",
        error.message,
        retry_after=None if delay is None else delay.total_seconds(),
        data=data,
    )
