"""Functions of the `etl-pipeline` flow: rows go into the warehouse, and the run accounts for every one of them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from _etl_rows import kept_rows
from _files import Kept
from sqlalchemy import text
from temporalio import activity

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.sql import Database
from orchestrator.steps.attempt import current_step
from orchestrator.steps.data.database import open_database
from orchestrator.steps.function import cpu

Json = Any
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class Load:
    """A file of rows and the table they go into; ``columns`` are those of the target."""

    file: Kept
    database: str
    table: str
    region: str
    columns: list[str]
    run: str


@dataclass(frozen=True)
class Account:
    """What the steps of a run say they did, for `account_for_rows`."""

    extracted: dict[str, dict[str, Any]]
    transformed: list[dict[str, Any]]
    remedied: list[dict[str, Any]]
    loaded: list[dict[str, Any]]
    spec: dict[str, Any]
    table: str


@activity.defn
async def load_rows(load: Load) -> dict[str, object]:
    """``{loaded, older, sources}``: rows written, and rows of which the table has a newer version. A row is known by
    region, source and id; an attempt that is repeated writes the same rows again. Raises as a ``sql`` step does, and
    TerminalError ``invalid_config`` for a name that is none."""
    entry = current_step().entry("databases", load.database, Database)
    database = await open_database(load.database, entry, current_step())
    columns = ["region", "source", "changed", "run", *load.columns]
    for name in (load.table, *columns):
        if not _NAME.fullmatch(name):
            raise TerminalError("invalid_config", f"'{name}' is no name of a table or column")
    table, quoted = database.quote(load.table), [database.quote(name) for name in columns]
    updates = ", ".join(f"{name} = excluded.{name}" for name in quoted)
    statement = text(
        f"INSERT INTO {table} ({', '.join(quoted)}) VALUES ({', '.join(f':{name}' for name in columns)}) "
        f"ON CONFLICT (region, source, id) DO UPDATE SET {updates} WHERE excluded.changed >= {table}.changed"
    )
    loaded: Counter[str] = Counter()
    read = 0
    async with database.transaction() as connection:
        for line in kept_rows(load.file):
            row = {name: database.bound(line["row"].get(name)) for name in load.columns}
            own = {"region": load.region, "source": line["source"], "changed": line["changed"], "run": load.run}
            loaded[line["source"]] += max(0, (await connection.execute(statement, row | own)).rowcount)
            read += 1
    return {"loaded": loaded.total(), "older": read - loaded.total(), "sources": dict(loaded)}


@activity.defn
@cpu
def account_for_rows(account: Account) -> dict[str, object]:
    """``{summary, sources, lineage}``: how many rows were read, refused, left out and loaded, together and by source,
    and through which files each source went."""
    sources = {name: _of_source(name, account) for name in account.extracted}
    fields = ("read", "new", "refused", "filtered", "loaded")
    quality = sum(one["refused"] for one in account.remedied)
    summary = {field: sum(source[field] for source in sources.values()) for field in fields}
    return {
        "summary": summary | {"refused": summary["refused"] + quality, "refused_by_quality": quality},
        "sources": sources,
        "lineage": [
            {
                "source": one["source"],
                "rows": one["rows"],
                "transformed": one["file"],
                "rejects": one["rejects"],
                "spec": account.spec["hash"],
                "spec_by": account.spec["by"],
                "into": account.table,
            }
            for one in account.transformed
        ],
    }


def _of_source(name: str, account: Account) -> dict[str, Any]:
    extracted = account.extracted[name]
    transformed = [one for one in account.transformed if one["source"] == name]
    return {
        "partitions": extracted["partitions"],
        "read": extracted["read"],
        "new": extracted["new"],
        "refused": extracted["refused"] + sum(one["refused"] for one in transformed),
        "reasons": [*extracted["reasons"], *(reason for one in transformed for reason in one["reasons"])][:5],
        "filtered": sum(one["filtered"] for one in transformed),
        "loaded": sum(one["sources"].get(name, 0) for one in account.loaded),
    }
