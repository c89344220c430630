"""What a query may touch. SQLite asks for every part of a statement while it prepares it; of PostgreSQL the plan is
read. Neither looks at the text of the query."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

Json = Any
_RELATION = "Relation Name"
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

_ACTS = re.compile(
    r"dblink.*|query_to_xml.*|cursor_to_xml.*|table_to_xml.*|schema_to_xml.*|database_to_xml.*|ts_stat|ts_rewrite|lo_.*"
    r"|loread|lowrite|pg_notify|pg_terminate_backend|pg_cancel_backend|pg_(try_)?advisory.*|pg_read_.*|pg_ls_.*"
    r"|pg_stat_file|pg_stat_reset.*|pg_file_.*|pg_log_.*|pg_logical_.*|pg_replication_.*|pg_(re|un)?load.*|pg_rotate_.*"
    r"|pg_(create|drop|copy|switch|promote|start|stop|backup|wal|import|export|sync|clear|restore)_?.*"
)
"""Functions that act, whatever the transaction: they end sessions, lock, reach files and other servers, or run a text
as another query, of which no plan tells."""
_LOOKS_FURTHER = re.compile(r"pg_(?!typeof$).*|set_config|current_setting|binary_upgrade_.*")
"""Functions of PostgreSQL itself that tell of more than the tables of a query."""
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


def plan_problem(plan: Json, tables: Tables, built_in: frozenset[str]) -> str | None:
    """Why the query of a PostgreSQL plan (``EXPLAIN (VERBOSE, FORMAT JSON)``) must not run, or None. ``built_in`` are
    the functions of PostgreSQL itself: where only some tables are offered no others may be called, since what they read
    no plan shows."""
    for key, value in _members(plan):
        problem = _relation_problem(value, tables) if key == _RELATION else _call_problem(value, key, tables, built_in)
        if problem is not None:
            return problem
    return None


def _relation_problem(relation: str, tables: Tables) -> str | None:
    schema, _, name = relation.partition(".")
    if tables is None or relation in tables or (schema == "public" and name in tables):
        return None
    return f"table '{name}' is not among those this server offers: {', '.join(sorted(tables))}"


def _call_problem(text: str, key: str, tables: Tables, built_in: frozenset[str]) -> str | None:
    called = [text] if key == "Function Name" else _CALLS.findall(_CASTS.sub("", _TEXTS.sub("''", text)))
    for name in called:
        plain = name.removeprefix("pg_catalog.").strip('"')
        if _ACTS.fullmatch(plain.rpartition(".")[2]):
            return f"the function {plain} does more than read"
        # Where the plan has capitals it is syntax: COALESCE(, ANY(, ROW(.
        if tables is None or plain.isupper():
            continue
        if plain not in built_in or _LOOKS_FURTHER.fullmatch(plain):
            return f"the function {plain} may read more than the tables this server offers"
    return None


def _members(node: Json) -> Iterator[tuple[str, str]]:
    """Every text of a plan with its key; a relation as ``schema.name``."""
    if isinstance(node, list):
        for item in node:
            yield from _members(item)
    elif isinstance(node, dict):
        if _RELATION in node:
            yield _RELATION, f"{node.get('Schema', '')}.{node[_RELATION]}".lower()
        for key, value in node.items():
            if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
                yield from _members(value)
            elif isinstance(value, list):
                yield from ((key, str(item)) for item in value)
            elif isinstance(value, str) and key not in (_RELATION, "Schema", "Alias", "Node Type"):
                yield key, value
