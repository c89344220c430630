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
MOST_BUFFERED_BYTES = 1_500_000
"""What waits for its wait has to fit into one payload when the run continues as new."""
MOST_REFUSALS = 100


@dataclass(frozen=True, slots=True)
class Receiver:
    """What an open wait does with a message."""

    refuse: Callable[[Json], str | None]
    """Why the message cannot be taken, in words for its sender; None when it can. Changes nothing."""
    take: Callable[[Json], None]
    is_full: Callable[[], bool]
    """Whether it has all it waited for."""
    keeps: bool = False
    """Whether what it refuses is kept for a later wait of the name, instead of being reported."""


class Inbox:
    """Messages by name. A wait opens its name; until then its messages queue up. Several waits of one name (in the
    passes of a loop) are told apart by the task a message names, else the one that opened first takes it."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[tuple[Json, int]]] = {}
        """Messages and their bytes."""
        self._open: dict[str, dict[str, Receiver]] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._buffered = 0
        self._bytes = 0
        self._refused = 0
        self.refusals: list[str] = []

    def deliver(self, name: str, message: Json, size: int = 0) -> None:
        """A signal has arrived. Signals cannot be answered: a refusal is kept for the run's warnings."""
        if not self.is_new(message):
            return
        receivers = self._open.get(name, {})
        reason: str | None = None
        for path, receiver in receivers.items():
            refused = self._try(path, receiver, message)
            if refused is None:
                return
            reason = reason or refused
        # Kept where nothing waits, where a later wait may take it, and for a task that is not open yet.
        if receivers and not all(r.keeps or _other_task(path, message) for path, r in receivers.items()):
            self.note(name, reason)
        else:
            self._keep(name, message, size)

    def holds(self, name: str) -> bool:
        """Whether something of this name waits to be taken."""
        return bool(self._waiting.get(name))

    def refusal(self, name: str, message: Json) -> str | None:
        """Why an update could not be taken now; None when it can."""
        reasons = [_refusal(path, receiver, message) for path, receiver in self._open.get(name, {}).items()]
        if not reasons:
            return f"no step '{name}' is waiting now"
        return None if None in reasons else reasons[0]

    def open(self, name: str, path: str, receiver: Receiver) -> None:
        """A wait begins: first what has queued up, then what comes."""
        self._open.setdefault(name, {})[path] = receiver
        queued = self._waiting.pop(name, None)
        passed: list[tuple[Json, int]] = []
        while queued and not receiver.is_full():
            message, size = queued.popleft()
            reason = _refusal(path, receiver, message)
            if reason is not None and (receiver.keeps or _other_task(path, message)):
                passed.append((message, size))
                continue
            self._buffered -= 1
            self._bytes -= size
            if reason is None:
                receiver.take(message)
            else:
                self.note(name, reason)
        if queued or passed:
            self._waiting[name] = deque([*passed, *(queued or ())]) if passed else queued or deque()

    def forget(self, name: str, path: str) -> None:
        """Drop what has queued up for a wait that nobody knew of: only what names its task stays."""
        queued = self._waiting.pop(name, None) or deque()
        kept = deque(one for one in queued if isinstance(one[0], dict) and isinstance(one[0].get("task"), str))
        if kept:
            self._waiting[name] = kept
        if len(kept) < len(queued):
            self._buffered -= len(queued) - len(kept)
            self._bytes -= sum(size for _, size in queued) - sum(size for _, size in kept)
            self.note(name, f"it came before '{path}' was asked, and names no `task`")

    def close(self, name: str, path: str) -> None:
        """A wait is over."""
        receivers = self._open.get(name, {})
        receivers.pop(path, None)
        if not receivers:
            self._open.pop(name, None)

    def is_new(self, message: Json) -> bool:
        """Whether a message has not been seen before, by its ``signal_id``; remembered from now on."""
        key = message.get("signal_id") if isinstance(message, dict) else None
        if not isinstance(key, str):
            return True
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return True

    def note(self, name: str, refusal: str | None) -> None:
        """Keep why a signal was refused, for the run's warnings."""
        if refusal is None:
            return
        self._refused += 1
        if self._refused <= MOST_REFUSALS:
            self.refusals.append(f"a signal '{name}' was refused: {refusal}")
        else:
            self.refusals[MOST_REFUSALS:] = [f"{self._refused - MOST_REFUSALS} more signals were refused"]

    def to_json(self) -> dict[str, Json]:
        """What continue-as-new carries on."""
        return {
            "waiting": {name: [list(one) for one in messages] for name, messages in self._waiting.items()},
            "seen": list(self._seen),
            "refusals": self.refusals,
            "refused": self._refused,
        }

    def restore(self, data: dict[str, Json]) -> None:
        """Become what ``to_json`` wrote."""
        for name, messages in data["waiting"].items():
            for message, size in messages:
                self._put(name, message, size)
        self._seen = OrderedDict.fromkeys(data["seen"])
        self.refusals = data["refusals"]
        self._refused = data["refused"]

    def _keep(self, name: str, message: Json, size: int) -> None:
        if self._buffered >= MOST_BUFFERED:
            self.note(name, f"{MOST_BUFFERED} signals are waiting already")
        elif self._buffered and self._bytes + size > MOST_BUFFERED_BYTES:
            self.note(name, f"the signals that are waiting already have {self._bytes} bytes")
        else:
            self._put(name, message, size)

    def _put(self, name: str, message: Json, size: int) -> None:
        self._waiting.setdefault(name, deque()).append((message, size))
        self._buffered += 1
        self._bytes += size

    def _try(self, path: str, receiver: Receiver, message: Json) -> str | None:
        reason = _refusal(path, receiver, message)
        if reason is None:
            receiver.take(message)
        return reason


def _refusal(path: str, receiver: Receiver, message: Json) -> str | None:
    if _other_task(path, message):
        return f"the task {message['task']!r} is not waiting now"
    return receiver.refuse(message)


def _other_task(path: str, message: Json) -> bool:
    """Whether a message is meant for another task of the same name."""
    task = message.get("task") if isinstance(message, dict) else None
    return isinstance(task, str) and not task.endswith(f":{path}")


def new_future() -> asyncio.Future[Json]:
    """A future of the running loop, which in a workflow is Temporal's deterministic one."""
    return asyncio.get_running_loop().create_future()
