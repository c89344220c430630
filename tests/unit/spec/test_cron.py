"""Cron texts: what they mean, date by date, and what is none."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from orchestrator.spec.cron import read_cron

YEAR = [date(2027, 1, 1) + timedelta(days=number) for number in range(365)]


def dates(text: str) -> list[str]:
    """The dates of 2027 on which a cron comes."""
    calendars = read_cron(text)
    return [f"{day:%m-%d}" for day in YEAR if any(one.dates.has(day) for one in calendars)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 1 JUL *", ["07-01"]),
        ("0 0 L 1-4 *", ["01-31", "02-28", "03-31", "04-30"]),
        ("0 0 L,15 FEB *", ["02-15", "02-28"]),
        ("0 9 * 1,2 FRI#2", ["01-08", "02-12"]),
        ("0 9 * 1,2 5L", ["01-29", "02-26"]),
        ("0 9 ? 1 SUN", ["01-03", "01-10", "01-17", "01-24", "01-31"]),
        ("0 9 * 1 7", ["01-03", "01-10", "01-17", "01-24", "01-31"]),
        ("0 9 1 JAN MON", ["01-01", "01-04", "01-11", "01-18", "01-25"]),
        ("0 9 */10 JAN MON", ["01-11"]),
        ("0 9 28/1 FEB *", ["02-28"]),
        ("0 9 * 2 FRI-SUN", [f"02-{day:02}" for day in (5, 6, 7, 12, 13, 14, 19, 20, 21, 26, 27, 28)]),
        ("@yearly", ["01-01"]),
        ("@MONTHLY", [f"{month:02}-01" for month in range(1, 13)]),
    ],
)
def test_a_cron_comes_on_the_dates_it_says(text: str, expected: list[str]) -> None:
    assert dates(text) == expected


@pytest.mark.parametrize(
    ("text", "hours", "minutes", "seconds"),
    [
        ("*/20 9-11 * * *", (9, 10, 11), (0, 20, 40), (0,)),
        ("5/20 0 * * *", (0,), (5, 25, 45), (0,)),
        ("15,45 30 6,18 * * *", (6, 18), (30,), (15, 45)),
        ("1,1,3-5/2 0 * * *", (0,), (1, 3, 5), (0,)),
        ("@daily", (0,), (0,), (0,)),
    ],
)
def test_a_cron_comes_at_the_times_it_says(
    text: str, hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]
) -> None:
    [calendar] = read_cron(text)
    assert (calendar.hours, calendar.minutes, calendar.seconds) == (hours, minutes, seconds)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0 30 2 *", "never comes: none of these months has such a day"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 30 2 ?", "never comes"),
        ("@reboot", "'@reboot' is not known; there is @hourly, @daily"),
        ("* * * *", "has 4 field(s)"),
        ("* * * * * * *", "has 7 field(s)"),
        ("L * * * *", "'L' is no minute"),
        ("? * * * *", "'?' is no minute"),
        ("0 9 * * FRI#6", "the first to the fifth of a weekday"),
        ("0 9 * * FOOL", "'FOO' is no day of week"),
        ("0 9 * * ,", "is no day of week"),
        ("60 * * * *", "'60' is no minute; it goes from 0 to 59"),
        ("٣ * * * *", "is no minute"),
        ("", "has 0 field(s)"),
    ],
)
def test_what_is_no_cron_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_cron(text)
    assert said in str(refused.value)


def test_a_leap_day_is_a_date_of_leap_years_only() -> None:
    [calendar] = read_cron("0 0 29 2 *")
    days = [date(2024, 1, 1) + timedelta(days=number) for number in range(366 * 9)]
    assert [day.year for day in days if calendar.dates.has(day)] == [2024, 2028, 2032]


@pytest.mark.parametrize("text", ["*/7 3-9 * * *", "0 4 L * 1,3", "0 5 1-15 */2 TUE#3"])
def test_without_some_hours_of_a_date_a_calendar_is_the_same_everywhere_else(text: str) -> None:
    for calendar in read_cron(text):
        for day in YEAR[::29]:
            parts = list(calendar.without(day, (4, 5)))
            for other in YEAR:
                found = sorted(hour for part in parts if part.dates.has(other) for hour in part.hours)
                expected = [hour for hour in calendar.hours if calendar.dates.has(other)]
                assert found == [hour for hour in expected if other != day or hour not in (4, 5)]
