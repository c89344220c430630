"""What the local stand-in says in the publishing flow, so that it runs without a key. It cuts the article into
sentences. Its first thread says them as long as they are; told what is too long, it shortens. It likes no drafts."""

from __future__ import annotations

import json
import re
from typing import Any

from orchestrator.testing.claude_replies import Reply, When
from orchestrator.testing.claude_request import Request

Json = Any

POINTS = 4
SHORT = 90


def tagged(request: Request, tag: str) -> str:
    """What stands between tags."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", request.prompt, re.DOTALL)
    return found[1].strip() if found else ""


def sentences(text: str) -> list[str]:
    """The sentences of an article; one that has few says some twice."""
    found = [part.strip() for part in re.split(r"(?<=[.!?。])\s+", text) if part.strip()]
    return (found * POINTS)[: max(POINTS, len(found))]


def analyse(request: Request) -> Reply:
    """The first sentences are the message."""
    said = sentences(tagged(request, "article"))
    words = dict.fromkeys(word for word in re.findall(r"\w{6,}", said[0]) if word.isalpha())
    return Reply.json(
        {
            "key_messages": said[:POINTS],
            "tone": "plain",
            "quotes": said[:1],
            "hashtags": [f"#{word.lower()}" for word in list(words)[:2]],
        }
    )


def thread(request: Request) -> Reply:
    """A sentence for each tweet; whole at first, shortened once something was wrong."""
    analysis = json.loads(tagged(request, "analysis"))
    said = [*analysis["key_messages"], f"Read it all: {tagged(request, 'link')}"]
    if json.loads(tagged(request, "corrections")):
        said = [one if len(one) <= SHORT or "https://" in one else one[:SHORT].rstrip() + "…" for one in said]
    return Reply.json({"tweets": said})


def linkedin(request: Request) -> Reply:
    """The messages as a list."""
    analysis = json.loads(tagged(request, "analysis"))
    return Reply.json({"text": "\n\n".join([*analysis["key_messages"], " ".join(analysis["hashtags"])])})


def blog(request: Request) -> Reply:
    """The article under its first words."""
    article = tagged(request, "article")
    title = " ".join(article.split()[:8])
    return Reply.json({"title": title, "summary": sentences(article)[0], "markdown": f"# {title}\n\n{article}"})


def judge(request: Request) -> Reply:
    """A draft is not good enough."""
    if "draft" in request.prompt.casefold():
        return Reply.json({"score": 55, "issues": [{"platform": "blog", "issue": "It says that it is a draft."}]})
    return Reply.json({"score": 92, "issues": []})


SCRIPT = [
    When("You prepare articles for several channels", analyse),
    When("You write threads", thread),
    When("You write posts for LinkedIn", linkedin),
    When("You write for a blog", blog),
    When("You are the last editor before publication", judge),
]
