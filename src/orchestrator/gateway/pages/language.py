"""The languages of the pages: which one a reader gets, its words, and how it writes moments and lengths of time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from starlette.requests import Request

LANGUAGES = {"en": "English", "ko": "한국어"}
"""By code, each called as it calls itself. The first is what readers of no other get."""
PARAMETER = "lang"
COOKIE = "orchestrator_lang"
_TEXTS = Path(__file__).parent / "texts"
_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))
_SIZES = ("B", "KB", "MB", "GB")
_WANTED = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,35})?\s*(?:;\s*q=\s*([01](?:\.\d{0,3})?)\s*)?")


class Language:
    """One language. ``zone`` is where its moments are told for."""

    def __init__(self, code: str, zone: tzinfo = UTC) -> None:
        self.code = code
        self._zone = zone
        self._texts = texts_of(code)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of that key, such as ``base.skip``, its ``{names}`` filled in. Of a text in two forms ``count``
        chooses one."""
        text = self._texts[key]
        if isinstance(text, Mapping):
            text = text["one" if values.get("count") == 1 else "other"]
        return str(text).format_map(values)

    def has(self, key: str) -> bool:
        """Whether there is such a text: for words that data chooses."""
        return key in self._texts

    def moment(self, moment: datetime) -> str:
        """Day, minute and zone."""
        there = moment.astimezone(self._zone)
        month = self(f"base.month_{there.month}")
        return self(
            "base.moment",
            year=there.year,
            month=month,
            day=there.day,
            time=f"{there:%H:%M}",
            zone=there.tzname() or "UTC",
        )

    def relative(self, moment: datetime, now: datetime) -> str:
        """How far away the moment is, in one unit."""
        seconds = (moment - now).total_seconds()
        unit, size = next(((unit, size) for unit, size in _UNITS if abs(seconds) >= size), _UNITS[-1])
        count = int(abs(seconds) // size)
        if unit == "seconds":
            return self("base.now")
        return self("base.ahead" if seconds > 0 else "base.ago", length=self(f"base.{unit}", count=count))

    def bytes(self, count: int) -> str:
        """A size in the unit that leaves it short."""
        size, unit = float(count), 0
        while size >= 1_000 and unit < len(_SIZES) - 1:
            size, unit = size / 1_000, unit + 1
        return (
            f"{size:.1f}".removesuffix(".0") + f" {_SIZES[unit]}"
            if unit and size < 10
            else f"{size:.0f} {_SIZES[unit]}"
        )

    def duration(self, seconds: float) -> str:
        """A length of time in its two largest units, or milliseconds."""
        if seconds < 1:
            return self("base.milliseconds", count=max(0, round(seconds * 1000)))
        if seconds < 10:
            return self("base.short_seconds", count=f"{seconds:.1f}".removesuffix(".0"))
        left, parts = round(seconds), []
        for unit, size in _UNITS:
            count, left = divmod(left, size)
            if count:
                parts.append(self(f"base.short_{unit}", count=count))
        return " ".join(parts[:2])


@cache
def texts_of(code: str) -> Mapping[str, Any]:
    """Every text of a language by ``file.key``."""
    return {
        f"{file.stem}.{key}": text
        for file in sorted((_TEXTS / code).glob("*.yaml"))
        for key, text in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    }


def chosen(request: Request) -> str | None:
    """The language that the address asks for."""
    asked = request.query_params.get(PARAMETER)
    return asked if asked in LANGUAGES else None


def language_of(request: Request) -> str:
    """The reader's language: the one asked for, the one chosen before, the browser's first that there is."""
    asked = chosen(request) or request.cookies.get(COOKIE)
    if asked in LANGUAGES:
        return asked
    return preferred(request.headers.get("accept-language", ""))


def preferred(header: str) -> str:
    """The language of an ``Accept-Language`` header."""
    best, weight = next(iter(LANGUAGES)), 0.0
    for part in header[:500].split(","):
        found = _WANTED.fullmatch(part)
        code = found[1].lower() if found else ""
        given = float(found[2] or 1) if found else 0.0
        if code in LANGUAGES and given > weight:
            best, weight = code, given
    return best
