"""Config of ``sql`` steps, and the database catalogue entry they name."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from orchestrator.spec.base import ActConfig, Spec, act

Row = dict[str, Any]
OPERATIONS = ("query", "insert", "update", "select", "delete")


class Database(Spec):
    """An entry of ``databases`` in orchestrator.yaml."""

    url: str
    """``sqlite:///data/shop.db`` (relative to the project folder) or ``postgresql://user:password@host/name``."""
    description: str | None = None
    setup: list[str] = Field(default_factory=list)
    """Statements run once when a worker first opens the database; write them so that they may run again."""
    pool_size: int = Field(default=5, ge=1, le=100)
    max_rows: int = Field(default=10_000, ge=1)
    """A statement that returns more fails instead of being cut."""


class Insert(Spec):
    """New rows: a list of objects, or one object."""

    table: str
    rows: list[Row] | Row


class Update(Spec):
    """New values for the rows ``where`` names."""

    table: str
    set: Row = Field(min_length=1)
    where: Row
    """Column → value; a list means any of these, null means without a value."""


class Select(Spec):
    """Rows of one table."""

    table: str
    columns: list[str] | None = None
    where: Row = Field(default_factory=dict)
    order_by: str | list[str] = Field(default_factory=list)
    """Column names, each optionally followed by ``asc`` or ``desc``."""
    limit: int | None = Field(default=None, ge=0)


class Delete(Spec):
    """Removes the rows ``where`` names."""

    table: str
    where: Row


@act("sql")
class SqlConfig(ActConfig):
    """One statement: ``query`` with ``params``, or a described insert, update, select or delete."""

    template_free: ClassVar[frozenset[str]] = frozenset({"query"})
    """Data belongs into ``params``: a query put together from data is how injections happen."""

    database: str
    query: str | None = None
    params: Row = Field(default_factory=dict)
    """Values of the ``:name`` places of the query."""
    insert: Insert | None = None
    update: Update | None = None
    select: Select | None = None
    delete: Delete | None = None

    @field_validator("update", "delete")
    @classmethod
    def _some_rows(cls, statement: Update | Delete | None) -> Update | Delete | None:
        if statement is not None and not statement.where:
            raise ValueError("an empty 'where' would change every row; if that is meant, write it as a query")
        return statement

    @model_validator(mode="after")
    def _one(self) -> SqlConfig:
        given = [name for name in OPERATIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"write exactly one of {', '.join(OPERATIONS)}")
        if self.params and self.query is None:
            raise ValueError("'params' belongs to 'query'; the other forms carry their values themselves")
        return self
