"""What every verb that talks to a running installation is made of."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.client import Client
from orchestrator.settings import Settings
from orchestrator.spec.project import Project, load_project
from orchestrator.store.database import Store


class CurrentProject:
    """The project as its file was last read without problems. Called by whoever needs it at that moment."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._project = load_project(root)

    def __call__(self) -> Project:
        return self._project

    def read_again(self) -> None:
        """Take the file as it is now. Raises FlowInvalid and keeps what was there."""
        self._project = load_project(self._root)


@dataclass(frozen=True, slots=True)
class Parts:
    """Opened together, closed together."""

    store: Store
    client: Client
    project: CurrentProject


@contextlib.asynccontextmanager
async def connected(settings: Settings, *, eager: bool = False) -> AsyncIterator[Parts]:
    """Store, Temporal connection and project, opened in this order and closed in the other. ``eager``: a worker will
    share the connection. Raises OrchestratorError."""
    project = CurrentProject(settings.project_dir)
    store = await Store.open(settings.store)
    try:
        async with await Client.connect(settings, store=store, project=project, eager=eager) as client:
            yield Parts(store, client, project)
    finally:
        await store.aclose()
