"""Schedules: Temporal's, one for each schedule trigger of a published flow, named ``orchestrator:<flow>:<trigger>``.

The store says what there should be, ``keep`` makes it so. A person's pause of a schedule that is on stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfoNotFoundError

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from orchestrator import telemetry
from orchestrator.client.client import Client
from orchestrator.client.clock import spec_of
from orchestrator.client.connection import temporal_errors
from orchestrator.client.run import MEMO
from orchestrator.client.starting import TASK_TIMEOUT
from orchestrator.errors import FieldProblem, InputsInvalid, NotFound, OrchestratorError, Refused
from orchestrator.spec.definition import Json
from orchestrator.spec.schedules import of_schedule, schedule_id
from orchestrator.store.flows import DeclaredTrigger

_LOGGER = logging.getLogger("orchestrator.schedules")
OVERLAPS = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "buffer-one": ScheduleOverlapPolicy.BUFFER_ONE,
    "buffer-all": ScheduleOverlapPolicy.BUFFER_ALL,
    "cancel-other": ScheduleOverlapPolicy.CANCEL_OTHER,
    "terminate-other": ScheduleOverlapPolicy.TERMINATE_OTHER,
    "allow-all": ScheduleOverlapPolicy.ALLOW_ALL,
}
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
CATCH_UP = timedelta(days=1)
"""How old a missed start may be to be made up for, where the trigger does not say."""
MOST_BACKFILLED = 900
"""Starts in one backfill: Temporal keeps 1000 of them waiting, drops others, and lists no more than that."""
_AT_ONCE = 10
_OFF = "switched off: the flow or this trigger is not enabled"
"""Note of a schedule that this file has paused, and that it alone lets go on."""


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """A start that a schedule made."""

    scheduled_time: datetime
    started_at: datetime
    run_id: str


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as it stands. ``status`` is ``on``, ``paused`` (by a person; ``note`` says why), ``off`` (not enabled
    in the flow) or ``missing`` (not in Temporal yet: a gateway makes it)."""

    id: str
    flow: str
    trigger: str
    when: str
    timezone: str
    overlap: str
    status: str
    note: str | None = None
    next: tuple[datetime, ...] = ()
    recent: tuple[ScheduleRun, ...] = ()
    """Newest first, at most ten."""
    running: tuple[str, ...] = ()
    started: int = 0
    skipped: int = 0
    """Starts left out because an earlier run was still going."""
    missed: int = 0
    """Starts that were older than ``catch_up`` when Temporal was there again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What ``keep`` did, by schedule id, and what it could not do."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Schedules:
    """The schedules of one installation. Raises Unavailable where Temporal or the store is."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._temporal = client.temporal
        self._flows = client.store.flows
        self._known: frozenset[str] = frozenset()

    # -- looking ------------------------------------------------------------------------------------------------

    async def list(self, flow: str | None = None) -> list[ScheduleInfo]:
        """Every schedule trigger of the published flows and how it stands."""
        declared = [one for one in await self._flows.declared("schedule") if flow in (None, one.flow)]
        if flow is not None and not declared:
            await self._flows.current(flow)
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(one: DeclaredTrigger) -> ScheduleInfo:
            async with room:
                return _shown(one, await self._described(one))

        return list(await asyncio.gather(*(look(one) for one in declared)))

    async def get(self, flow: str, trigger: str) -> ScheduleInfo:
        """One schedule. Raises NotFound naming those of the flow."""
        one = await self._declared(flow, trigger)
        return _shown(one, await self._described(one))

    # -- acting -------------------------------------------------------------------------------------------------

    async def pause(self, flow: str, trigger: str, note: str | None = None) -> ScheduleInfo:
        """Start nothing until it is resumed; publishing the flow again changes nothing about that. Raises NotFound,
        Refused where the flow or the trigger is off."""
        one, handle = await self._existing(flow, trigger)
        with _errors(self._client, one):
            await handle.pause(note=note or "paused")
        return await self.get(flow, trigger)

    async def resume(self, flow: str, trigger: str, note: str | None = None) -> ScheduleInfo:
        """Go on after a pause; what was missed meanwhile is not made up for. Raises as ``pause``."""
        one, handle = await self._existing(flow, trigger)
        with _errors(self._client, one):
            await handle.unpause(note=note or "resumed")
        return await self.get(flow, trigger)

    async def trigger(self, flow: str, trigger: str) -> ScheduleInfo:
        """Start a run now, also while it is paused and whatever runs already. Raises as ``pause``."""
        one, handle = await self._existing(flow, trigger)
        with _errors(self._client, one):
            await handle.trigger(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
        return await self.get(flow, trigger)

    async def backfill(
        self, flow: str, trigger: str, start: datetime, end: datetime, overlap: str = "buffer-all"
    ) -> tuple[datetime, ...]:
        """Start the runs that the schedule would have started from ``start`` to ``end``, both included, one after the
        other unless ``overlap`` says otherwise; the moments they are for. Moments that had their run get another one.
        Raises as ``pause``, InputsInvalid for a range that is none, lies in the future or holds too many."""
        problems = _range_problems(start, end, overlap)
        if problems:
            raise InputsInvalid(flow, problems)
        one, handle = await self._existing(flow, trigger)
        # The server leaves the start of a range out.
        start = start - timedelta(microseconds=1)
        moments = await self._matching(one, start, end)
        if len(moments) > MOST_BACKFILLED:
            what = f"the range holds more than the {MOST_BACKFILLED} starts that one backfill makes: take parts of it"
            raise InputsInvalid(flow, [FieldProblem("to", what)])
        if moments:
            with _errors(self._client, one):
                await handle.backfill(ScheduleBackfill(start, end, OVERLAPS[overlap]))
        return moments

    # -- keeping ------------------------------------------------------------------------------------------------

    async def keep(self) -> Kept:
        """Make Temporal's schedules what the published flows say: missing ones are created, others brought back to what
        they should be, those of triggers that are gone deleted, those of triggers that are off paused. Schedules of
        other programs and of other task queues are left alone."""
        declared = {schedule_id(one.flow, one.id): one for one in await self._flows.declared("schedule")}
        room = asyncio.Semaphore(_AT_ONCE)

        async def bring(one: DeclaredTrigger) -> str:
            async with room:
                return await self._bring(one)

        done = await asyncio.gather(*(bring(one) for one in declared.values()), return_exceptions=True)
        outcome: dict[str, list[str]] = {"created": [], "updated": [], "": []}
        problems: list[str] = []
        for name, result in zip(declared, done, strict=True):
            if isinstance(result, OrchestratorError | RPCError):
                problems.append(f"{name}: {result}")
            elif isinstance(result, BaseException):
                raise result
            else:
                outcome[result].append(name)
        deleted: list[str] = []
        try:
            deleted = [name async for name in self._remove(frozenset(declared))]
        except OrchestratorError as error:
            problems.append(f"schedules of triggers that are gone: {error}")
        self._known = frozenset(declared)
        return Kept(tuple(outcome["created"]), tuple(outcome["updated"]), tuple(deleted), tuple(problems))

    async def _bring(self, one: DeclaredTrigger) -> str:
        found = await self._described(one)
        wanted = self._wanted(one)
        if found is None:
            if not one.enabled:
                return ""
            try:
                with _errors(self._client, one):
                    await self._temporal.create_schedule(
                        schedule_id(one.flow, one.id),
                        wanted,
                        memo={MEMO: {"flow": one.flow, "task_queue": self._client.settings.task_queue}},
                    )
            except ScheduleAlreadyRunningError:
                return ""  # Another gateway was quicker.
            return "created"
        if _same(found.schedule, wanted) and _state(found.schedule.state, one.enabled) == found.schedule.state:
            return ""

        def update(current: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(replace(wanted, state=_state(current.description.schedule.state, one.enabled)))

        with _errors(self._client, one):
            await self._handle(one).update(update)
        return "updated"

    async def _remove(self, declared: frozenset[str]) -> AsyncIterator[str]:
        """Delete those of ours that nobody declares. What was created a moment ago may not be listed yet: what this
        process knew is asked for by name."""
        strays = set(self._known)
        with temporal_errors(self._temporal):
            async for entry in await self._temporal.list_schedules():
                if entry.id not in declared and of_schedule(entry.id) is not None:
                    memo = (await entry.memo()).get(MEMO)
                    if isinstance(memo, dict) and memo.get("task_queue") == self._client.settings.task_queue:
                        strays.add(entry.id)
        # Asked again: what was published meanwhile another gateway may have created already.
        now = {schedule_id(one.flow, one.id) for one in await self._flows.declared("schedule")}
        for name in sorted(strays - declared - now):
            try:
                await self._temporal.get_schedule_handle(name).delete()
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise
            else:
                yield name

    def _wanted(self, one: DeclaredTrigger) -> Schedule:
        trigger = one.trigger
        searchable = self._client.settings.searchable(registered=self._client.search_attributes)
        shown = [SearchAttributePair(telemetry.TRIGGER, "schedule")] if searchable else []
        return Schedule(
            action=ScheduleActionStartWorkflow(
                one.flow,
                args=[{}],
                id=f"{one.flow}:{one.id}",
                task_queue=self._client.settings.task_queue,
                task_timeout=TASK_TIMEOUT,
                memo={MEMO: {"flow": one.flow, "trigger": "schedule"}},
                typed_search_attributes=TypedSearchAttributes(shown),
            ),
            spec=_spec(one),
            policy=SchedulePolicy(
                overlap=OVERLAPS[trigger.get("overlap", "skip")],
                catchup_window=timedelta(seconds=trigger["catch_up"]) if trigger.get("catch_up") else CATCH_UP,
            ),
            state=_state(ScheduleState(), one.enabled),
        )

    # -- parts --------------------------------------------------------------------------------------------------

    def _handle(self, one: DeclaredTrigger) -> ScheduleHandle:
        return self._temporal.get_schedule_handle(schedule_id(one.flow, one.id))

    async def _declared(self, flow: str, trigger: str) -> DeclaredTrigger:
        found = [one for one in await self._flows.declared("schedule") if one.flow == flow]
        for one in found:
            if one.id == trigger:
                return one
        await self._flows.current(flow)
        names = ", ".join(f"'{one.id}'" for one in found) or "none"
        raise NotFound(f"flow '{flow}' has no schedule '{trigger}'; its schedules: {names}")

    async def _existing(self, flow: str, trigger: str) -> tuple[DeclaredTrigger, ScheduleHandle]:
        """A schedule that may be acted on, made if no gateway has done so yet."""
        one = await self._declared(flow, trigger)
        if not one.enabled:
            raise Refused(f"the schedule '{trigger}' of flow '{flow}' is off: the flow or the trigger is not enabled")
        await self._bring(one)
        return one, self._handle(one)

    async def _described(self, one: DeclaredTrigger) -> ScheduleDescription | None:
        """None where Temporal has no such schedule. Raises Refused where it is another installation's."""
        try:
            with _errors(self._client, one):
                found = await self._handle(one).describe()
        except NotFound:
            return None
        action = found.schedule.action
        queue = action.task_queue if isinstance(action, ScheduleActionStartWorkflow) else None
        if queue != self._client.settings.task_queue:
            raise Refused(
                f"Temporal's schedule '{schedule_id(one.flow, one.id)}' starts runs on the queue '{queue}', not on "
                f"'{self._client.settings.task_queue}': it is another installation's, or older than this task queue; "
                "delete it in Temporal, or use another namespace"
            )
        return found

    async def _matching(self, one: DeclaredTrigger, start: datetime, end: datetime) -> tuple[datetime, ...]:
        request = ListScheduleMatchingTimesRequest(
            namespace=self._temporal.namespace,
            schedule_id=schedule_id(one.flow, one.id),
            start_time=_stamp(start),
            end_time=_stamp(end),
        )
        with _errors(self._client, one):
            answer = await self._temporal.workflow_service.list_schedule_matching_times(request)
        return tuple(moment.ToDatetime().replace(tzinfo=UTC) for moment in answer.start_time)


def _range_problems(start: datetime, end: datetime, overlap: str) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    for name, moment in (("from", start), ("to", end)):
        if moment.tzinfo is None:
            problems.append(FieldProblem(name, "needs its zone, such as 2026-11-20T09:00:00Z"))
    if not problems and start > end:
        problems.append(FieldProblem("to", "lies before `from`"))
    if not problems and start < _FIRST:
        problems.append(FieldProblem("from", f"lies before {_FIRST:%Y}"))
    if not problems and end > datetime.now(UTC):
        problems.append(FieldProblem("to", "lies in the future: the schedule itself starts those runs"))
    if overlap not in OVERLAPS:
        problems.append(FieldProblem("overlap", f"must be one of {', '.join(OVERLAPS)}"))
    return problems


@contextmanager
def _errors(client: Client, one: DeclaredTrigger) -> Iterator[None]:
    """As ``temporal_errors``, and NotFound for a schedule that Temporal does not have."""
    with temporal_errors(client.temporal):
        try:
            yield
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND or "namespace" in str(error).lower():
                raise
            name = schedule_id(one.flow, one.id)
            raise NotFound(f"Temporal has no schedule '{name}' yet: a running gateway makes it") from error


def _spec(one: DeclaredTrigger) -> ScheduleSpec:
    """Raises Refused for a clock that this release or this machine cannot read, such as one published by another."""
    try:
        return spec_of(one.trigger, datetime.now(UTC))
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise Refused(f"the schedule '{one.id}' of flow '{one.flow}' cannot be read here: {error}") from error


def _state(current: ScheduleState, enabled: bool) -> ScheduleState:
    """What a schedule's state should be: a pause of a person's stays, ours comes and goes with ``enabled``."""
    ours = current.paused and current.note == _OFF
    if enabled:
        return replace(current, paused=False, note=None) if ours else current
    return current if current.paused else replace(current, paused=True, note=_OFF)


def _same(found: Schedule, wanted: Schedule) -> bool:
    """Whether Temporal has what is wanted, in all that this file writes."""
    has, wants = found.action, wanted.action
    assert isinstance(has, ScheduleActionStartWorkflow) and isinstance(wants, ScheduleActionStartWorkflow)
    return (
        (has.workflow, has.id, has.task_timeout) == (wants.workflow, wants.id, wants.task_timeout)
        and _plain(found.spec) == _plain(wanted.spec)
        and (found.policy.overlap, found.policy.catchup_window) == (wanted.policy.overlap, wanted.policy.catchup_window)
    )


def _plain(spec: ScheduleSpec) -> tuple[Json, ...]:
    """A spec as it can be compared: the server fills in what it does not need."""
    fields = ("second", "minute", "hour", "day_of_month", "month", "year", "day_of_week")
    calendars = [
        ([[(one.start, max(one.end, one.start), max(one.step, 1)) for one in getattr(part, name)] for name in fields])
        for part in spec.calendars
    ]
    intervals = [(one.every, one.offset or timedelta()) for one in spec.intervals]
    zone = spec.time_zone_name or "UTC"
    return calendars, intervals, spec.jitter or timedelta(), zone, len(spec.skip), spec.start_at, spec.end_at


def _shown(one: DeclaredTrigger, found: ScheduleDescription | None) -> ScheduleInfo:
    trigger = one.trigger
    info = ScheduleInfo(
        id=schedule_id(one.flow, one.id),
        flow=one.flow,
        trigger=one.id,
        when=str(trigger["cron"]) if trigger.get("cron") else f"every {timedelta(seconds=trigger['every'])}",
        timezone=str(trigger.get("timezone") or "UTC"),
        overlap=str(trigger.get("overlap") or "skip"),
        status="missing" if one.enabled else "off",
    )
    if found is None:
        return info
    state = found.schedule.state
    ours = state.note == _OFF
    status = "off" if not one.enabled else "paused" if state.paused and not ours else "on"
    return replace(
        info,
        status=status,
        note=None if ours else state.note,
        next=tuple(found.info.next_action_times) if status == "on" else (),
        recent=tuple(
            ScheduleRun(run.scheduled_at, run.started_at, run.action.workflow_id)
            for run in reversed(found.info.recent_actions)
            if isinstance(run.action, ScheduleActionExecutionStartWorkflow)
        ),
        running=tuple(
            run.workflow_id
            for run in found.info.running_actions
            if isinstance(run, ScheduleActionExecutionStartWorkflow)
        ),
        started=found.info.num_actions,
        skipped=found.info.num_actions_skipped_overlap,
        missed=found.info.num_actions_missed_catchup_window,
    )


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp
