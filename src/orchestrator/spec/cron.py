"""Cron texts: read into calendars, which are unions of exact fields.

Five fields (minute hour day month weekday) or six (seconds in front), ``@daily`` and its like. A field is ``*``, a
number, a range ``a-b``, a list, a step ``*/n`` or ``a/n``; months and weekdays have names; ``L`` is the last day of a
month, ``FRI#2`` the second Friday, ``FRIL`` the last. Where day and weekday are both restricted, either of them is
enough, as everywhere in cron.
"""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

YEARS = tuple(range(2000, 2101))
"""The years that a calendar with years may name: those Temporal takes."""
_WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_ITEM = re.compile(r"(\*|\?|[0-9A-Za-z]+(?:-[0-9A-Za-z]+)?)(?:/(\d+))?")
_NTH = re.compile(r"([0-9A-Za-z]+?)(L|#\d)", re.IGNORECASE)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()


_SECOND, _MINUTE, _HOUR = _Field("second", 0, 59), _Field("minute", 0, 59), _Field("hour", 0, 23)
_DAY, _MONTH = _Field("day of month", 1, 31), _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day of week", 0, 7, _DAYS)
_EVERY_DAY, _EVERY_MONTH, _EVERY_WEEKDAY = tuple(range(1, 32)), tuple(range(1, 13)), tuple(range(7))
_LEAP = tuple(year for year in YEARS if calendar.isleap(year))
_COMMON = tuple(year for year in YEARS if not calendar.isleap(year))
_LAST_DAYS: tuple[tuple[int, tuple[int, ...], tuple[int, ...] | None], ...] = (
    (31, (1, 3, 5, 7, 8, 10, 12), None),
    (30, (4, 6, 9, 11), None),
    (29, (2,), _LEAP),
    (28, (2,), _COMMON),
)
"""The last day, the months that have it, in which years (None: all)."""


@dataclass(frozen=True, slots=True)
class Days:
    """Dates: those that fit every member."""

    days: tuple[int, ...] = _EVERY_DAY
    months: tuple[int, ...] = _EVERY_MONTH
    weekdays: tuple[int, ...] = _EVERY_WEEKDAY
    """0 is Sunday."""
    years: tuple[int, ...] | None = None
    """None: every year."""

    def has(self, date: datetime.date) -> bool:
        """Whether a date fits."""
        return (
            date.day in self.days
            and date.month in self.months
            and date.isoweekday() % 7 in self.weekdays
            and (self.years is None or date.year in self.years)
        )

    def both(self, other: Days) -> Days:
        """The dates of both."""
        years = self.years if other.years is None else other.years if self.years is None else None
        if self.years is not None and other.years is not None:
            years = _common(self.years, other.years)
        return Days(
            _common(self.days, other.days),
            _common(self.months, other.months),
            _common(self.weekdays, other.weekdays),
            years,
        )

    @property
    def possible(self) -> bool:
        """Whether there is any such date."""
        last = max((day for day, months, _ in _LAST_DAYS if _common(months, self.months)), default=0)
        return bool(self.days and self.weekdays and self.years != ()) and min(self.days) <= last


@dataclass(frozen=True, slots=True)
class Calendar:
    """Moments of a local clock: the dates, and on each of them every combination of hour, minute and second."""

    dates: Days
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...] = (0,)

    def without(self, date: datetime.date, hours: tuple[int, ...]) -> Iterator[Calendar]:
        """What is left without some hours of one date, in parts that do not overlap."""
        if not self.dates.has(date) or not _common(self.hours, hours):
            yield self
            return
        dates = self.dates
        years = tuple(year for year in (dates.years or YEARS) if year != date.year)
        months = tuple(month for month in dates.months if month != date.month)
        days = tuple(day for day in dates.days if day != date.day)
        rest = tuple(hour for hour in self.hours if hour not in hours)
        this_year = replace(dates, years=(date.year,))
        this_month = replace(this_year, months=(date.month,))
        parts = (
            replace(self, dates=replace(dates, years=years)),
            replace(self, dates=replace(this_year, months=months)),
            replace(self, dates=replace(this_month, days=days)),
            replace(self, dates=replace(this_month, days=(date.day,)), hours=rest),
        )
        yield from (part for part in parts if part.hours and part.dates.months and part.dates.possible)


