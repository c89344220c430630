"""Opening, migrating and losing the store."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from orchestrator.errors import SettingsInvalid, Unavailable
from orchestrator.store.connection import Database
from orchestrator.store.database import Store
from orchestrator.store.tables import metadata


async def test_several_processes_may_open_a_new_store_at_once(store_url: str) -> None:
    opened = await asyncio.gather(*(Store.open(store_url) for _ in range(4)))
    try:
        assert [await store.flows.revision() for store in opened] == [0, 0, 0, 0]
    finally:
        for store in opened:
            await store.aclose()


async def test_separate_processes_migrate_a_new_store_together(store_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from orchestrator.store.database import Store\n"
        "async def main():\n"
        "    store = await Store.open(sys.argv[1])\n"
        "    print(await store.flows.revision())\n"
        "    await store.aclose()\n"
        "asyncio.run(main())\n"
    )
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            store_url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    answers = [await process.communicate() for process in processes]
    assert [out.decode().strip() for out, _ in answers] == ["0"] * 3, answers


async def test_the_migrations_lead_to_the_tables_the_code_uses(store_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        found: list[object] = compare_metadata(MigrationContext.configure(connection), metadata)
        return found

    database = await Database.open(store_url)
    try:
        async with database.reading() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await database.aclose()


async def test_sqlite_is_opened_for_many_readers_and_one_writer(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = await Store.open(f"sqlite:///{file}")
    await store.aclose()
    with sqlite3.connect(file) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "is no database URL"),
        ("mysql://localhost/x", "names 'mysql'"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
async def test_a_url_that_cannot_work_says_what_to_write(url: str, says: str) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        await Store.open(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody:secret-word@127.0.0.1:1/none",
        "postgresql://nobody:secret-word@host.invalid/none",
        "sqlite:////proc/nowhere/store.db",
    ],
)
async def test_an_unreachable_database_is_one_sentence_without_the_password(url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await Store.open(url)
    message = str(caught.value)
    assert "\n" not in message
    assert "ORCHESTRATOR_STORE_URL" in message
    assert "secret-word" not in message


async def test_a_database_that_does_not_exist_is_one_sentence(postgres: object) -> None:
    url: str = postgres.get_uri(database="missing")  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match='database "missing" does not exist'):
        await Store.open(url)


async def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_text("this is not a database, it is a text that is long enough to be read as a header")
    with pytest.raises(Unavailable, match="not a database"):
        await Store.open(f"sqlite:///{file}")


async def test_a_store_of_a_newer_release_is_left_alone(store_url: str) -> None:
    database = await Database.open(store_url)
    async with database.writing() as connection:
        await connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    await database.aclose()
    with pytest.raises(Unavailable, match="newer release"):
        await Store.open(store_url)


async def test_a_lost_database_is_unavailable_and_heals(store: Store, store_url: str, postgres: object) -> None:
    await store.check()
    if store_url.startswith("postgresql"):
        name = store_url.split("/")[-1].split("?")[0]
        postgres.psql(  # type: ignore[attr-defined]
            f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
        )
    await store.check()
    assert await store.flows.revision() == 0
