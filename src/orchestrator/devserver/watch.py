"""What makes ``up`` follow the files: whoever asks is told which of the project's files were written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import Change, awatch

Changed = Callable[[list[Path]], Awaitable[None]]

_FOLDERS = {"workflows": {".yaml", ".yml"}, "activities": {".py"}}
_PROJECT_FILE = "orchestrator.yaml"
_SETTLE_MS = 200
_STEP_MS = 50


async def watch(root: Path, changed: Changed, stop: asyncio.Event) -> None:
    """Call ``changed`` with the files of workflows/, activities/ and orchestrator.yaml that were written or deleted,
    until ``stop`` is set. A folder that appears later is followed from then on. ``root`` is absolute."""
    followed: set[str] = set()
    tasks: list[asyncio.Task[None]] = []

    def follow_new_folders() -> None:
        for name in sorted(_FOLDERS):
            if name not in followed and (root / name).is_dir():
                followed.add(name)
                tasks.append(asyncio.create_task(_folder(root / name, _FOLDERS[name], changed, stop)))

    def beside(_: Change, path: str) -> bool:
        return Path(path).name in {_PROJECT_FILE, *_FOLDERS}

    follow_new_folders()
    # Not recursive: editors replace a file by renaming, which a watch on the file itself would lose, and what
    # lies deeper (.venv, .git, our own state) is none of our business.
    async for changes in awatch(
        root, watch_filter=beside, stop_event=stop, recursive=False, step=_STEP_MS, debounce=_SETTLE_MS
    ):
        if any(Path(path).name == _PROJECT_FILE for _, path in changes):
            await changed([root / _PROJECT_FILE])
        follow_new_folders()
    await asyncio.gather(*tasks)


async def _folder(folder: Path, suffixes: set[str], changed: Changed, stop: asyncio.Event) -> None:
    def wanted(_: Change, path: str) -> bool:
        return Path(path).suffix in suffixes

    async for changes in awatch(folder, watch_filter=wanted, stop_event=stop, step=_STEP_MS, debounce=_SETTLE_MS):
        await changed(sorted({Path(path) for _, path in changes}))
