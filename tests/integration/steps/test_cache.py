"""What ``cache`` does at the step's boundary, with a real server, worker and store."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from tests.integration.steps.one_step import Bench, open_bench
from tests.stores import open_store

from orchestrator.store.database import Store

FUNCTIONS = """
@activity.defn
async def work(value):
    note(f"work {value}")
    current_step().usage["tokens"] = 5
    return {"value": value}

@activity.defn
async def other(value):
    note(f"other {value}")
    return "other"

@activity.defn
async def slow(value):
    note("slow")
    await asyncio.sleep(0.5)
    return value

@activity.defn
async def failing(value):
    note("failing")
    raise TerminalError("refused", "no")

@activity.defn
async def big(size):
    note("big")
    return "x" * size

@activity.defn
async def reveal(name):
    note("reveal")
    return f"token is {current_step().secrets.get(name)}"

@activity.defn
async def leak(text):
    note("leak")
    return {"nested": [text]}
"""


def key(text: Any = "k", ttl: float | None = None, scope: str = "flow") -> dict[str, Any]:
    return {"key": text, "ttl": ttl, "scope": scope}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'store' / 'store.db'}")
    yield opened
    await opened.aclose()


@pytest.fixture
async def bench(temporal: Client, tmp_path: Path, store: Store) -> AsyncIterator[Bench]:
    async with open_bench(
        temporal, tmp_path, FUNCTIONS, store=store, secrets={"TOKEN": "s3cr3t-value", "OTHER": "another-secret"}
    ) as made:
        yield made


@pytest.mark.parametrize("local", [False, True], ids=["step", "express"])
async def test_a_step_with_a_known_key_does_not_run_and_costs_nothing(bench: Bench, local: bool) -> None:
    first = await bench.run("work", 1, cache=key(), local=local)
    again = await bench.run("work", 2, cache=key(), local=local)
    assert first == {"output": {"value": 1}, "attempts": 1, "usage": {"tokens": 5}}
    assert again == {"output": {"value": 1}, "attempts": 1, "cached": True}
    assert bench.calls() == ["work 1"]


async def test_null_is_an_output_like_any_other(bench: Bench) -> None:
    await bench.run("slow", None, cache=key())
    assert await bench.run("slow", None, cache=key()) == {"output": None, "attempts": 1, "cached": True}


async def test_another_key_another_step_and_no_cache_run(bench: Bench) -> None:
    await bench.run("work", 1, cache=key())
    assert "cached" not in await bench.run("work", 2, cache=key("other"))
    assert "cached" not in await bench.run("work", 3, cache=key(), step="another-step")
    assert "cached" not in await bench.run("work", 4)
    assert bench.calls() == ["work 1", "work 2", "work 3", "work 4"]


@pytest.mark.parametrize("nothing", [None, ""])
async def test_without_a_key_the_step_runs(bench: Bench, nothing: Any) -> None:
    for number in (1, 2):
        assert (await bench.run("work", number, cache=key(nothing)))["output"] == {"value": number}


async def test_scope_project_is_shared_by_every_step_of_the_function_and_no_other(bench: Bench) -> None:
    await bench.run("work", 1, cache=key(scope="project"))
    assert (await bench.run("work", 2, cache=key(scope="project"), step="another"))["cached"]
    assert "cached" not in await bench.run("other", 3, cache=key(scope="project"))
    assert "cached" not in await bench.run("work", 4, cache=key(scope="flow"))


async def test_an_output_is_used_until_its_ttl_is_over(bench: Bench, store: Store) -> None:
    await bench.run("work", 1, cache=key(ttl=3600))
    assert (await bench.run("work", 2, cache=key(ttl=3600)))["cached"]
    await bench.run("work", 3, cache=key("short", ttl=0.01))
    await asyncio.sleep(0.02)
    assert "cached" not in await bench.run("work", 4, cache=key("short", ttl=0.01))
    await asyncio.sleep(0.02)
    assert await store.cache.purge() == 1


async def test_a_failure_is_not_kept(bench: Bench) -> None:
    for _ in range(2):
        assert (await bench.error("failing", 1, cache=key()))["type"] == "refused"
    assert bench.calls() == ["failing", "failing"]


async def test_two_that_miss_at_once_both_run(bench: Bench) -> None:
    results = await asyncio.gather(*(bench.run("slow", n, cache=key()) for n in range(2)))
    assert [result["output"] for result in results] == [0, 1]
    assert (await bench.run("slow", 2, cache=key()))["output"] in (0, 1)


async def test_what_no_longer_matches_the_schema_is_made_anew(bench: Bench) -> None:
    await bench.run("work", 1, cache=key())
    schema = {"type": "object", "properties": {"value": {"minimum": 2}}}
    assert (await bench.run("work", 2, cache=key(), output_schema=schema))["output"] == {"value": 2}
    assert (await bench.run("work", 3, cache=key(), output_schema=schema))["output"] == {"value": 2}


async def test_the_cache_holds_what_the_history_holds(bench: Bench) -> None:
    shown = "token is ***"
    assert (await bench.run("reveal", "TOKEN", cache=key()))["output"] == shown
    assert await bench.run("reveal", "TOKEN", cache=key()) == {"output": shown, "attempts": 1, "cached": True}


async def test_an_output_with_the_value_of_a_secret_the_step_never_asked_for_is_not_kept(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await bench.run("leak", "prefix another-secret suffix", cache=key())
    assert bench.calls() == ["leak", "leak"]
    assert "is not cached: it holds the value of a secret" in caplog.text
    assert "another-secret" not in caplog.text


async def test_an_output_too_large_for_the_store_is_not_kept(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert len((await bench.run("big", 1_000_001, cache=key()))["output"]) == 1_000_001
    assert bench.calls() == ["big", "big"]
    assert "is not cached: it has 1000003 bytes of 1000000" in caplog.text


async def test_a_store_that_is_down_costs_a_warning_and_no_step(
    bench: Bench, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await store.aclose()
    (tmp_path / "store" / "store.db").write_text("this is no database")
    for file in (tmp_path / "store").glob("store.db-*"):
        file.unlink()
    caplog.set_level(logging.WARNING)
    for number in (1, 2):
        assert (await bench.run("work", number, cache=key()))["output"] == {"value": number}
    assert "the cache of step the-step of run one-" in caplog.text
    assert "could not be read: the store" in caplog.text
    assert "could not be written: the store" in caplog.text


async def test_a_store_that_hangs_costs_two_seconds_a_question(
    bench: Bench, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.cache.purge()
    with sqlite3.connect(bench.settings.project_dir / "store" / "store.db") as holder:
        holder.execute("begin exclusive")
        assert (await bench.run("work", 1, cache=key()))["output"] == {"value": 1}
        assert "could not be written: the store did not answer within 2s" in caplog.text
        assert "cached" not in await bench.run("work", 2, cache=key())
        holder.rollback()
    holder.close()
