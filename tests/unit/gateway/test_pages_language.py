"""The languages of the pages: both say the same things, and readers get the one they want."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.gateway.pages.language import LANGUAGES, Language, preferred, texts_of

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def names_in(text: Any) -> set[str]:
    """The names that a text has filled in, whichever form it takes."""
    forms: Iterator[Any] = iter(text.values()) if isinstance(text, dict) else iter([text])
    return {name for form in forms for _, name, _, _ in string.Formatter().parse(str(form)) if name}


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_has_every_text_and_fills_in_the_same_names(code: str) -> None:
    first, other = texts_of("en"), texts_of(code)
    assert sorted(other) == sorted(first)
    assert {key: names_in(text) for key, text in other.items()} == {key: names_in(text) for key, text in first.items()}
    for key, text in other.items():
        assert not isinstance(text, dict) or set(text) == {"one", "other"}, key
        assert isinstance(text, dict | str) and text, f"{key}: quote what YAML takes for something else"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("en-GB, ko;q=0.9", "en"),
        ("fr, ko;q=0.5, en;q=0.2", "ko"),
        ("ko;q=0, en;q=0.1", "en"),
        ("fr-CH, de", "en"),
        ("KO", "ko"),
        (";;;,q=9,ko;q=2", "en"),
        ("x" * 100_000, "en"),
    ],
)
def test_a_browser_gets_the_first_of_its_languages_that_there_is(header: str, code: str) -> None:
    assert preferred(header) == code


@pytest.mark.parametrize(
    ("away", "english", "korean"),
    [
        (timedelta(0), "just now", "방금"),
        (timedelta(minutes=1), "in 1 minute", "1분 후"),
        (-timedelta(minutes=59, seconds=59), "59 minutes ago", "59분 전"),
        (timedelta(hours=23), "in 23 hours", "23시간 후"),
        (-timedelta(days=1, hours=5), "1 day ago", "1일 전"),
        (timedelta(days=400), "in 400 days", "400일 후"),
    ],
)
def test_a_moment_is_told_from_now(away: timedelta, english: str, korean: str) -> None:
    assert Language("en").relative(NOW + away, NOW) == english
    assert Language("ko").relative(NOW + away, NOW) == korean


@pytest.mark.parametrize(
    ("seconds", "english", "korean"),
    [
        (0.0, "0 ms", "0ms"),
        (0.25, "250 ms", "250ms"),
        (3.0, "3 s", "3초"),
        (3.21, "3.2 s", "3.2초"),
        (59.7, "1 min", "1분"),
        (61.0, "1 min 1 s", "1분 1초"),
        (7322.0, "2 h 2 min", "2시간 2분"),
        (90_061.0, "1 d 1 h", "1일 1시간"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(seconds: float, english: str, korean: str) -> None:
    assert Language("en").duration(seconds) == english
    assert Language("ko").duration(seconds) == korean


def test_a_moment_is_told_for_the_zone_of_the_pages() -> None:
    assert Language("en").moment(NOW) == "1 Mar 2026, 12:00 UTC"
    assert Language("ko", ZoneInfo("Asia/Seoul")).moment(NOW) == "2026년 3월 1일 21:00 KST"
