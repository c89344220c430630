"""Where articles are published: a blog and two networks behind one API. The same key publishes once."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, HTTPException
from pydantic import BaseModel

Json = Any
Platform = Literal["twitter", "linkedin", "blog"]

router = APIRouter(prefix="/publishing")

MOST_LETTERS = 280 * 2
"""What this service takes in a tweet: it does not count as the network does, but refuses nonsense."""


class Post(BaseModel):
    """What is published for a campaign."""

    campaign: str
    content: Json


_posts: dict[str, Json] = {}
_numbers = itertools.count(1)


@router.post("/{platform}/posts", status_code=201)
def publish(platform: Platform, post: Post, key: Annotated[str, Header(alias="Idempotency-Key")]) -> Json:
    """Publish; a key that comes again gets the answer it got."""
    if platform == "twitter" and any(len(tweet) > MOST_LETTERS for tweet in post.content):
        raise HTTPException(422, "a tweet is too long")
    if key not in _posts:
        number = next(_numbers)
        url = f"https://{platform}.example.com/posts/{number}"
        _posts[key] = {"id": number, "url": url, "platform": platform} | post.model_dump()
    return {"id": _posts[key]["id"], "url": _posts[key]["url"]}


@router.get("/posts")
def posts(campaign: str) -> Json:
    """What was published for a campaign, in order."""
    return {"posts": [post for post in _posts.values() if post["campaign"] == campaign]}
