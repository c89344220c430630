"""Signals of a run: kept in order until a wait of their name takes them, bounded, never applied twice by id."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.spec.definition import Json

REMEMBERED_IDS = 10_000
"""Signal ids kept against repeats (ENGINE §7)."""
MOST_BUFFERED = 10_000
MOST_REFUSALS = 100


@dataclass(frozen=True, slots=True)
class Receiver:
    """What an open wait does with a message."""

    refuse: Callable[[Json], str | None]
    """Why the message cannot be taken, in words for its sender; None when it can. Changes nothing."""
    take: Callable[[Json], None]


class Inbox:
    """Messages by name. A wait opens its name; until then its messages queue up."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Json]] = {}
        self._open: dict[str, Receiver] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._buffered = 0
        self.refusals: list[str] = []

    def deliver(self, name: str, message: Json) -> None:
        """A signal has arrived. Signals cannot be answered: a refusal is kept for the run's warnings."""
        if not self._first_time(message):
            return
        receiver = self._open.get(name)
        if receiver is not None:
            self._hand_over(name, receiver, message)
        elif self._buffered >= MOST_BUFFERED:
            self.note(name, f"{MOST_BUFFERED} signals are waiting already")
        else:
            self._waiting.setdefault(name, deque()).append(message)
            self._buffered += 1

    def refusal(self, name: str, message: Json) -> str | None:
        """Why an update could not be taken now; None when it can."""
        receiver = self._open.get(name)
        return f"no step '{name}' is waiting now" if receiver is None else receiver.refuse(message)

    def open(self, name: str, receiver: Receiver) -> None:
        """A wait begins: first what has queued up, then what comes."""
        self._open[name] = receiver
        queued = self._waiting.pop(name, deque())
        self._buffered -= len(queued)
        for message in queued:
            self._hand_over(name, receiver, message)

    def close(self, name: str) -> None:
        """A wait is over."""
        self._open.pop(name, None)

    def note(self, name: str, refusal: str | None) -> None:
        """Keep why a signal was refused, for the run's warnings."""
        if refusal is not None and len(self.refusals) < MOST_REFUSALS:
            self.refusals.append(f"a signal '{name}' was refused: {refusal}")

    def _first_time(self, message: Json) -> bool:
        key = message.get("signal_id") if isinstance(message, dict) else None
        if not isinstance(key, str):
            return True
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return True

    def _hand_over(self, name: str, receiver: Receiver, message: Json) -> None:
        refusal = receiver.refuse(message)
        if refusal is None:
            receiver.take(message)
        else:
            self.note(name, refusal)


def new_future() -> asyncio.Future[Json]:
    """A future of the running loop, which in a workflow is Temporal's deterministic one."""
    return asyncio.get_running_loop().create_future()
