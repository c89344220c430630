"""The model that the agents of the chaos flow ask: part of the world outside, and never killed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.chaos.recorder import Recorder

from orchestrator.testing import ClaudeStandIn, Reply, Request, When

Json = Any
LAST_WORDS = "thought through"


class Thinker:
    """Answers each turn the same however often it is asked for. An agent's goal ends with the path of the agent, so that
    the recorder is told which step asked."""

    def __init__(self, recorder: Recorder, seed: int) -> None:
        self._recorder = recorder
        self._pauses = random.Random(seed)

    def answer(self, request: Request) -> Reply:
        """After up to a fifth of a second, for kills to fall into."""
        messages = request.body["messages"]
        turn = sum(message["role"] == "assistant" for message in messages)
        path = _text(messages[0]["content"]).rpartition(" ")[2]
        # Which attempt asks is not known: the first, as far as the judge is concerned.
        self._recorder.note(f"{path}/turn[{turn}]/model#1", 1)
        return _reply(path, turn).after(self._pauses.random() / 5)


def _reply(path: str, turn: int) -> Reply:
    helps = "/call-" in path
    if turn == 0 and not helps:
        goal = f"Help as {path}/turn[0]/call-2"
        return _calls(turn, ("record", {"value": 1}), ("record_slowly", {"value": 2}), ("helper", {"goal": goal}))
    if turn == 0:
        return _calls(turn, ("record", {"value": 3}), ("record", {"value": 4, "error": "odd"}))
    if turn < 3:
        return _calls(turn, ("record", {"value": turn}))
    return Reply.text(LAST_WORDS)


def _calls(turn: int, *wanted: tuple[str, dict[str, Json]]) -> Reply:
    used = tuple(
        {"type": "tool_use", "id": f"toolu_{turn}_{number}", "name": name, "input": arguments}
        for number, (name, arguments) in enumerate(wanted)
    )
    return Reply(content=used, stop_reason="tool_use")


def _text(content: Json) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


@asynccontextmanager
async def thinking(recorder: Recorder, seed: int) -> AsyncIterator[dict[str, str]]:
    """What a worker's environment needs to ask it, while the context is open."""
    thinker = Thinker(recorder, seed)
    async with ClaudeStandIn([When(lambda request: True, thinker.answer)]) as claude:
        yield {"ANTHROPIC_API_KEY": "stand-in", "ANTHROPIC_BASE_URL": claude.base_url}
