"""One action step is exactly one activity: options, header, budget, and what comes back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import Priority, RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType

from orchestrator.engine.budget import STORED_FROM, Budget
from orchestrator.engine.clock import milliseconds
from orchestrator.engine.failures import StepFailed, activity_failure, error_record
from orchestrator.engine.headers import CALL, header
from orchestrator.spec.call import OWN_QUEUE_PREFIX, encode_call, fixed_part
from orchestrator.spec.definition import Json, Node, Retry
from orchestrator.spec.filters import matches

HEARTBEAT = timedelta(seconds=5)
"""A lost worker is noticed within this time (ENGINE §4)."""
BACKSTOP = timedelta(seconds=5)
"""Temporal's attempt timeout lies this much behind the one the activity itself enforces, so that attempts are
counted by us and a false timeout does not overlap two attempts."""

PERSISTENT = Retry(max_attempts=1000, max_interval=60.0, on=("*",))
"""The engine's own bookkeeping outlives an outage of the store."""

PATIENCE = RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=33)
"""Five minutes and more for what a run cannot go on without. Counted: Temporal's schedule-to-close timeout does not end
the retries of a local activity (tested)."""
LONG_PATIENCE = RetryPolicy(maximum_interval=timedelta(seconds=10), maximum_attempts=360)
"""An hour and more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same each time a step is scheduled: worked out once per process, kept with the program."""

    foreign: bool
    fixed: str
    """The header's ``fixed_part``."""
    options: dict[str, Any]
    """Keyword arguments of ``start_activity``."""


Plans = dict[tuple[str, str, str | None], Plan]
"""By step id, activity type and task queue."""


@dataclass(frozen=True, slots=True)
class Call:
    """An activity to schedule for a step."""

    node: Node
    path: str
    type: str
    args: list[Json]
    late: list[dict[str, Json]] = field(default_factory=list)
    task_queue: str | None = None
    retry: Retry | None = None
    generation: int = 1
    cache: dict[str, Json] | None = None
    plans: Plans = field(default_factory=dict)
    """Of the program that the node belongs to: computed steps of two runs may share an id."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step gave: its output, and fields that stand beside it in the record."""

    output: Json = None
    extra: dict[str, Json] = field(default_factory=dict)


class Activities:
    """Schedules the activities of one run."""

    def __init__(self, *, version: str, root: str, task_queue: str | None, budget: Budget, largest: int) -> None:
        self._version = version
        self._root = root
        self._task_queue = task_queue
        self._budget = budget
        self._largest = largest
        """Bytes the arguments of one activity may have."""

    async def run(self, call: Call) -> Outcome:
        """Schedule the call and wait for its end. Raises StepFailed, and CancelledError once the activity has stopped
        or its worker is lost: Temporal tells a cancelled activity as a failure of it."""
        arguments = self._arguments(call)
        plan = self._plan(call)
        if plan.foreign and self._budget.stored:
            _keep_inline(call, arguments)
        await self._budget.admit(_size(arguments), len(plan.fixed))
        try:
            result = await self._start(call, plan, arguments)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            raise activity_failure(call.node, call.path, error) from error
        finally:
            self._budget.release()
        if plan.foreign:
            return Outcome(result)
        return Outcome(result.pop("output", None), result)

    async def run_express(self, call: Call) -> Outcome:
        """The same as a local activity: cheaper, and repeated by a crash before the task is recorded (ENGINE §8)."""
        arguments = self._arguments(call)
        await self._budget.record(milliseconds())
        admitted = await self._budget.admit_express()
        try:
            raw = await self._start_local(call, self._plan(call), arguments)
            self._budget.recorded(admitted, raw.payload.ByteSize())
        except (ActivityError, ApplicationError) as error:
            if is_cancelled_exception(error):
                raise asyncio.CancelledError from error
            raise activity_failure(call.node, call.path, error) from error
        finally:
            self._budget.release_express()
        result: dict[str, Json] = workflow.payload_converter().from_payload(raw.payload)
        return Outcome(result.pop("output", None), result)

    def _arguments(self, call: Call) -> list[Payload]:
        arguments = workflow.payload_converter().to_payloads(call.args)
        size = _size(arguments)
        if size > self._largest:
            message = f"the step's rendered config has {size} bytes; one step can take {self._largest}"
            raise StepFailed(error_record(call.node, call.path, "payload_too_large", message))
        return list(arguments)

    def _header(self, call: Call, plan: Plan) -> Payload:
        encoded = encode_call(
            plan.fixed, call.path, self._root, call.late, generation=call.generation, cache=call.cache
        )
        return header(encoded)

    def _start(self, call: Call, plan: Plan, arguments: list[Payload]) -> workflow.ActivityHandle[Json]:
        token = CALL.set(self._header(call, plan))
        try:
            return workflow.start_activity(
                call.type,
                args=[RawValue(payload) for payload in arguments],
                activity_id=_activity_id(call.path),
                summary=call.node.name or call.path,
                **plan.options,
            )
        finally:
            CALL.reset(token)

    def _start_local(self, call: Call, plan: Plan, arguments: list[Payload]) -> workflow.ActivityHandle[RawValue]:
        """As it comes: its size is that of the payload, which need not be written again to know it."""
        token = CALL.set(self._header(call, plan))
        wanted = ("start_to_close_timeout", "schedule_to_close_timeout", "retry_policy", "cancellation_type")
        try:
            return workflow.start_local_activity(
                call.type,
                args=[RawValue(payload) for payload in arguments],
                activity_id=_activity_id(call.path),
                summary=call.node.name or call.path,
                # Beyond it the task closes, so that signals, timers and a cancel act during a longer backoff.
                local_retry_threshold=timedelta(seconds=1),
                result_type=RawValue,
                **{name: plan.options[name] for name in wanted},
            )
        finally:
            CALL.reset(token)

    def _plan(self, call: Call) -> Plan:
        key = (call.node.id, call.type, call.task_queue)
        plan = call.plans.get(key)
        if plan is None:
            plan = call.plans[key] = _planned(call, self._version, self._task_queue)
        return plan


