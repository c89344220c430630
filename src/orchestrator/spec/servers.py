"""MCP servers as they are declared: what could never be reached is refused when the file is loaded."""

from __future__ import annotations

from typing import Any

from orchestrator.spec.acts.mcp import McpServer
from orchestrator.spec.findings import Findings, check_model, kind_of

Json = Any

_OF_URLS = ("headers", "auth", "transport")


def check_servers(entries: Json, findings: Findings) -> None:
    """Report every entry under ``mcp`` that could never work. A text that holds a secret stands for any text."""
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        path = ("mcp", name)
        if not isinstance(entry, dict):
            findings.error(path, f"an MCP server must be a mapping with `command` or `url`, got {kind_of(entry)}")
            continue
        check_model(McpServer, _whole(entry), findings, path, f" in the MCP server `{name}`", templates=True)


def _whole(entry: dict[str, Json]) -> dict[str, Json]:
    """An entry that takes over a ready one is checked as far as the author wrote it: the rest is the catalogue's."""
    if "use" not in entry:
        return entry
    own = {key: value for key, value in entry.items() if key != "use" and value is not None}
    if "command" in own or "url" in own:
        return own
    return {**own, "url": "https://ready.example"} if any(key in own for key in _OF_URLS) else {**own, "command": "-"}
