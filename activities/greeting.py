"""Functions of the `hello` flow. A function is an ordinary Temporal activity: typed argument in, JSON out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from temporalio import activity


@dataclass(frozen=True)
class Greeting:
    """Who is greeted, and in which language."""

    name: str
    language: Literal["en", "ko"] = "en"


@activity.defn
def greet(greeting: Greeting) -> dict[str, str]:
    """The greeting as ``{text}``."""
    words = {"en": f"Hello, {greeting.name}!", "ko": f"{greeting.name}님, 안녕하세요!"}
    return {"text": words[greeting.language]}
