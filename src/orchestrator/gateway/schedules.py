"""``/v1/schedules``: the schedules of published flows, how they stand, and what a person may do with them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from orchestrator.client import Client
from orchestrator.client.schedules import ScheduleInfo, Schedules


class ScheduleRunShown(BaseModel):
    """A start that a schedule made."""

    scheduled_time: datetime
    started_at: datetime
    run_id: str


class ScheduleShown(BaseModel):
    """A schedule as it stands."""

    id: str = Field(description="Of the schedule in Temporal")
    flow: str
    trigger: str
    when: str = Field(description="The cron text, or the interval")
    timezone: str
    overlap: str
    status: Literal["on", "paused", "off", "missing"] = Field(
        description="`off`: not enabled in the flow. `missing`: published a moment ago, not in Temporal yet"
    )
    note: str | None
    next: list[datetime] = Field(description="The next starts, jitter included")
    recent: list[ScheduleRunShown] = Field(description="The last starts, newest first")
    running: list[str] = Field(description="Ids of its runs that go on")
    started: int
    skipped: int = Field(description="Starts left out because an earlier run was still going")
    missed: int = Field(description="Starts older than `catch_up` when Temporal was there again")


class ScheduleList(BaseModel):
    schedules: list[ScheduleShown]


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoteSchedule(_Wish):
    """Why."""

    note: str | None = Field(None, max_length=1000)


class BackfillSchedule(_Wish):
    """The range whose starts are to be made up for, both ends included."""

    from_: AwareDatetime = Field(alias="from", examples=["2026-11-01T00:00:00Z"])
    to: AwareDatetime = Field(examples=["2026-11-02T00:00:00Z"])
    overlap: Literal["buffer-all", "skip", "buffer-one", "cancel-other", "terminate-other", "allow-all"] = Field(
        "buffer-all", description="Without it one run after the other"
    )


class Backfilled(BaseModel):
    """The moments for which runs are started."""

    scheduled_times: list[datetime]


def router(client: Client) -> APIRouter:
    """The operations on schedules."""
    api = APIRouter(prefix="/v1/schedules", tags=["schedules"])
    schedules = Schedules(client)
    _looking(api, schedules)
    _acting(api, schedules)
    return api


def _looking(api: APIRouter, schedules: Schedules) -> None:
    @api.get("", operation_id="listSchedules", summary="List schedules")
    async def listed(flow: str | None = None) -> ScheduleList:
        return ScheduleList(schedules=[_shown(one) for one in await schedules.list(flow)])

    @api.get("/{flow}/{trigger}", operation_id="getSchedule", summary="Look at a schedule")
    async def show(flow: str, trigger: str) -> ScheduleShown:
        return _shown(await schedules.get(flow, trigger))


def _acting(api: APIRouter, schedules: Schedules) -> None:
    @api.post("/{flow}/{trigger}/pause", operation_id="pauseSchedule", summary="Start nothing until it is resumed")
    async def pause(flow: str, trigger: str, body: NoteSchedule | None = None) -> ScheduleShown:
        """It stays paused when the flow is published again."""
        return _shown(await schedules.pause(flow, trigger, body.note if body else None))

    @api.post("/{flow}/{trigger}/resume", operation_id="resumeSchedule", summary="Go on after a pause")
    async def resume(flow: str, trigger: str, body: NoteSchedule | None = None) -> ScheduleShown:
        return _shown(await schedules.resume(flow, trigger, body.note if body else None))

    @api.post("/{flow}/{trigger}/trigger", status_code=202, operation_id="triggerSchedule", summary="Start a run now")
    async def trigger(flow: str, trigger: str) -> ScheduleShown:
        """Also while the schedule is paused or a run of it goes on."""
        return _shown(await schedules.trigger(flow, trigger))

    @api.post(
        "/{flow}/{trigger}/backfill",
        status_code=202,
        operation_id="backfillSchedule",
        summary="Start the runs of a time that is past",
    )
    async def backfill(flow: str, trigger: str, body: BackfillSchedule) -> Backfilled:
        """Every start that the schedule would have made in the range, also those that it did make."""
        return Backfilled(
            scheduled_times=list(await schedules.backfill(flow, trigger, body.from_, body.to, body.overlap))
        )


def _shown(info: ScheduleInfo) -> ScheduleShown:
    return ScheduleShown(**asdict(info))