def read_cron(text: str) -> tuple[Calendar, ...]:
    """The calendars of a cron text; together they are what it says. Raises ValueError, in words, for a text that is no
    cron or names no moment at all."""
    fields = _WORDS.get(text.strip().lower(), text).split()
    if text.strip().startswith("@") and len(fields) == 1:
        raise ValueError(f"{text!r} is not known; there is {', '.join(_WORDS)}")
    if len(fields) not in (5, 6):
        raise ValueError(
            f"{text!r} has {len(fields)} field(s); cron has five: minute hour day month weekday, or six with the "
            "second in front"
        )
    if len(fields) == 5:
        fields = ["0", *fields]
    seconds, minutes, hours = (
        _plain(one, field) for one, field in zip(fields, (_SECOND, _MINUTE, _HOUR), strict=False)
    )
    months = _plain(fields[4], _MONTH)
    found = [replace(one, months=_common(one.months, months)) for one in _dates(fields[3], fields[5])]
    possible = [one for one in found if one.months and one.possible]
    if not possible:
        raise ValueError(f"{text!r} never comes: none of these months has such a day")
    return tuple(Calendar(one, hours, minutes, seconds) for one in possible)


def _dates(day: str, weekday: str) -> list[Days]:
    """What day and weekday together allow. Raises ValueError."""
    by_day, by_weekday = _by_day(day), _by_weekday(weekday)
    if day[0] in "*?" or weekday[0] in "*?":
        return [one.both(other) for one in by_day for other in by_weekday]
    return [*by_day, *by_weekday]


def _by_day(text: str) -> list[Days]:
    items = text.upper().split(",")
    last = [Days((end,), months, years=years) for end, months, years in _LAST_DAYS] if "L" in items else []
    others = ",".join(item for item in items if item != "L")
    return [Days(_plain(others, _DAY)), *last] if others else last


def _by_weekday(text: str) -> list[Days]:
    plain: list[str] = []
    found: list[Days] = []
    for item in text.split(","):
        match = _NTH.fullmatch(item)
        if match is None:
            plain.append(item)
            continue
        weekdays = _plain(match[1], _WEEKDAY)
        if match[2].upper() == "L":
            found += [
                Days(tuple(range(last - 6, last + 1)), months, weekdays, years) for last, months, years in _LAST_DAYS
            ]
            continue
        number = int(match[2][1:])
        if not 1 <= number <= 5:
            raise ValueError(f"{item!r} is no day of week: a month has the first to the fifth of a weekday")
        found.append(Days(tuple(range(7 * number - 6, min(7 * number, 31) + 1)), weekdays=weekdays))
    return [Days(weekdays=_plain(",".join(plain), _WEEKDAY)), *found] if plain else found


def _plain(text: str, field: _Field) -> tuple[int, ...]:
    """The numbers of one field. Raises ValueError."""
    numbers: list[int] = []
    for item in text.split(","):
        match = _ITEM.fullmatch(item)
        if match is None or (match[1] == "?" and field not in (_DAY, _WEEKDAY)):
            raise ValueError(f"{text!r} is no {field.name}; write *, a number, a range a-b, a list a,b or a step */n")
        step = int(match[2] or 1)
        if step == 0:
            raise ValueError(f"{text!r} is no {field.name}: a step is at least 1")
        first, last = _span(match[1], field, open_ended=match[2] is not None)
        numbers += range(first, last + 1, step)
    if field is _WEEKDAY:
        numbers = [number % 7 for number in numbers]
    return tuple(sorted(dict.fromkeys(numbers)))


def _span(text: str, field: _Field, *, open_ended: bool) -> tuple[int, int]:
    if text in ("*", "?"):
        return field.low, 6 if field is _WEEKDAY else field.high
    parts = [_number(part, field) for part in text.split("-")]
    if len(parts) == 1:
        return parts[0], field.high if open_ended else parts[0]
    first, last = parts
    if field is _WEEKDAY and last == 0 and first > 0:
        last = 7  # FRI-SUN: the week may end with Sunday.
    if first > last:
        raise ValueError(f"{text!r} is no {field.name}: the range runs backwards")
    return first, last


def _number(text: str, field: _Field) -> int:
    if text.isascii() and text.isdigit() and field.low <= int(text) <= field.high:
        return int(text)
    if text.upper() in field.words:
        return field.words.index(text.upper()) + field.low
    raise ValueError(f"{text!r} is no {field.name}; it goes from {field.low} to {field.high}")


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(number for number in one if number in other)
