"""What the stand-in says in the research flows where a topic of the tests asks for trouble: read before the example's
own script, as ``stand_in.py``."""

from __future__ import annotations

from typing import Any

from orchestrator.testing.claude_replies import Reply, When
from orchestrator.testing.claude_request import Request

REPORT: dict[str, Any] = {"title": "Invented", "summary": "Nothing of this was found.", "limitations": "None."}


def asks(role: str, word: str, request: Request) -> bool:
    """Whether somebody in that role works on a topic with that word."""
    return role in request.system and word in request.opening


def invents(request: Request) -> bool:
    """A careless writer cites what it was not given, until it is told; a stubborn one goes on."""
    if asks("You write research reports", "stubborn", request):
        return True
    return (
        asks("You write research reports", "careless", request) and "<corrections>[]</corrections>" in request.opening
    )


def cited(sources: list[str]) -> Reply:
    """A report that cites these."""
    return Reply.json(REPORT | {"sections": [{"heading": "All", "text": "So it is.", "citations": sources}]})


SCRIPT = [
    When(lambda request: asks("You are an academic researcher", "offline", request), Reply.failure(403, "not today")),
    When(
        lambda request: asks("You are a web researcher", "dreaming", request),
        Reply.json({"findings": [{"claim": "Trees sing.", "source": "web-77", "figures": []}], "gaps": []}),
    ),
    When(invents, lambda request: cited(["web-99"])),
    When(
        lambda request: asks("You are a research coordinator", "inventive", request) and request.turn > 1,
        cited(["paper-99"]),
    ),
]
