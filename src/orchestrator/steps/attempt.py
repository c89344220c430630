"""The boundary every step attempt crosses: late names in, heartbeats while it runs, masking, schema, size and error
mapping on the way out. A worker interceptor, so that step types and users' functions, async or in threads, share it."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from orchestrator.errors import StepError, TerminalError, Unavailable
from orchestrator.expressions import fill_late
from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.backoff import next_delay
from orchestrator.spec.call import HEADER, StepCall, decode_call
from orchestrator.spec.inputs import check_json
from orchestrator.spec.project import Project
from orchestrator.steps.cached import cached_output, keep_output
from orchestrator.steps.callback import callback_urls
from orchestrator.steps.context import CURRENT, Resources, StepContext
from orchestrator.steps.context import current_step as current_step
from orchestrator.steps.raised import WORKER_LOST, from_application

Json = Any
_REST_OF_RECORD = 100_000
"""Bytes that an error's record may need beside its data."""
_MOMENT = 0.1
"""Seconds between the end of a step's last attempt and the end of its total time."""
_STORE_TRIES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between tries to store a result: what the step did should not be done again for a hiccup of the storage."""


class StepInterceptor(Interceptor):
    """Wraps every activity that carries a StepCall."""

    def __init__(
        self,
        settings: Settings,
        project: Callable[[], Project],
        resources: Resources,
        converter: DataConverter = DataConverter.default,
    ) -> None:
        self._converter = converter
        self._settings = settings
        self._project = project
        self._resources = resources

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """The boundary around one attempt."""
        return _Attempt(next, self._context, self._converter)

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
    def __init__(
        self,
        next: ActivityInboundInterceptor,  # noqa: A002
        context: Callable[[StepCall], StepContext],
        converter: DataConverter,
    ) -> None:
        super().__init__(next)
        self._make_context = context
        self._converter = converter
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
        CURRENT.set(context)
        _name_task(call, context)
        beats = _Heartbeats(self._outbound)
        try:
            return await self._stored(await self._outcome(input, call, context))
        except CancelledError as error:
            # How a cancellation reaches a synchronous function. Anything else of this name is the function's own.
            if activity.is_cancelled():
                raise
            raise _failure(call, context, StepError("cancelled", str(error) or "the step cancelled itself")) from None
        except StepError as error:
            raise _failure(call, context, error) from None
        except ApplicationError as error:
            raise _failure(call, context, from_application(error)) from None
        except Exception as error:
            context.logger.warning("step %s of run %s raised", call.path, context.run_id, exc_info=True)
            raise _failure(call, context, StepError(type(error).__name__, str(error) or repr(error))) from None
        finally:
            beats.stop()

    async def _outcome(self, input: ExecuteActivityInput, call: StepCall, context: StepContext) -> Payload:  # noqa: A002
        """The step's result: what its cache holds, else what it does."""
        hit = await cached_output(call, context)
        if hit is not None:
            return _encoded(call, context, {"output": hit.output, "attempts": context.attempt, "cached": True})
        returned = await self._run(input, call, context)
        if context.asked is not None:
            asked = context.secrets.mask(context.asked)
            return _encoded(call, context, {"output": None, "attempts": context.attempt, "asked": asked})
        output = _checked(call, context, returned)
        result = {"output": output, "attempts": context.attempt}
        if context.usage:
            result["usage"] = context.usage
        if context.warnings:
            result["warnings"] = [context.secrets.mask_text(warning) for warning in context.warnings]
        encoded = _encoded(call, context, result)
        await keep_output(call, context, output)
        return encoded

    async def _run(self, input: ExecuteActivityInput, call: StepCall, context: StepContext) -> Any:  # noqa: A002
        """The step itself within its own timeout, which is enforced here so that attempts are counted as the author
        wrote them."""
        if call.late:
            known = await callback_urls(call.late, context)
            input.args = fill_late(list(input.args), call.late, functools.partial(_late_value, context, known))
        left = _left_at_start()
        last = left is not None and (call.attempt_timeout is None or left < call.attempt_timeout)
        limit = left if last else call.attempt_timeout
        if limit is not None and limit <= 0:
            raise _out_of_time(call)
        try:
            async with asyncio.timeout(limit) as bound:
                return await self.next.execute_activity(input)
        except TimeoutError as error:
            if not bound.expired():
                raise StepError("timeout", str(error) or "something the step waited for timed out") from error
            _stop_thread()
            if last:
                raise _out_of_time(call) from error
            raise StepError(
                "timeout", f"the attempt took longer than its timeout of {call.attempt_timeout:g}s"
            ) from error

    async def _stored(self, result: Payload) -> RawValue:
        """The result as Temporal gets it: a reference where it is large. Stored here, where a failure to store is a
        failure of the attempt; the SDK would report it without type and policy."""
        pauses = list(_STORE_TRIES)
        while True:
            try:
                [stored] = await self._converter.encode([RawValue(result)])
                return RawValue(stored)
            except Unavailable as error:
                if not pauses:
                    message = f"the step is done and its output cannot be kept: {error}"
                    raise StepError("storage_unavailable", message) from error
                await asyncio.sleep(pauses.pop(0))


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
        if activity.info().is_local:
            # An express step has nobody to tell; the SDK would log a warning each time.
            return
        self._details = details
        self.next.heartbeat(*details)

    def beat(self) -> None:
        """A sign of life. Goes out below the SDK's replacement of ``activity.heartbeat``, which for synchronous
        activities blocks the worker's loop for 10 s a beat (ENGINE §4)."""
        self.next.heartbeat(*self._details)


