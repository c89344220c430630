"""Functions of the `content-publishing` flow: what a thread has to be, and when to publish where."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from temporalio import activity

from orchestrator.errors import TerminalError

Audience = Literal["developers", "managers", "consumers"]
Platform = Literal["twitter", "linkedin", "blog"]

TWEET = 280
LINK = 23
"""How much a link counts, however long it is."""
SHORTEST, LONGEST = 5, 7
"""Tweets of a thread: a hook, three to five points, a call to action."""

MONDAY_TO_FRIDAY, MIDWEEK, EVERY_DAY = range(5), range(1, 4), range(7)
HOURS: dict[Platform, dict[Audience, tuple[range, tuple[time, ...]]]] = {
    "twitter": {
        "developers": (MONDAY_TO_FRIDAY, (time(10), time(15))),
        "managers": (MIDWEEK, (time(12),)),
        "consumers": (EVERY_DAY, (time(12), time(20))),
    },
    "linkedin": {
        "developers": (MIDWEEK, (time(9),)),
        "managers": (MIDWEEK, (time(8, 30), time(12))),
        "consumers": (MONDAY_TO_FRIDAY, (time(17, 30),)),
    },
    "blog": {
        "developers": (MONDAY_TO_FRIDAY, (time(7),)),
        "managers": (MONDAY_TO_FRIDAY, (time(6, 30),)),
        "consumers": (EVERY_DAY, (time(9), time(18))),
    },
}
"""Weekdays, Monday being 0, and hours at which an audience reads."""
_LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Thread:
    """A thread as Claude wrote it, and the address that its end has to lead to."""

    tweets: list[str]
    link: str


@dataclass(frozen=True)
class Campaign:
    """Who shall read, where, and from when on."""

    audience: Audience
    timezone: str
    now: str
    """The run's time, so that the same run always computes the same."""
    schedule: Literal["best", "now"] = "best"


@activity.defn
def check_thread(thread: Thread) -> dict[str, object]:
    """``{ok, problems}``: the number of tweets, the length of each as the network counts it, the link at the end."""
    problems = list(_problems(thread))
    return {"ok": not problems, "problems": problems}


@activity.defn
def best_times(campaign: Campaign) -> dict[str, str]:
    """When to publish on each platform: the next moment, by the audience's clock, at which it reads there."""
    try:
        zone = ZoneInfo(campaign.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"'{campaign.timezone}' is no time zone; write one such as Asia/Seoul"
        raise TerminalError("unknown_timezone", message) from error
    now = datetime.fromisoformat(campaign.now)
    if campaign.schedule == "now":
        return {platform: now.isoformat() for platform in HOURS}
    return {
        platform: next(_moments(now.astimezone(zone), *hours[campaign.audience])).isoformat()
        for platform, hours in HOURS.items()
    }


def counted(tweet: str) -> int:
    """The length of a tweet as the network counts it: wide letters are two, a link is as long as any other."""
    text = _LINK.sub("", tweet)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide + LINK * len(_LINK.findall(tweet))


def _problems(thread: Thread) -> Iterator[str]:
    count = len(thread.tweets)
    if not SHORTEST <= count <= LONGEST:
        yield f"the thread has {count} tweets; write {SHORTEST} to {LONGEST}"
    for number, tweet in enumerate(thread.tweets, 1):
        if not tweet.strip():
            yield f"tweet {number} is empty"
        elif counted(tweet) > TWEET:
            yield f"tweet {number} counts {counted(tweet)} characters; at most {TWEET} are allowed"
    if thread.tweets and thread.link not in thread.tweets[-1]:
        yield f"the last tweet does not lead to {thread.link}"


def _moments(now: datetime, weekdays: range, hours: tuple[time, ...]) -> Iterator[datetime]:
    """Every moment from now on at which the audience reads, in order."""
    for days in range(15):
        day = now.date() + timedelta(days=days)
        for hour in hours if day.weekday() in weekdays else ():
            moment = datetime.combine(day, hour, now.tzinfo)
            if moment > now:
                yield moment
