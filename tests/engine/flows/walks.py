"""Walks of the oracle: generators that yield what is under way, and how several of them stand side by side."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

Json = Any
Step = dict[str, Any]
Walk = Generator[list[str], str, Json]
"""Yields the paths of the calls that are under way, is sent the one that was carried out, returns an output."""


class Failed(Exception):
    """A step has failed."""

    def __init__(self, kind: str, path: str, *, retryable: bool = False) -> None:
        super().__init__(f"{kind} at {path}")
        self.kind, self.path, self.retryable = kind, path, retryable


class Ended(Exception):
    """``return`` was reached."""

    def __init__(self, output: Json, status: str) -> None:
        super().__init__(status)
        self.output, self.status = output, status


class Cancelled(Exception):
    """Thrown into what has to stop."""


class Open:
    """Walks side by side, and what is under way in each; nothing is where a walk is over."""

    def __init__(self) -> None:
        self.walks: dict[int, Walk] = {}
        self._pending: dict[int, list[str]] = {}

    def add(self, number: int, walk: Walk) -> None:
        """Begin it."""
        self.walks[number] = walk
        self._pending[number] = advance(walk, None)

    def remove(self, number: int) -> None:
        """It is over."""
        del self.walks[number], self._pending[number]

    def under_way(self) -> list[str]:
        """The paths of all."""
        return [path for paths in self._pending.values() for path in paths]

    def done(self, path: str) -> None:
        """Go on with the walk to which a path belongs."""
        owner = next(number for number, paths in self._pending.items() if path in paths)
        self._pending[owner] = advance(self.walks[owner], path)

    def cancel(self) -> None:
        """All of them; what cleans up is under way afterwards."""
        for number, walk in self.walks.items():
            try:
                self._pending[number] = walk.throw(Cancelled()) if self._pending[number] else []
            except (StopIteration, Cancelled, Failed, Ended):
                self._pending[number] = []

    def resumed(self) -> list[Walk]:
        """Each as a walk that somebody else drives on from here."""
        return [_resumed(walk, self._pending[number]) for number, walk in self.walks.items()]


def one_more(open_: Open) -> Walk:
    """Until one thing more is done. Cancelled: until all have stopped."""
    pending = open_.under_way()
    if not pending:
        return
    try:
        open_.done((yield pending))
    except Cancelled:
        yield from settle(open_)
        raise


def settle(open_: Open) -> Walk:
    """Cancel; what cleans up runs to its end, whoever cancels us meanwhile."""
    open_.cancel()
    interrupted = False
    while pending := open_.under_way():
        try:
            open_.done((yield pending))
        except Cancelled:
            interrupted = True
    if interrupted:
        raise Cancelled


def _resumed(walk: Walk, pending: list[str]) -> Walk:
    while pending:
        try:
            done = yield pending
        except Cancelled:
            # What it cleans up is under way from now on.
            pending = walk.throw(Cancelled())
        else:
            pending = advance(walk, done)


class Race:
    """Who has won a ``parallel``, and whether anybody still can."""

    def __init__(self, config: Step) -> None:
        self._wanted = config.get("wait_for", "all")
        self._patient = config.get("on_failure") == "finish_all"
        self.counting = {branch["id"] for branch in config["branches"] if branch.get("counts", True)}
        self._left = set(self.counting)
        self._gone = 0
        self.completed: list[str] = []
        self.errors: list[Exception] = []

    @property
    def _needed(self) -> int:
        total = len(self.counting) - self._gone
        words = {"all": total, "any": 1, "majority": total // 2 + 1}
        wanted = words[self._wanted] if isinstance(self._wanted, str) else self._wanted
        return 0 if total == 0 else max(1, int(wanted))

    @property
    def won(self) -> bool:
        return len(self.counting & set(self.completed)) >= self._needed

    def ends(self, branch: Step, outcome: tuple[str, Json]) -> bool:
        """Whether this decides it."""
        kind, value = outcome
        if isinstance(value, Ended):
            return True
        if kind == "raised":
            self.errors.append(value)
        self._left.discard(branch["id"])
        if value == "completed":
            self.completed.append(branch["id"])
        # One whose failure its author handled with `continue` is no loss and no win.
        self._gone += value in ("skipped", "failed") and branch["id"] in self.counting
        lost = len(self.counting & set(self.completed)) + len(self._left) < self._needed
        return self.won or (lost and not self._patient)


def advance(walk: Walk, done: str | None) -> list[str]:
    """What is under way next; nothing where the walk is over."""
    try:
        return next(walk) if done is None else walk.send(done)
    except (StopIteration, Cancelled):
        return []


def caught(walk: Walk) -> Generator[list[str], str, tuple[str, Json]]:
    """How a walk ends, cancellation apart."""
    try:
        return ("completed", (yield from walk))
    except (Failed, Ended) as error:
        return ("raised", error)


def unpacked(outcome: tuple[str, Json]) -> Json:
    if outcome[0] == "raised":
        raise outcome[1]
    return outcome[1]
