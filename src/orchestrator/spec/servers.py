"""MCP servers and services as they are declared: what could never be reached is refused when the file is loaded."""

from __future__ import annotations

from typing import Any

from orchestrator.catalogue import ReadyEntryUnusable, with_ready_entry
from orchestrator.spec.acts.mcp import McpServer
from orchestrator.spec.findings import Findings, check_model, kind_of

Json = Any


def check_servers(entries: Json, findings: Findings) -> None:
    """Report every entry under ``mcp`` that could never work. A text that holds a secret stands for any text."""
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        path = ("mcp", name)
        if not isinstance(entry, dict):
            findings.error(path, f"an MCP server must be a mapping with `command` or `url`, got {kind_of(entry)}")
            continue
        try:
            whole = with_ready_entry("mcp", entry)
        except ReadyEntryUnusable as error:
            findings.error((*path, "use"), str(error))
            continue
        check_model(McpServer, whole, findings, path, f" in the MCP server `{name}`", templates=True)


def check_services(entries: Json, findings: Findings) -> None:
    """Report every entry under ``services`` that uses a ready one which does not exist, or leaves out what it needs."""
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        try:
            with_ready_entry("services", entry)
        except ReadyEntryUnusable as error:
            findings.error(("services", name, "use"), str(error))
