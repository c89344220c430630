"""Retries, timeouts and heartbeats of activities as the server and the SDK really keep them.

How long a lost worker goes unnoticed is not tested here: it would be a timed test. The crash tests kill real
processes."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Any

from temporalio import activity, exceptions, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from tests.engine.lab import Lab, names, seconds

tries: dict[str, list[float]] = defaultdict(list)
"""When each attempt began, by workflow id."""


def _try() -> int:
    found = tries[activity.info().workflow_id or ""]
    found.append(time.monotonic())
    return len(found)


@activity.defn
async def later(delay: float) -> str:
    """Fails once and asks to be tried again after ``delay`` seconds."""
    if _try() == 1:
        raise ApplicationError("busy", type="rate_limit_exceeded", next_retry_delay=seconds(delay))
    return "done"


@activity.defn
async def late() -> str:
    """Takes longer than any timeout here."""
    _try()
    await asyncio.sleep(1.2)
    return "late"


@activity.defn
def blocking(length: float) -> str:
    """A synchronous activity that never heartbeats by itself."""
    _try()
    time.sleep(length)
    return "done"


@activity.defn
async def token() -> str:
    """What the header brought."""
    return carried.get(activity.info().workflow_id or "", "nothing")


carried: dict[str, str] = {}


@activity.defn
async def refused() -> None:
    """Never works."""
    _try()
    raise ApplicationError("down")


@workflow.defn
class Patient:
    """A local activity that may take a third of a second in all, and is tried again ten times a second."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_local_activity(
            refused,
            start_to_close_timeout=seconds(0.3),
            schedule_to_close_timeout=seconds(0.3),
            retry_policy=RetryPolicy(initial_interval=seconds(0.1), maximum_interval=seconds(0.1)),
        )


@workflow.defn
class Step:
    """One activity with options given as JSON; gives its result, or how it failed."""

    @workflow.run
    async def run(self, name: str, args: list[Any], options: dict[str, Any]) -> list[str]:
        times: dict[str, Any] = {
            key: seconds(value)
            for key, value in options.items()
            if key in ("start_to_close_timeout", "schedule_to_close_timeout", "heartbeat_timeout")
        }
        policy = RetryPolicy(
            initial_interval=seconds(0.05),
            maximum_interval=seconds(0.1),
            maximum_attempts=options.get("attempts", 0),
            non_retryable_error_types=options.get("never", []),
        )
        try:
            return [await workflow.execute_activity(name, args=args, retry_policy=policy, **times)]
        except ActivityError as error:
            cause = error.cause
            kind = (
                cause.type.name
                if isinstance(cause, exceptions.TimeoutError) and cause.type
                else getattr(cause, "type", "")
            )
            return [type(cause).__name__, kind or "", error.retry_state.name if error.retry_state else ""]


async def test_next_retry_delay_ignores_the_maximum_interval(lab: Lab) -> None:
    async with lab.worker(Step, activities=[later]):
        handle = await lab.start(Step.run, "later", [1.0], {"start_to_close_timeout": 5})
        assert await handle.result() == ["done"]
    first, second = tries[handle.id]
    assert second - first >= 0.9


async def test_a_retry_delay_beyond_the_total_time_ends_the_step_at_once_with_its_own_error(lab: Lab) -> None:
    async with lab.worker(Step, activities=[later]):
        options = {"start_to_close_timeout": 5, "schedule_to_close_timeout": 300}
        handle = await lab.start(Step.run, "later", [3600.0], options)
        outcome = await asyncio.wait_for(handle.result(), 20)
    assert outcome == ["ApplicationError", "rate_limit_exceeded", "TIMEOUT"]
    assert len(tries[handle.id]) == 1


async def test_a_timed_out_attempt_is_retried_until_attempts_run_out(lab: Lab) -> None:
    async with lab.worker(Step, activities=[late]):
        handle = await lab.start(Step.run, "late", [], {"start_to_close_timeout": 0.2, "attempts": 2})
        assert await handle.result() == ["TimeoutError", "START_TO_CLOSE", "MAXIMUM_ATTEMPTS_REACHED"]
    assert len(tries[handle.id]) == 2


async def test_the_total_time_ends_an_attempt_that_is_running(lab: Lab) -> None:
    async with lab.worker(Step, activities=[late]):
        options = {"start_to_close_timeout": 5, "schedule_to_close_timeout": 0.4}
        assert await lab.run(Step.run, "late", [], options) == [
            "TimeoutError",
            "SCHEDULE_TO_CLOSE",
            "TIMEOUT",
        ]


async def test_the_total_time_of_a_local_activity_does_not_end_its_retries(lab: Lab) -> None:
    async with lab.worker(Patient, activities=[refused]):
        handle = await lab.start(Patient.run)
        async with asyncio.timeout(30):
            while len(tries[handle.id]) < 12:
                await asyncio.sleep(0.05)
        await handle.terminate()


