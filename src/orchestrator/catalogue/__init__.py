"""Ready entries for ``mcp`` and ``services``: well-known servers and APIs that a project names with ``use``."""

from __future__ import annotations

from orchestrator.catalogue.ready import (
    CATEGORIES,
    KINDS,
    Need,
    ReadyEntry,
    ReadyEntryUnusable,
    ready_entries,
    ready_entry,
    where_to_get,
    with_ready_entry,
)

__all__ = [
    "CATEGORIES",
    "KINDS",
    "Need",
    "ReadyEntry",
    "ReadyEntryUnusable",
    "ready_entries",
    "ready_entry",
    "where_to_get",
    "with_ready_entry",
]
