"""What a query may touch. SQLite asks for every part of a statement while it prepares it; of PostgreSQL the plan is
read. Neither looks at the text of the query."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

Json = Any
Tables = frozenset[str] | None
"""The only tables that may be used, in lower case; None for all."""

_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE}
_ACTIONS = {
    sqlite3.SQLITE_INSERT: "INSERT",
    sqlite3.SQLITE_UPDATE: "UPDATE",
    sqlite3.SQLITE_DELETE: "DELETE",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_ATTACH: "ATTACH or VACUUM",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_TRANSACTION: "a transaction statement",
    sqlite3.SQLITE_SAVEPOINT: "a savepoint",
}
_SQLITE_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
"""Functions that reach out of the database, where they are compiled in."""
_SQLITE_SOURCES = frozenset({"json_each", "json_tree", "generate_series"})
"""Tables that are functions of their arguments."""

_POSTGRES_FUNCTIONS = re.compile(
    r"query_to_xml.*|table_to_xml.*|schema_to_xml.*|database_to_xml.*|cursor_to_xml.*|ts_stat|ts_rewrite"
    r"|pg_read_.*|pg_ls_.*|pg_stat_file|pg_get_.*|lo_.*|loread|lowrite|set_config|pg_.*_lock.*"
)
"""Functions of PostgreSQL itself that read what they are told to, which no plan shows, or change the session."""
_TEXTS = re.compile(r"'(?:[^']|'')*'")
_CASTS = re.compile(r"::[\w .\"]+?(?:\(\d+(?:,\d+)?\))(?:\[\])*")
_CALLS = re.compile(r"((?:\"(?:[^\"]|\"\")+\"|[\w$]+)(?:\.(?:\"(?:[^\"]|\"\")+\"|[\w$]+))*)\(")


class SqliteFence:
    """The authorizer and progress handler of one connection. Down while the server itself looks around."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._deadline: float | None = None
        self.up = False
        self.refused: str | None = None
        """What the last statement wanted and must not."""

    def raise_for(self, seconds: float) -> None:
        """From now on only reading is allowed, for so long."""
        self.up, self.refused, self._deadline = True, None, time.monotonic() + seconds

    def drop(self) -> None:
        """The server's own statements follow."""
        self.up, self._deadline = False, None

    def authorize(
        self, action: int, first: str | None, second: str | None, _schema: str | None, _source: str | None
    ) -> int:
        """SQLite's question, while it prepares a statement."""
        if not self.up or action in _READS:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ:
            return self._table((first or "").lower())
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _SQLITE_FUNCTIONS:
            return sqlite3.SQLITE_OK
        what = f"the function {second}" if action == sqlite3.SQLITE_FUNCTION else _ACTIONS.get(action, "this statement")
        return self._refuse(f"{what} is no reading of data")

    def _table(self, name: str) -> int:
        if self._tables is None or name in self._tables or name in _SQLITE_SOURCES:
            return sqlite3.SQLITE_OK
        return self._refuse(f"table '{name}' is not among those this server offers: {', '.join(sorted(self._tables))}")

    def _refuse(self, reason: str) -> int:
        self.refused = self.refused or reason
        return sqlite3.SQLITE_DENY

    def progress(self) -> int:
        """SQLite's question, while it runs a statement: 1 stops it."""
        return int(self._deadline is not None and time.monotonic() > self._deadline)


def plan_problem(plan: Json, tables: frozenset[str], built_in: frozenset[str]) -> str | None:
    """Why the query of a PostgreSQL plan (``EXPLAIN (VERBOSE, FORMAT JSON)``) must not run, or None. ``built_in`` are
    the functions of PostgreSQL itself: what others do, no plan shows."""
    for key, value in _members(plan):
        if key == "Relation Name":
            schema, name = str(value[0]).lower(), str(value[1]).lower()
            if f"{schema}.{name}" not in tables and not (schema == "public" and name in tables):
                return f"table '{name}' is not among those this server offers: {', '.join(sorted(tables))}"
        elif problem := _call_problem(str(value), key, built_in):
            return problem
    return None


def _call_problem(text: str, key: str, built_in: frozenset[str]) -> str | None:
    called = [text] if key == "Function Name" else _CALLS.findall(_CASTS.sub("", _TEXTS.sub("''", text)))
    for name in called:
        # Where the deparser writes capitals it is syntax: COALESCE(, ANY(, ROW(.
        plain = name.removeprefix("pg_catalog.").strip('"')
        if plain.isupper():
            continue
        if plain not in built_in or _POSTGRES_FUNCTIONS.fullmatch(plain):
            return f"the function {plain} may read more than the tables this server offers"
    return None


def _members(node: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(node, list):
        for item in node:
            yield from _members(item)
    elif isinstance(node, dict):
        if "Relation Name" in node:
            yield "Relation Name", (node.get("Schema", ""), node["Relation Name"])
        for key, value in node.items():
            if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
                yield from _members(value)
            elif isinstance(value, list):
                yield from ((key, item) for item in value)
            elif isinstance(value, str) and key not in ("Relation Name", "Schema", "Alias", "Node Type"):
                yield key, value
