"""Helpers for instants. An instant is text in UTC with milliseconds, ``2026-03-01T09:30:00.000Z``: all of one width,
so that comparing two of them as text compares the times. Durations are written as everywhere in a flow."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.helpers import helper
from orchestrator.expressions.library.arguments import text
from orchestrator.expressions.limits import Meter
from orchestrator.expressions.values import NUMBERS, Json, clipped, in_range, shown

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SUM = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:ms|[smhdw]))+")
_PART = re.compile(r"([0-9.]+)(ms|[smhdw])")
_ISO = re.compile(
    r"P(?:(?P<w>[0-9]{1,6})W)?(?:(?P<d>[0-9]{1,8})D)?"
    r"(?:T(?:(?P<h>[0-9]{1,9})H)?(?:(?P<m>[0-9]{1,10})M)?(?:(?P<s>[0-9]{1,12}(?:\.[0-9]{1,9})?)S)?)?"
)
_MONTHS = (  # noqa: SIM905 - a table of names reads best as one line
    "January February March April May June July August September October November December"
).split()
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_DIRECTIVE = re.compile(r"%(-?[a-zA-Z]|%|.|$)", re.DOTALL)


def _moment(meter: Meter, value: Json, name: str, zone: Json = None) -> datetime:
    if type(value) in NUMBERS:
        seconds = in_range(value, f"an argument of `{name}`")
        try:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        except OverflowError as error:
            raise Fault(f"`{name}`: {shown(value)} seconds since 1970 lie outside the years 1 to 9999") from error
    source = text(meter, value, name)
    try:
        moment = datetime.fromisoformat(source.strip()) if len(source) <= 64 else None
    except ValueError:
        moment = None
    if moment is None:
        raise Fault(f"`{name}` reads ISO-8601 such as 2026-03-01T09:30:00Z, or seconds since 1970, not {shown(value)}")
    if moment.tzinfo is None:
        if zone is None:
            raise Fault(
                f"`{name}`: '{clipped(source)}' has no zone; end it with Z or +09:00, or write `date(x, 'Asia/Seoul')`"
            )
        moment = moment.replace(tzinfo=_zone(meter, zone))
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise Fault(f"`{name}`: '{clipped(source)}' lies outside the years 1 to 9999") from error


def _zone(meter: Meter, zone: Json) -> tzinfo:
    name = text(meter, zone, "zone")
    meter.charge(100)
    if name in ("UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name[:64])
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Fault(f"'{clipped(name, 40)}' is not a time zone; write one such as 'Asia/Seoul' or 'UTC'") from error


def _written(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


@helper("x | date(zone)", 1, 2)
def date(meter: Meter, value: Json, zone: Json = None) -> Json:
    """An ISO-8601 text with zone, or seconds since 1970, as UTC text with milliseconds; the zone is that of
    a text without one."""
    return _written(_moment(meter, value, "date", zone))


@helper("x | date_add(duration)", 2)
def date_add(meter: Meter, value: Json, duration: Json) -> Json:
    """The instant that much later, or earlier with a minus: '5m', '-1d', '1h30m', 'PT24H', or seconds."""
    moment = _moment(meter, value, "date_add")
    try:
        return _written(moment + timedelta(seconds=_seconds(meter, duration)))
    except OverflowError as error:
        raise Fault("`date_add` leads outside the years 1 to 9999") from error


@helper("a | date_diff(b)", 2)
def date_diff(meter: Meter, later: Json, earlier: Json) -> Json:
    """Seconds from b to a: positive where a is later."""
    difference = _moment(meter, later, "date_diff") - _moment(meter, earlier, "date_diff")
    seconds = difference.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


@helper("x | date_format(pattern, zone)", 2, 3)
def date_format(meter: Meter, value: Json, pattern: Json, zone: Json = "UTC") -> Json:
    """The instant in a zone, written by a pattern: %Y %y %m %-m %B %b %d %-d %j %H %-H %I %-I %M %S %L
    (milliseconds) %p %A %a %u %V %Z %z %s %%; names are English."""
    moment = _moment(meter, value, "date_format")
    form = text(meter, pattern, "date_format")
    if len(form) > 256:
        raise Fault("the limit of 256 characters for a date pattern is exceeded")
    try:
        local = moment.astimezone(_zone(meter, zone))
    except OverflowError as error:
        raise Fault("`date_format`: the instant lies outside the years 1 to 9999 in that zone") from error
    meter.charge(len(form))
    return _DIRECTIVE.sub(lambda match: _directive(match.group(1), local), form)


def _directive(letter: str, moment: datetime) -> str:
    """One directive, written here and not by the C library, whose names and padding depend on the machine."""
    if letter == "%":
        return "%"
    fields = {
        "Y": f"{moment.year:04d}",
        "y": f"{moment.year % 100:02d}",
        "m": f"{moment.month:02d}",
        "B": _MONTHS[moment.month - 1],
        "b": _MONTHS[moment.month - 1][:3],
        "d": f"{moment.day:02d}",
        "j": f"{moment.timetuple().tm_yday:03d}",
        "H": f"{moment.hour:02d}",
        "I": f"{(moment.hour + 11) % 12 + 1:02d}",
        "M": f"{moment.minute:02d}",
        "S": f"{moment.second:02d}",
        "L": f"{moment.microsecond // 1000:03d}",
        "p": "AM" if moment.hour < 12 else "PM",
        "A": _DAYS[moment.weekday()],
        "a": _DAYS[moment.weekday()][:3],
        "u": str(moment.isoweekday()),
        "V": f"{moment.isocalendar().week:02d}",
        "Z": moment.tzname() or "",
        "z": f"{_offset(moment)}",
        "s": str(math.floor((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())),
    }
    plain = letter.removeprefix("-")
    if plain not in fields or (plain != letter and plain not in "mdHIMSj"):
        raise Fault(f"`date_format` does not know %{clipped(letter, 4)}; there: %{' %'.join(fields)} %%")
    return (fields[plain].lstrip("0") or "0") if plain != letter else fields[plain]


def _offset(moment: datetime) -> str:
    minutes = int((moment.utcoffset() or timedelta()).total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _seconds(meter: Meter, duration: Json) -> float:
    if type(duration) in NUMBERS:
        return float(in_range(duration, "a duration"))
    source = text(meter, duration, "date_add").strip()
    sign = -1.0 if source.startswith("-") else 1.0
    source = source.removeprefix("-")
    if len(source) <= 64 and _SUM.fullmatch(source):
        return sign * sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(source))
    iso = _ISO.fullmatch(source) if len(source) <= 64 else None
    if iso and any(iso.groupdict().values()):
        return sign * sum(float(number) * _UNITS[unit] for unit, number in iso.groupdict().items() if number)
    raise Fault(
        f"{shown(duration)} is not a duration; write 30s, 5m, 24h, 7d, 1h30m, PT24H, or seconds, with - for earlier"
    )


@helper("now()", 0)
def now(meter: Meter) -> Json:
    """The time of the run, as UTC text with milliseconds; the same whenever the run is replayed."""
    return _written(meter.now().astimezone(UTC))


@helper("uuid()", 0)
def uuid(meter: Meter) -> Json:
    """A new random id; the same whenever the run is replayed."""
    return meter.uuid()
