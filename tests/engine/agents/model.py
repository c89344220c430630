"""A scripted model behind the Claude stand-in, and the check of every conversation with it.

What was asked is judged from the requests alone: each request of a conversation must be the one before it, the answer
to that, and what the answer called for. Nothing here knows how agents are built.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.testing import Reply, Request

Json = Any
Said = Reply | str
Turn = Said | Sequence[Said] | Callable[[Request], Said]
"""A reply; several, of which each further try of the turn gets the next; or a function of the request."""

TOKENS = {"input_tokens": 100, "output_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
"""What every answer costs that says nothing else."""
PRICE = (100 * 2 + 10 * 10) / 1_000_000
"""Dollars of such an answer of the default model."""

_numbers = itertools.count(1)


def calls(*wanted: tuple[str, dict[str, Json]], text: str = "") -> Reply:
    """An answer that calls tools, all at once."""
    said = [{"type": "text", "text": text}] if text else []
    used = [
        {"type": "tool_use", "id": f"toolu_{next(_numbers)}", "name": name, "input": arguments}
        for name, arguments in wanted
    ]
    return Reply(content=(*said, *used), stop_reason="tool_use")


@dataclass(frozen=True)
class Exchange:
    """One request and what it was answered."""

    who: str
    turn: int
    """Answers the conversation held before."""
    body: dict[str, Json]
    reply: Reply
    at: float = field(default_factory=time.monotonic)

    @property
    def answered(self) -> bool:
        """Whether an answer came that counts and is paid for."""
        return self.reply.status == 200 and self.reply.raw is None and self.reply.stream_error is None

    @property
    def messages(self) -> list[dict[str, Json]]:
        """The request's messages, one way to write each."""
        return [{"role": message["role"], "content": _blocks(message["content"])} for message in self.body["messages"]]

    @property
    def rest(self) -> dict[str, Json]:
        """What stays the same over a conversation."""
        return {name: _plain(value) for name, value in self.body.items() if name not in ("messages", "max_tokens")}

    @property
    def results(self) -> list[dict[str, Json]]:
        """The tool results the newest message brings."""
        newest = self.messages[-1]
        return [block for block in newest["content"] if block["type"] == "tool_result"]


@dataclass
class Model:
    """Plays its scripts: who is asked is told by the system prompt."""

    scripts: dict[str, list[Turn]] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    tries: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """How often a turn was asked for, by who, goal and turn."""

    def plays(self, who: str, *turns: Turn) -> None:
        """Whoever has this system prompt is answered with these turns."""
        self.scripts[who] = list(turns)

    def answer(self, request: Request) -> Reply:
        """The reply to a request; a refusal of the API to what nobody scripted."""
        who, turn = turn_of(request.body)
        turns = self.scripts.get(who, [])
        if turn >= len(turns):
            reply = Reply.failure(400, f"nothing scripted for turn {turn} of '{who}'")
        else:
            reply = self._reply(turns[turn], who, turn, request)
        self.exchanges.append(Exchange(who, turn, request.body, reply))
        return reply

    def _reply(self, scripted: Turn, who: str, turn: int, request: Request) -> Reply:
        said = scripted(request) if callable(scripted) else scripted
        if not isinstance(said, Reply | str):
            key = (who, texts_of(request.body["messages"][0]["content"]), turn)
            tried = self.tries[key] = self.tries.get(key, 0) + 1
            said = said[min(tried, len(said)) - 1]
        reply = Reply.text(said) if isinstance(said, str) else said
        return reply.with_usage(**(TOKENS | reply.usage))

    def of(self, who: str) -> list[Exchange]:
        """Every exchange with one agent, in order."""
        return [exchange for exchange in self.exchanges if exchange.who == who]

    def turns(self, who: str) -> list[int]:
        """The turns that one agent was asked for, in order."""
        return [exchange.turn for exchange in self.of(who)]

    def results(self, who: str) -> list[list[dict[str, Json]]]:
        """The tool results of each turn that brought any; what was asked again counts once."""
        asked = self.of(who)
        again = {id(after) for before, after in itertools.pairwise(asked) if before.messages == after.messages}
        return [exchange.results for exchange in asked if exchange.results and id(exchange) not in again]

    def shown(self, who: str) -> list[list[str]]:
        """The same as text, as the model reads it; a failure begins with ``!``."""
        return [
            [("!" if result.get("is_error") else "") + texts_of(result.get("content", "")) for result in results]
            for results in self.results(who)
        ]

    def check(self) -> None:
        """Every conversation holds together, and nothing that was answered was asked again."""
        for conversation in _conversations(self.exchanges):
            for before, after in itertools.pairwise(conversation):
                follows(before, after)


def texts_of(content: Json) -> str:
    """The text of a message or a system prompt."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content or () if block.get("type") == "text")


def turn_of(body: dict[str, Json]) -> tuple[str, int]:
    """Who asks, which is the first line of the system prompt, and how many answers there were before."""
    return texts_of(body.get("system")).split("\n")[0], _answers(body["messages"])


def follows(before: Exchange, after: Exchange) -> None:
    """A request is what must come after the one before it. Raises AssertionError."""
    assert after.rest == before.rest
    assert after.body["max_tokens"] <= before.body["max_tokens"], "a budget only shrinks"
    if not before.answered:
        assert after.messages == before.messages, "what failed is asked again as it was"
        return
    assert after.messages != before.messages, f"turn {before.turn} of '{before.who}' was answered and asked again"
    known = len(before.messages)
    assert after.messages[:known] == before.messages, "what was said does not change"
    answer, *told = after.messages[known:]
    assert answer == {"role": "assistant", "content": _blocks(list(before.reply.content))}
    called = [block["id"] for block in before.reply.content if block["type"] == "tool_use"]
    if called:
        [message] = told
        assert message["role"] == "user"
        assert [result["tool_use_id"] for result in after.results] == called, "every call has its result, in order"
    elif before.reply.stop_reason == "pause_turn":
        assert told == []
    else:
        assert [message["role"] for message in told] == ["user"], "only a correction comes after an answer"


def _conversations(exchanges: list[Exchange]) -> list[list[Exchange]]:
    """Exchanges by conversation: one begins where somebody is asked who has not been answered yet."""
    open_ones: dict[tuple[str, str], list[Exchange]] = {}
    found: list[list[Exchange]] = []
    for exchange in exchanges:
        key = (exchange.who, str(exchange.messages[0]))
        known = open_ones.get(key)
        if known is None or (exchange.turn == 0 and known[-1].turn > 0):
            known = open_ones[key] = []
            found.append(known)
        known.append(exchange)
    return found


def _answers(messages: list[dict[str, Json]]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def _blocks(content: Json) -> list[dict[str, Json]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_plain(block) for block in content]


def _plain(value: Json) -> Json:
    """Without what changes nothing: marks for the cache, members that are null or a default."""
    if isinstance(value, dict):
        kept = {name: _plain(member) for name, member in value.items() if name != "cache_control"}
        return {
            name: member
            for name, member in kept.items()
            if member is not None and (name, member) != ("caller", {"type": "direct"})
        }
    return [_plain(member) for member in value] if isinstance(value, list) else value