def _size(payloads: Sequence[Payload]) -> int:
    return sum(payload.ByteSize() for payload in payloads)


def _keep_inline(call: Call, arguments: list[Payload]) -> None:
    """Another program's worker cannot read our storage (ENGINE §10)."""
    size = max((payload.ByteSize() for payload in arguments), default=0)
    if size >= STORED_FROM:
        message = (
            f"an argument has {size} bytes; on task queue '{call.task_queue or call.node.task_queue}', which another "
            f"program serves, it can have {STORED_FROM}: pass a reference"
        )
        raise StepFailed(error_record(call.node, call.path, "payload_too_large", message))


def _planned(call: Call, version: str, default_queue: str | None) -> Plan:
    node = call.node
    queue = call.task_queue or node.task_queue or default_queue
    foreign = is_foreign(queue)
    options: dict[str, Any] = {
        "task_queue": queue,
        "start_to_close_timeout": _attempt_timeout(node, foreign),
        "schedule_to_close_timeout": _total_timeout(node, call.retry),
        "heartbeat_timeout": None if foreign else HEARTBEAT,
        "retry_policy": _policy(call.retry, node.at_most_once, foreign),
        "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        "priority": Priority.default if node.priority is None else Priority(priority_key=node.priority),
    }
    return Plan(foreign, fixed_part(node, version, call.retry), options)


def is_foreign(queue: str | None) -> bool:
    """Whether a task queue is served by somebody else's worker."""
    return queue is not None and not queue.startswith(OWN_QUEUE_PREFIX)


def _activity_id(path: str) -> str:
    """The path, so that the Web UI shows it; a digest of it where Temporal's 1,000-byte limit on ids is near."""
    if len(path.encode()) <= 900:
        return path
    return f"{path[:200]}…{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def _attempt_timeout(node: Node, foreign: bool) -> timedelta | None:
    if node.timeout.attempt is None:
        return None
    own = timedelta(seconds=node.timeout.attempt)
    return own if foreign else own + BACKSTOP


def _total_timeout(node: Node, retry: Retry | None) -> timedelta | None:
    bounds = [bound for bound in (node.timeout.total, retry.max_duration if retry else None) if bound is not None]
    return timedelta(seconds=min(bounds)) if bounds else None


def _policy(retry: Retry | None, at_most_once: bool, foreign: bool) -> RetryPolicy:
    """Temporal's side of the policy. Our activities decide themselves whether and when to try again; Temporal's
    numbers only serve timeouts and lost workers. A lost worker's attempt is made good once beyond ``max_attempts``
    (ENGINE §6)."""
    policy = retry or Retry(max_attempts=1)
    grace = 0 if foreign or at_most_once else 1
    timed_out = {"type": "timeout", "retryable": True}
    retry_timeouts = matches(policy.on, timed_out) and not matches(policy.not_on, timed_out)
    refused = [] if retry_timeouts else ["TemporalTimeout:StartToClose"]
    if at_most_once:
        refused.append("TemporalTimeout:Heartbeat")
    return RetryPolicy(
        initial_interval=timedelta(seconds=policy.initial_interval),
        backoff_coefficient=policy.multiplier if policy.backoff == "exponential" else 1.0,
        maximum_interval=timedelta(seconds=max(policy.max_interval, policy.initial_interval)),
        maximum_attempts=policy.max_attempts + grace,
        non_retryable_error_types=refused,
    )
