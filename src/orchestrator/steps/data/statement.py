"""SQL text of the described statements: identifiers checked and quoted, values as named places."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import text

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.sql import Delete, Insert, Row, Select, SqlConfig, Update

Quote = Callable[[str], str]
"""Quotes one identifier where the database needs that."""

_NAME = re.compile(r"[^\W\d]\w{0,62}")
_ORDER = re.compile(r"(\S+)(?:\s+(asc|desc))?", re.IGNORECASE)
_READS = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(?:select|values|with)\b", re.IGNORECASE | re.DOTALL)
_WRITES = re.compile(r"\b(?:insert|update|delete|merge|into)\b", re.IGNORECASE)
_MAX_LIST = 1_000


@dataclass(frozen=True, slots=True)
class Statement:
    """``values`` has one row of named values, or several to execute it once for each."""

    sql: str
    values: list[Row]
    reads: bool = False
    """Whether it can be read through a cursor."""


def statements(config: SqlConfig, quote: Quote) -> list[Statement]:
    """What to execute, in order. Raises TerminalError ``invalid_config`` saying what is wrong with which
    name."""
    if config.query is not None:
        return [_query(config.query, config.params)]
    if config.insert is not None:
        return _insert(config.insert, quote)
    if config.update is not None:
        return [_update(config.update, quote)]
    if config.delete is not None:
        return [_delete(config.delete, quote)]
    assert config.select is not None
    return [_select(config.select, quote)]


def _query(query: str, params: Row) -> Statement:
    places = list(text(query).compile().params)
    for name in params:
        if name not in places:
            raise TerminalError("invalid_config", f"the query has no place :{name}{_hint(name, places)}")
    for name in places:
        if name not in params:
            raise TerminalError("invalid_config", f"'params' has no value for :{name}{_hint(name, list(params))}")
    return Statement(query, [params], reads=_reads(query))


def _reads(query: str) -> bool:
    return _READS.match(query) is not None and _WRITES.search(query) is None


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; there: {', '.join(known)}" if known else "; there is none"


def _insert(insert: Insert, quote: Quote) -> list[Statement]:
    table = _table(insert.table, quote)
    rows = insert.rows if isinstance(insert.rows, list) else [insert.rows]
    batch = []
    # Rows may have different columns: what a row does not name gets the table's default.
    for names, group in groupby(rows, key=lambda row: tuple(sorted(row))):
        if names:
            columns = ", ".join(_name(name, quote, "column") for name in names)
            places = ", ".join(f":v{position}" for position in range(len(names)))
            sql = f"INSERT INTO {table} ({columns}) VALUES ({places})"
        else:
            sql = f"INSERT INTO {table} DEFAULT VALUES"
        values = [{f"v{position}": row[name] for position, name in enumerate(names)} for row in group]
        batch.append(Statement(sql, values))
    return batch


def _update(update: Update, quote: Quote) -> Statement:
    values: Row = {}
    parts = []
    for position, (name, value) in enumerate(update.set.items()):
        parts.append(f"{_name(name, quote, 'column')} = :v{position}")
        values[f"v{position}"] = value
    where = _where(update.where, quote, values)
    return Statement(f"UPDATE {_table(update.table, quote)} SET {', '.join(parts)}{where}", [values])


def _delete(delete: Delete, quote: Quote) -> Statement:
    values: Row = {}
    where = _where(delete.where, quote, values)
    return Statement(f"DELETE FROM {_table(delete.table, quote)}{where}", [values])


def _select(select: Select, quote: Quote) -> Statement:
    values: Row = {}
    columns = ", ".join(_name(name, quote, "column") for name in select.columns or ()) or "*"
    sql = f"SELECT {columns} FROM {_table(select.table, quote)}{_where(select.where, quote, values)}"
    order = [select.order_by] if isinstance(select.order_by, str) else select.order_by
    if order:
        sql += f" ORDER BY {', '.join(_order(item, quote) for item in order)}"
    if select.limit is not None:
        sql += f" LIMIT {int(select.limit)}"
    return Statement(sql, [values], reads=True)


def _order(item: str, quote: Quote) -> str:
    match = _ORDER.fullmatch(item.strip())
    if match is None:
        raise TerminalError("invalid_config", f"order_by '{item}' is not a column, optionally followed by asc or desc")
    return _name(match[1], quote, "column") + (f" {match[2].upper()}" if match[2] else "")


def _where(where: Row, quote: Quote, values: Row) -> str:
    """The condition, its values added to ``values``."""
    if not where:
        return ""
    return " WHERE " + " AND ".join(_equal(name, value, quote, values) for name, value in where.items())


def _equal(name: str, value: Any, quote: Quote, values: Row) -> str:
    column = _name(name, quote, "column")
    if value is None:
        return f"{column} IS NULL"
    if isinstance(value, dict):
        raise TerminalError(
            "invalid_config", f"where.{name} takes a value or a list of values; other conditions need a query"
        )
    if not isinstance(value, list):
        return f"{column} = {_place(value, values)}"
    if len(value) > _MAX_LIST:
        raise TerminalError("invalid_config", f"where.{name} lists {len(value)} values, more than {_MAX_LIST}")
    some = [item for item in value if item is not None]
    parts = [f"{column} IN ({', '.join(_place(item, values) for item in some)})"] if some else []
    if len(some) < len(value):
        parts.append(f"{column} IS NULL")
    return f"({' OR '.join(parts)})" if parts else "1 = 0"


def _place(value: Any, values: Row) -> str:
    name = f"w{len(values)}"
    values[name] = value
    return f":{name}"


def _table(name: str, quote: Quote) -> str:
    parts = name.split(".")
    if len(parts) > 2:
        raise TerminalError("invalid_config", f"'{name}' is no table name; write table or schema.table")
    return ".".join(_name(part, quote, "table") for part in parts)


def _name(name: str, quote: Quote, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise TerminalError(
            "invalid_config",
            f"'{name}' is no {what} name: letters, digits and _, not a digit first, at most 63",
        )
    return quote(name)
