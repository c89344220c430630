"""A schedule trigger's clock as Temporal's spec, right also where a zone's clock is put forward or back.

Temporal itself leaves out moments that a clock skips, and where an hour comes twice it runs a daily schedule twice or
leaves out two hours of a frequent one, depending on the zone. So the hours around such a change are taken out of the
calendars and their moments are written down one by one. Where a zone skips midnight (Havana, Santiago, Cairo), it may
find no next moment at all, and the schedule would be silent for good: there all dates of more than a year are written
down, in UTC. What is meant by the moments:

- a time that the clock skips comes as much later as the clock was put forward;
- a time that comes twice counts once, the first time;
- but a schedule of every hour (``*/15 * * * *``) goes by the time that passes: nothing skipped, nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from temporalio.client import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

from orchestrator.spec.cron import Calendar, Days, read_cron
from orchestrator.spec.definition import Json

_HOUR = timedelta(hours=1)
_EVERY_HOUR = tuple(range(24))
_BEHIND, _AHEAD = timedelta(days=31), timedelta(days=430)
"""Changes of a zone's clock are looked for so long before and after now: the spec is written anew long before."""
_ONCE = timedelta(days=3650)
"""The interval of a moment that is meant once: the next one comes long after the spec was written anew."""
_MOST_MOMENTS = 400
"""More frequent schedules than that are left to Temporal in the hours of a change."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A moment at which a zone's clock is put forward or back, and the full local hours that it makes ambiguous or
    skips."""

    at: datetime
    first: datetime
    hours: int
    skips_midnight: bool

    def cells(self) -> dict[date, tuple[int, ...]]:
        """The hours by local date."""
        found: dict[date, tuple[int, ...]] = {}
        for number in range(self.hours):
            hour = self.first + number * _HOUR
            found[hour.date()] = (*found.get(hour.date(), ()), hour.hour)
        return found


def spec_of(trigger: Mapping[str, Json], now: datetime) -> ScheduleSpec:
    """The spec of a stored schedule trigger, as of ``now``: the same within a calendar month."""
    jitter = timedelta(seconds=trigger["jitter"]) if trigger.get("jitter") else None
    if trigger.get("every") is not None:
        every = ScheduleIntervalSpec(every=timedelta(seconds=trigger["every"]))
        return ScheduleSpec(intervals=[every], jitter=jitter, time_zone_name="UTC")
    text, name = str(trigger["cron"]), str(trigger.get("timezone") or "UTC")
    zone, calendars = ZoneInfo(name), read_cron(text)
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    changes = list(_changes(zone, month))
    shift = _same_in_utc(calendars, zone, now) if changes else None
    if shift is not None:
        minutes = tuple(sorted((minute - shift) % 60 for minute in calendars[0].minutes))
        calendars, changes, name = (replace(calendars[0], minutes=minutes),), [], "UTC"
    elif any(change.skips_midnight for change in changes) and _per_day(calendars) <= _MOST_MOMENTS:
        calendars, changes, name = tuple(_written_down(calendars, zone, month)), [], "UTC"
    moments: set[datetime] = set()
    for change in changes:
        calendars, taken_out = _without(calendars, change, zone)
        moments |= taken_out
    return ScheduleSpec(
        calendars=[_calendar(one, text) for one in calendars],
        intervals=[_once(moment) for moment in sorted(moments)],
        jitter=jitter,
        time_zone_name=name,
    )


