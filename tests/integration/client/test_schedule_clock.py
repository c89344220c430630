"""Schedules as the Temporal server reads them: what ListScheduleMatchingTimes says around changes of a zone's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import temporalio.client
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleState

from orchestrator.client.clock import spec_of
from orchestrator.spec.cron import read_cron

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def stamp(moment: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(moment)
    return found


async def matching(
    temporal: temporalio.client.Client, spec: ScheduleSpec, start: datetime, end: datetime
) -> list[datetime]:
    """When the server would start runs, both ends included."""
    name = f"clock-{uuid4().hex}"
    action = ScheduleActionStartWorkflow("none", [{}], id=name, task_queue="nobody")
    handle = await temporal.create_schedule(name, Schedule(action, spec, state=ScheduleState(paused=True)))
    try:
        answer = await temporal.workflow_service.list_schedule_matching_times(
            ListScheduleMatchingTimesRequest(
                namespace=temporal.namespace,
                schedule_id=name,
                start_time=stamp(start - timedelta(seconds=1)),
                end_time=stamp(end),
            )
        )
    finally:
        await handle.delete()
    return [moment.ToDatetime().replace(tzinfo=UTC) for moment in answer.start_time]


def clock(cron: str, zone: str) -> dict[str, Any]:
    return {"type": "schedule", "cron": cron, "timezone": zone}


BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


@pytest.mark.parametrize(
    ("cron", "zone", "start", "end", "expected"),
    [
        # Spring: 02:00 becomes 03:00. What is skipped comes an hour later by the clock.
        ("30 2 * * *", BERLIN, "2027-03-27T00", "2027-03-30T00", ["27T01:30", "28T01:30", "29T00:30"]),
        ("30 2 * * *", NEW_YORK, "2027-03-13T05", "2027-03-16T05", ["13T07:30", "14T07:30", "15T06:30"]),
        ("0 2,3 * * *", BERLIN, "2027-03-28T00", "2027-03-28T12", ["28T01:00"]),
        # Autumn: an hour comes twice, and counts once.
        ("30 2 * * *", BERLIN, "2027-10-30T00", "2027-11-02T00", ["30T00:30", "31T00:30", "01T01:30"]),
        ("30 1 * * *", NEW_YORK, "2027-11-06T00", "2027-11-09T00", ["06T05:30", "07T05:30", "08T06:30"]),
        ("0 0 * * *", "America/Havana", "2027-11-06T00", "2027-11-09T00", ["06T04:00", "07T04:00", "08T05:00"]),
        # A clock that is put back by half an hour.
        ("45 1 * * *", LORD_HOWE, "2027-04-02T12", "2027-04-05T12", ["02T14:45", "03T14:45", "04T15:15"]),
        # A midnight that does not come, over which Temporal by itself does not find to the next Sunday.
        ("0 9 * * SUN", "America/Havana", "2027-03-08T00", "2027-03-22T00", ["14T13:00", "21T13:00"]),
        ("0 9 1 4 *", "America/Santiago", "2027-02-08T00", "2027-04-22T00", ["01T12:00"]),
        # By the time that passes: no hole and nothing twice.
        ("0 * * * *", BERLIN, "2027-10-30T23", "2027-10-31T03", ["30T23:00", "31T00:00", "31T01:00", "31T02:00", "31T03:00"]),
        ("0 * * * *", BERLIN, "2027-03-28T00", "2027-03-28T02", ["28T00:00", "28T01:00", "28T02:00"]),
        ("30 * * * *", "Asia/Kolkata", "2027-03-28T00", "2027-03-28T02", ["28T00:00", "28T01:00", "28T02:00"]),
        ("0 9 29 2 *", "Asia/Seoul", "2026-01-01T00", "2033-01-01T00", ["29T00:00", "29T00:00"]),
        ("0 18 L 2 *", "UTC", "2027-01-01T00", "2029-01-01T00", ["28T18:00", "29T18:00"]),
        ("30 0 9 * * MON", "UTC", "2027-03-01T00", "2027-03-08T12", ["01T09:00", "08T09:00"]),
    ],
)  # fmt: skip
async def test_a_schedule_comes_when_its_zones_clock_says_also_on_the_days_it_changes(
    temporal: temporalio.client.Client, cron: str, zone: str, start: str, end: str, expected: list[str]
) -> None:
    first, last = (datetime.fromisoformat(f"{one}:00+00:00") for one in (start, end))
    now = first if first > NOW else NOW
    found = await matching(temporal, spec_of(clock(cron, zone), now), first, last)
    assert [f"{moment:%dT%H:%M}" for moment in found] == expected


def meant(cron: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """The moments of a cron, asked minute by minute of the clock on the wall, in another way than the product."""
    calendars = read_cron(cron)
    found: set[datetime] = set()
    moment = start - timedelta(days=1)
    while moment <= end + timedelta(days=1):
        for one in calendars:
            if len(one.hours) == 24:
                local = moment.astimezone(zone).replace(tzinfo=None)
                at = moment
            else:
                local = moment.replace(tzinfo=None)
                at = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
            if one.dates.has(local.date()) and local.hour in one.hours and local.minute in one.minutes:
                found.add(at)
        moment += timedelta(minutes=5)
    return sorted(moment for moment in found if start <= moment <= end)


@pytest.mark.parametrize(
    "zone",
    [BERLIN, "America/St_Johns", LORD_HOWE, "Africa/Cairo"],
)
@pytest.mark.parametrize("cron", ["*/20 0-6 * * *", "*/30 * * * FRI-SUN", "15 0-4,23 1-15 * SUN"])
async def test_every_moment_around_every_change_of_a_zone_is_the_one_that_is_meant(
    temporal: temporalio.client.Client, cron: str, zone: str
) -> None:
    spec, place = spec_of(clock(cron, zone), NOW), ZoneInfo(zone)
    days = [NOW + timedelta(days=number) for number in range(395)]
    offsets = [moment.astimezone(place).utcoffset() for moment in days]
    changes = [day for day, one, other in zip(days, offsets, offsets[1:], strict=False) if one != other]
    assert len(changes) >= 2
    for day in changes:
        start, end = day - timedelta(days=1), day + timedelta(days=3)
        assert await matching(temporal, spec, start, end) == meant(cron, place, start, end)


async def test_seconds_and_intervals_are_kept(temporal: temporalio.client.Client) -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC)
    found = await matching(temporal, spec_of(clock("*/20 30 9 * * *", "UTC"), NOW), start, start + timedelta(days=1))
    assert [moment.strftime("%H:%M:%S") for moment in found] == ["09:30:00", "09:30:20", "09:30:40"]
    every = spec_of({"type": "schedule", "every": 5400.0, "timezone": BERLIN}, NOW)
    found = await matching(temporal, every, start, start + timedelta(hours=4))
    assert [moment.strftime("%H:%M") for moment in found] == ["00:00", "01:30", "03:00"]
