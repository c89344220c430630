"""Names the code that keeps the worker's event loop from moving: while one asynchronous function computes, every other
step of the worker stands still and no heartbeat goes out, so that Temporal may take the worker for lost."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from types import CodeType, FrameType

USERS = "orchestrator_activities_"
"""How the modules that are read from ``activities/`` are named."""
LONGEST = 1.0
"""Seconds without a turn of the loop that are reported."""
LOOK_EVERY = 0.25
QUIET = 60.0
"""Seconds one and the same function is not named again."""

_LOGGER = logging.getLogger("orchestrator.steps")


class LoopWatch:
    """A thread that looks whether a loop still turns. Costs four wake-ups a second.

    The thread has to look from outside: code on the loop could tell only afterwards that something blocked it, and not
    what. Code that also holds the interpreter's lock is named as soon as it lets go of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread_id = threading.get_ident()
        self._turned = time.monotonic()
        self._stopped = threading.Event()
        self._named: dict[CodeType, float] = {}
        self._timer = loop.call_soon(self._turn)
        self._thread = threading.Thread(target=self._look, name="loop watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more looks. To be called on the loop."""
        self._stopped.set()
        self._timer.cancel()
        self._thread.join()

    def _turn(self) -> None:
        self._turned = time.monotonic()
        self._timer = self._loop.call_later(LOOK_EVERY, self._turn)

    def _look(self) -> None:
        reported = 0.0
        while not self._stopped.wait(LOOK_EVERY):
            turned = self._turned
            lag = time.monotonic() - turned
            if lag > LONGEST + LOOK_EVERY and turned != reported:
                reported = turned
                self._report(lag)

    def _report(self, lag: float) -> None:
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._thread_id)
        if task is None or frame is None:
            # Nobody's code: the machine slept, or had no time for this process.
            return
        function = _function(frame)
        now = time.monotonic()
        if now - self._named.get(function.f_code, -QUIET) < QUIET:
            return
        self._named[function.f_code] = now
        name = task.get_name()
        _LOGGER.warning(
            "the worker's event loop has not moved for %.1fs: %s%s is busy at %s:%d. Until it lets go, no other step "
            "of this worker goes on and no heartbeat goes out. Write it as a plain `def`, which runs in a thread, or "
            "mark it with @cpu, which runs it in a process of its own",
            lag,
            function.f_code.co_name,
            f" ({name})" if name.startswith("step ") else "",
            function.f_code.co_filename,
            function.f_lineno,
        )


def _function(frame: FrameType) -> FrameType:
    """The innermost code that is the user's own; without any, the innermost code there is."""
    found: FrameType | None = frame
    while found is not None:
        if found.f_globals.get("__name__", "").startswith(USERS):
            return found
        found = found.f_back
    return frame