def _changes(zone: ZoneInfo, month: datetime) -> Iterator[_Change]:
    """The zone's changes around a month."""
    start, end = month - _BEHIND, month + _AHEAD
    days = [start + timedelta(days=number) for number in range((end - start).days + 1)]
    for before, after in pairwise(days):
        if _offset(before, zone) == _offset(after, zone):
            continue
        while after - before > timedelta(seconds=1):
            middle = (before + (after - before) / 2).replace(microsecond=0)
            before, after = (middle, after) if _offset(middle, zone) == _offset(before, zone) else (before, middle)
        ends = sorted((after + _offset(before, zone), after + _offset(after, zone)))
        first = ends[0].replace(minute=0, second=0, tzinfo=None)
        hours = -((first - ends[1].replace(tzinfo=None)) // _HOUR)
        skips = ends[1].date() > ends[0].date() or ends[0].time() == time.min
        yield _Change(after, first, hours, skips and _offset(after, zone) > _offset(before, zone))


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _same_in_utc(calendars: tuple[Calendar, ...], zone: ZoneInfo, now: datetime) -> int | None:
    """For a schedule of every hour of every day in a zone whose clock changes by full hours: its minutes past those of
    UTC. Such a schedule is the same by either clock."""
    [first, *others] = calendars
    if others or first.dates != Days() or first.hours != _EVERY_HOUR:
        return None
    shifts = {_offset(now + timedelta(days=days), zone) % _HOUR for days in range(-_BEHIND.days, _AHEAD.days + 32, 10)}
    minutes, rest = divmod(shifts.pop(), timedelta(minutes=1))
    return None if shifts or rest else minutes


def _per_day(calendars: tuple[Calendar, ...]) -> int:
    return sum(len(one.hours) * len(one.minutes) * len(one.seconds) for one in calendars)


def _written_down(calendars: tuple[Calendar, ...], zone: ZoneInfo, month: datetime) -> Iterator[Calendar]:
    """The same moments by the clock of UTC, date by date."""
    by_date: dict[date, set[time]] = {}
    first = (month - _BEHIND).date()
    for number in range((_BEHIND + _AHEAD).days):
        day = first + timedelta(days=number)
        for one in (one for one in calendars if one.dates.has(day)):
            for moment in _of_day(one, day, zone):
                by_date.setdefault(moment.date(), set()).add(moment.time())
    grouped: dict[tuple[int, int, tuple[time, ...]], list[int]] = {}
    for day, times in sorted(by_date.items()):
        grouped.setdefault((day.year, day.month, tuple(sorted(times))), []).append(day.day)
    for (year, number, moments), days in grouped.items():
        hours: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
        for hour in dict.fromkeys(at.hour for at in moments):
            minutes = tuple(dict.fromkeys(at.minute for at in moments if at.hour == hour))
            seconds = tuple(dict.fromkeys(at.second for at in moments if at.hour == hour))
            hours.setdefault((minutes, tuple(sorted(seconds))), []).append(hour)
        dates = Days(days=tuple(days), months=(number,), years=(year,))
        yield from (Calendar(dates, tuple(found), *rest) for rest, found in hours.items())


def _of_day(one: Calendar, day: date, zone: ZoneInfo) -> Iterator[datetime]:
    """The moments of one local date."""
    if one.hours == _EVERY_HOUR:
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)
        yield from _passing(one, day, one.hours, noon, timedelta(hours=14), zone)
        return
    for hour in one.hours:
        yield from _of_hour(one, day, hour, zone)


def _of_hour(one: Calendar, day: date, hour: int, zone: ZoneInfo) -> Iterator[datetime]:
    for minute in one.minutes:
        for second in one.seconds:
            # fold=0: the first of two, and by the clock before the change where there is none.
            local = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
            yield local.astimezone(UTC)


def _without(
    calendars: tuple[Calendar, ...], change: _Change, zone: ZoneInfo
) -> tuple[tuple[Calendar, ...], set[datetime]]:
    """The calendars without the hours of a change, and the moments that these are to have."""
    moments = set(_moments(calendars, change, zone))
    if len(moments) > _MOST_MOMENTS:
        return calendars, set()
    for day, hours in change.cells().items():
        calendars = tuple(part for one in calendars for part in one.without(day, hours))
    return calendars, moments


def _moments(calendars: tuple[Calendar, ...], change: _Change, zone: ZoneInfo) -> Iterator[datetime]:
    for day, hours in change.cells().items():
        for one in (one for one in calendars if one.dates.has(day)):
            if one.hours == _EVERY_HOUR:
                yield from _passing(one, day, hours, change.at, timedelta(hours=change.hours + 1), zone)
                continue
            for hour in (hour for hour in hours if hour in one.hours):
                yield from _of_hour(one, day, hour, zone)


def _passing(
    one: Calendar, day: date, hours: tuple[int, ...], middle: datetime, around: timedelta, zone: ZoneInfo
) -> Iterator[datetime]:
    """The moments by the time that passes, both times of an hour that comes twice."""
    minute = (middle - around).replace(second=0)
    while minute < middle + around:
        local = minute.astimezone(zone)
        if local.date() == day and local.hour in hours and local.minute in one.minutes:
            yield from (minute.replace(second=second) for second in one.seconds)
        minute += timedelta(minutes=1)


def _once(moment: datetime) -> ScheduleIntervalSpec:
    return ScheduleIntervalSpec(every=_ONCE, offset=timedelta(seconds=int(moment.timestamp())) % _ONCE)


def _calendar(one: Calendar, text: str) -> ScheduleCalendarSpec:
    dates = one.dates
    return ScheduleCalendarSpec(
        second=_ranges(one.seconds),
        minute=_ranges(one.minutes),
        hour=_ranges(one.hours),
        day_of_month=_ranges(dates.days),
        month=_ranges(dates.months),
        year=() if dates.years is None else _ranges(dates.years),
        day_of_week=_ranges(dates.weekdays),
        comment=text,
    )


def _ranges(numbers: tuple[int, ...]) -> tuple[ScheduleRange, ...]:
    """Ascending numbers as Temporal writes them: one range with a step where they are one, else runs."""
    if len(numbers) == 1:
        return (ScheduleRange(numbers[0], numbers[0], 1),)
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) == 1:
        return (ScheduleRange(numbers[0], numbers[-1], steps.pop()),)
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return tuple(ScheduleRange(first, last, 1) for first, last in runs)