async def test_a_timeout_can_be_made_non_retryable_by_its_name(lab: Lab) -> None:
    async with lab.worker(Step, activities=[late]):
        options = {"start_to_close_timeout": 0.2, "attempts": 3, "never": ["TemporalTimeout:StartToClose"]}
        handle = await lab.start(Step.run, "late", [], options)
        assert await handle.result() == ["TimeoutError", "START_TO_CLOSE", "NON_RETRYABLE_FAILURE"]
    assert len(tries[handle.id]) == 1


async def test_a_lost_heartbeat_has_its_own_name_among_the_timeouts(lab: Lab) -> None:
    async with lab.worker(Step, activities=[late]):
        options = {
            "start_to_close_timeout": 5,
            "heartbeat_timeout": 0.3,
            "attempts": 3,
            "never": ["TemporalTimeout:Heartbeat"],
        }
        handle = await lab.start(Step.run, "late", [], options)
        assert await handle.result() == ["TimeoutError", "HEARTBEAT", "NON_RETRYABLE_FAILURE"]


async def test_attempts_between_are_not_written_to_history(lab: Lab) -> None:
    async with lab.worker(Step, activities=[later]):
        handle = await lab.start(Step.run, "later", [0.1], {"start_to_close_timeout": 5})
        await handle.result()
        seen = await names(handle)
    assert len(tries[handle.id]) == 2
    assert seen.count("ACTIVITY_TASK_STARTED") == 1
    assert "ACTIVITY_TASK_FAILED" not in seen


class Outbound(Interceptor):
    """Beats through the outbound interceptor captured in ``init``."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _BeatsOutbound(next)


class _BeatsOutbound(ActivityInboundInterceptor):
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self.outbound = outbound
        super().init(outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        beating = asyncio.create_task(_every(0.2, self.outbound.heartbeat))
        try:
            return await super().execute_activity(input)
        finally:
            beating.cancel()


async def _every(interval: float, beat: Any) -> None:
    while True:
        await asyncio.sleep(interval)
        beat()


async def test_heartbeats_of_a_captured_outbound_keep_a_synchronous_activity_alive(lab: Lab) -> None:
    options = {"start_to_close_timeout": 20, "heartbeat_timeout": 1.2, "attempts": 1}
    async with lab.worker(Step, activities=[blocking], interceptors=[Outbound()]):
        assert await lab.run(Step.run, "blocking", [3.0], options) == ["done"]


async def test_without_heartbeats_the_same_synchronous_activity_is_given_up(lab: Lab) -> None:
    options = {"start_to_close_timeout": 20, "heartbeat_timeout": 1.2, "attempts": 1}
    async with lab.worker(Step, activities=[blocking]):
        assert (await lab.run(Step.run, "blocking", [3.0], options))[:2] == ["TimeoutError", "HEARTBEAT"]


class Ambient(Interceptor):
    """Beats through ``activity.heartbeat()`` on the event loop, and notes how long the loop stood still."""

    def __init__(self) -> None:
        self.frozen = 0.0
        self.error = ""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _BeatsAmbient(next, self)


class _BeatsAmbient(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, report: Ambient) -> None:  # noqa: A002
        super().__init__(next)
        self.report = report

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        beating = asyncio.create_task(self._beat_once())
        try:
            return await super().execute_activity(input)
        finally:
            beating.cancel()

    async def _beat_once(self) -> None:
        await asyncio.sleep(0.2)
        began = time.monotonic()
        try:
            activity.heartbeat()
        except Exception as error:  # noqa: BLE001 - whatever comes is the finding
            self.report.error = type(error).__name__
        self.report.frozen = time.monotonic() - began


async def test_activity_heartbeat_on_the_loop_freezes_the_worker_for_a_synchronous_activity(lab: Lab) -> None:
    """The SDK replaces the call with one that blocks up to ten seconds for the loop it is called on."""
    ambient = Ambient()
    async with lab.worker(Step, activities=[blocking], interceptors=[ambient]):
        await lab.run(Step.run, "blocking", [0.6], {"start_to_close_timeout": 60})
    assert ambient.frozen >= 9
    assert ambient.error == "TimeoutError"


class Carrier(Interceptor):
    """Carries a text from the workflow to the activity in a header."""

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002
    ) -> type[WorkflowInboundInterceptor]:
        return _CarriesIn

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Unpacks(next)


class _CarriesIn(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_CarriesOut(outbound))


class _CarriesOut(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        payload = workflow.payload_converter().to_payload({"policy": "three tries"})
        input.headers = {**input.headers, "orchestrator": payload}
        return super().start_activity(input)


class _Unpacks(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        found = activity.payload_converter().from_payload(input.headers["orchestrator"])
        carried[activity.info().workflow_id or ""] = found["policy"]
        return await super().execute_activity(input)


async def test_a_header_set_by_an_interceptor_reaches_the_activity(lab: Lab) -> None:
    async with lab.worker(Step, activities=[token], interceptors=[Carrier()]):
        assert await lab.run(Step.run, "token", [], {"start_to_close_timeout": 5}) == ["three tries"]
