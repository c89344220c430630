"""What a thread has to be, and when to publish: rules and clocks."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TerminalError
from orchestrator.steps.function.handlers import discover, invoke_arguments

FUNCTIONS = discover(Path(__file__).parents[2] / "activities")
LINK = "https://example.com/" + "a" * 300
Json = Any


def call(name: str, given: Json) -> Json:
    """The function with JSON, as the worker calls it."""
    function = FUNCTIONS[name]
    return function.call(*invoke_arguments(function, [given]))


def problems(*tweets: str) -> str:
    """What is wrong with a thread of these, three more, and an end with the link."""
    thread = [*tweets, "one", "two", "three", f"Read it: {LINK}"]
    return "; ".join(call("check_thread", {"tweets": thread, "link": LINK})["problems"])


def times(now: str, audience: str = "developers", timezone: str = "Asia/Seoul", **more: str) -> dict[str, datetime]:
    given = {"audience": audience, "timezone": timezone, "now": now} | more
    return {name: datetime.fromisoformat(moment) for name, moment in call("best_times", given).items()}


@pytest.mark.parametrize("tweet", ["a" * 280, "가" * 140, "a" * 256 + " " + LINK])
def test_a_tweet_is_counted_as_the_network_counts_it(tweet: str) -> None:
    assert problems(tweet) == ""
    assert "tweet 1 counts 281 characters" in problems(f"!{tweet}")


def test_a_thread_has_five_to_seven_tweets_none_empty_and_leads_to_the_article() -> None:
    assert "the thread has 8 tweets" in problems("a", "b", "c", "d")
    assert "tweet 1 is empty" in problems("  ")
    short = call("check_thread", {"tweets": ["one"], "link": LINK})
    assert short["ok"] is False
    assert "the thread has 1 tweets; write 5 to 7" in short["problems"]
    assert any("does not lead to" in problem for problem in short["problems"])
    assert "the thread has 0 tweets" in call("check_thread", {"tweets": [], "link": LINK})["problems"][0]


@pytest.mark.parametrize(
    ("now", "twitter"),
    [
        ("2026-03-02T00:30:00Z", "2026-03-02T10:00:00+09:00"),  # Monday 09:30 in Seoul: today
        ("2026-03-02T01:00:00Z", "2026-03-02T15:00:00+09:00"),  # ten o'clock itself: the next hour
        ("2026-03-06T07:00:00Z", "2026-03-09T10:00:00+09:00"),  # Friday 16:00: Monday
    ],
)
def test_the_next_moment_by_the_audiences_clock_is_chosen(now: str, twitter: str) -> None:
    assert times(now)["twitter"] == datetime.fromisoformat(twitter)


def test_a_change_of_the_clocks_leaves_the_hour_as_the_readers_know_it() -> None:
    before, after = (
        times(now, "consumers", "Europe/Berlin")["blog"] for now in ("2026-03-28T07:00Z", "2026-03-29T00:30Z")
    )
    assert (before.hour, after.hour) == (9, 9)
    assert before.utcoffset() != after.utcoffset()


def test_every_audience_has_a_time_on_every_platform_within_a_week() -> None:
    for audience in ("developers", "managers", "consumers"):
        found = times("2026-03-02T12:00:00Z", audience)
        assert set(found) == {"twitter", "linkedin", "blog"}
        assert all(0 < (at - datetime.fromisoformat("2026-03-02T12:00:00Z")).days + 1 <= 7 for at in found.values())


def test_now_is_now_and_an_unknown_zone_is_told() -> None:
    now = datetime.fromisoformat("2026-03-02T12:00:00Z")
    assert set(times("2026-03-02T12:00:00Z", schedule="now").values()) == {now}
    with pytest.raises(TerminalError, match="'Atlantis/Harbour' is no time zone"):
        times("2026-03-02T12:00:00Z", timezone="Atlantis/Harbour")
    with pytest.raises(TerminalError, match="is no time zone"):
        times("2026-03-02T12:00:00Z", timezone="../secrets")
