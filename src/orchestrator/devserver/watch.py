"""What makes ``up`` follow the files: whoever asks is told which of the project's files were written or deleted.

Files are looked at again and again instead of asking the kernel for events: a project has some dozens of them, looking
takes a millisecond, no change between start and first look is lost, and folders mounted into a container work too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

Changed = Callable[[list[Path]], Awaitable[None]]
Snapshot = dict[Path, tuple[int, int]]

INTERVAL = 0.3
_FOLDERS = {"workflows": (".yaml", ".yml"), "activities": (".py",)}
_PROJECT_FILE = "orchestrator.yaml"


def look(root: Path) -> Snapshot:
    """Every file that belongs to the project, with what changes when it is written."""
    files = [root / _PROJECT_FILE]
    for folder, suffixes in _FOLDERS.items():
        files += [path for path in (root / folder).rglob("*") if path.suffix in suffixes]
    snapshot: Snapshot = {}
    for path in sorted(files):
        try:
            found = path.stat()
        except OSError:
            continue  # Deleted since, or not there at all.
        snapshot[path] = (found.st_mtime_ns, found.st_size)
    return snapshot


class Changes:
    """Which files differ from what was told last. A file counts when two looks in a row found it the same: nobody
    wants half of it."""

    def __init__(self, known: Snapshot) -> None:
        self._known = known
        self._last = known

    def after(self, now: Snapshot) -> list[Path]:
        """The files to tell after this look, in a stable order."""
        rested = now == self._last
        self._last = now
        if not rested or now == self._known:
            return []
        known, self._known = self._known, now
        return sorted(path for path in now.keys() | known.keys() if now.get(path) != known.get(path))


async def watch(root: Path, known: Snapshot, changed: Changed, stop: asyncio.Event) -> None:
    """Call ``changed`` with the files that differ from ``known``, then from what was told last, until ``stop``."""
    changes = Changes(known)
    while not stop.is_set():
        files = changes.after(await asyncio.to_thread(look, root))
        if files:
            await changed(files)
        try:
            await asyncio.wait_for(stop.wait(), INTERVAL)
        except TimeoutError:
            continue
