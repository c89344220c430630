"""Empty SQLite stores for tests: migrated once in this process, then copied."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator.store.database import Store

_migrated: list[bytes] = []


async def open_store(url: str) -> Store:
    """The store at ``sqlite:///…``, open; an empty one where there is none. Another URL is opened as it is."""
    if url.startswith("sqlite:///"):
        if not _migrated:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "store.db"
                await (await Store.open(f"sqlite:///{file}")).aclose()
                _migrated.append(file.read_bytes())
        _copy(Path(url.removeprefix("sqlite:///")))
    return await Store.open(url)


def _copy(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_bytes(_migrated[0])
