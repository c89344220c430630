"""``orchestrator mcp catalogue``: the ready entries, and what to paste to use one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml

from orchestrator.catalogue import CATEGORIES, Need, ReadyEntry, ReadyEntryUnusable, ready_entries, ready_entry
from orchestrator.cli.console import InputUnusable, show, show_json, show_table

Json = Any


def catalogue(
    name: Annotated[
        str | None, typer.Argument(help="Show this entry: what to paste, and which secrets to set.")
    ] = None,
    category: Annotated[str | None, typer.Option(help=f"Only one of {', '.join(CATEGORIES)}.")] = None,
    services: Annotated[bool, typer.Option("--services", help="REST services instead of MCP servers.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Well-known MCP servers, ready to be named with `use` under `mcp` in a flow or orchestrator.yaml."""
    kind = "services" if services else "mcp"
    if name is not None:
        _show_one(kind, name, as_json)
        return
    if category is not None and category not in CATEGORIES:
        raise InputUnusable(f"there is no category '{category}'; there: {', '.join(CATEGORIES)}")
    found = [ready for ready in ready_entries(kind).values() if category in (None, ready.category)]
    if as_json:
        show_json([_json(ready) for ready in found])
        return
    found.sort(key=lambda ready: CATEGORIES.index(ready.category))
    rows = (
        (ready.name, ready.category, ", ".join(need.name for need in ready.secrets), ready.about) for ready in found
    )
    show_table(("NAME", "CATEGORY", "SECRETS", "FOR"), rows)


def _show_one(kind: str, name: str, as_json: bool) -> None:
    try:
        ready = ready_entry(kind, name)
    except ReadyEntryUnusable as error:
        raise InputUnusable(str(error)) from None
    if as_json:
        show_json(_json(ready))
    else:
        show("\n".join(_explained(ready)))


def _explained(ready: ReadyEntry) -> list[str]:
    """YAML to paste; everything beside it is a comment."""
    lines = [f"# {ready.title}: {ready.about}", f"# {ready.docs}"]
    if ready.package is not None:
        lines.append(f"# tried with {ready.package.replace(':', ' ', 1)}")
    if ready.notes is not None:
        lines.append(f"# {' '.join(ready.notes.split())}")
    lines += [f"# set ORCHESTRATOR_SECRET_{need.name}: {need.about}" for need in ready.secrets]
    lines += [f"{ready.kind}:", f"  {ready.name}:", f"    use: {ready.name}"]
    lines += [_place(need) for need in ready.needs]
    lines.append("    # which stands for, unless you write some of it here:")
    whole = yaml.safe_dump(dict(ready.entry), sort_keys=False, allow_unicode=True, width=110)
    return [*lines, *(f"    #   {line}" for line in whole.splitlines())]


def _place(need: Need) -> str:
    """The line on which the author gives it."""
    key, _, member = need.name.partition(".")
    value = f'{{{member}: ""}}' if member else '""'
    return f"    {key}: {value}  # {need.about}"


def _json(ready: ReadyEntry) -> dict[str, Json]:
    return {
        "kind": ready.kind,
        "name": ready.name,
        "title": ready.title,
        "category": ready.category,
        "about": ready.about,
        "docs": ready.docs,
        "package": ready.package,
        "secrets": {need.name: need.about for need in ready.secrets},
        "needs": {need.name: need.about for need in ready.needs},
        "notes": ready.notes,
        "entry": dict(ready.entry),
    }