def _stop_thread() -> None:
    """A synchronous function whose time is up hears of it as it hears of a cancellation, so that it does not go on
    beside the next attempt. The SDK has no public way to this."""
    shield = activity._Context.current().shield_thread_cancel_exception
    raiser = getattr(shield, "__self__", None)
    if raiser is not None:
        raiser.raise_in_thread(CancelledError)


def _name_task(call: StepCall, context: StepContext) -> None:
    """For whoever looks at the loop from outside."""
    task = asyncio.current_task()
    if task is not None:
        task.set_name(f"step {call.path} of run {context.run_id}")


def _late_value(context: StepContext, known: Mapping[str, str], name: str) -> str | int:
    if name in known:
        return known[name]
    root, _, rest = name.partition(".")
    if root == "secrets":
        return context.secrets.get(rest)
    if name == "step.attempt":
        return context.attempt
    if name == "step.idempotency_key":
        return context.idempotency_key
    raise TerminalError("invalid_config", f"'{name}' is not known inside a step")


def _checked(call: StepCall, context: StepContext, output: Any) -> Json:
    """What the step returned as JSON, secrets masked, matching its schema."""
    try:
        plain = context.secrets.mask(to_jsonable_python(output))
    except PydanticSerializationError as error:
        raise TerminalError("invalid_output", f"the step returned what JSON cannot hold: {error}") from error
    if call.output_schema is not None:
        problems = check_json(call.output_schema, plain)
        if problems:
            listed = "; ".join(f"{problem.field or 'output'}: {problem.message}" for problem in problems[:5])
            raise StepError("invalid_output", f"the output does not match output_schema: {listed}", data=plain)
    return plain


def _encoded(call: StepCall, context: StepContext, result: dict[str, Json]) -> Payload:
    """The step's result, encoded here because its size has to be known."""
    # As the SDK's own JSON converter writes it.
    data = json.dumps(result, separators=(",", ":"), sort_keys=True).encode()
    limit = context.settings.largest_payload
    if len(data) > limit:
        message = (
            f"the output of step '{call.path}' has {len(data)} bytes and may have {limit}: return less, keep the data "
            "elsewhere and return a reference, or raise ORCHESTRATOR_PAYLOAD_LIMIT"
        )
        raise TerminalError("payload_too_large", message)
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


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
        data = context.secrets.mask(to_jsonable_python(error.data, fallback=str))
        size = len(json.dumps(data))
        if size + _REST_OF_RECORD <= context.settings.largest_payload:
            record["data"] = data
        else:
            # Temporal would replace the whole error by a sentence about its size.
            record["message"] += f" (the error's data is left out: it has {size} bytes)"
    if context.usage:
        record["usage"] = context.usage
    delay = _delay(call, context, error, record)
    return ApplicationError(
        record["message"],
        record,
        type=error.type,
        non_retryable=delay is None,
        next_retry_delay=None if delay is None else timedelta(seconds=delay),
    )


def _delay(call: StepCall, context: StepContext, error: StepError, record: dict[str, Json]) -> float | None:
    if call.at_most_once and error.type == WORKER_LOST:
        # Nobody knows how far the attempt got (ENGINE §6).
        return None
    return next_delay(
        call.retry,
        record,
        context.attempt,
        retry_after=error.retry_after,
        seconds_left=_seconds_left(),
        chance=random.random(),
    )


def _left_at_start() -> float | None:
    """What the step's total time leaves to this attempt: a moment less, so that the step has stopped when Temporal
    would give it up. By the server's clock alone."""
    info = activity.info()
    total = info.schedule_to_close_timeout
    return None if total is None else (info.scheduled_time + total - info.started_time).total_seconds() - _MOMENT


def _out_of_time(call: StepCall) -> TerminalError:
    total = activity.info().schedule_to_close_timeout or timedelta()
    budget = (
        None if call.retry is None or call.retry.max_duration is None else timedelta(seconds=call.retry.max_duration)
    )
    whose = "its retry's max_duration" if budget == total else "its total timeout"
    return TerminalError(
        "step_timeout", f"the step took longer than {whose} of {total.total_seconds():g}s, retries included"
    )


def _seconds_left() -> float | None:
    """Until the step's total time is over: no attempt may start after that."""
    info = activity.info()
    total = info.schedule_to_close_timeout
    return None if total is None else (info.scheduled_time + total - datetime.now(UTC)).total_seconds()
