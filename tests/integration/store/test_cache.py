"""Cached outputs, on both databases."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from orchestrator.store.cache import cache_id
from orchestrator.store.database import Store

ID = cache_id("flow", "a/b", "key")


async def put(store: Store, output: Any, id: str = ID, ttl: float | None = None) -> None:  # noqa: A002
    await store.cache.put(id, json.dumps(output), flow="a", step="b", ttl=ttl)


@pytest.mark.parametrize(
    "output", [None, False, 0, "", [], {}, {"한글": ["\x00", "\ud800", "👍", 1.5, -0.0, 10**30]}, "x" * 1_000_000]
)
async def test_any_output_comes_back_as_it_was(store: Store, output: Any) -> None:
    await put(store, output)
    found = await store.cache.get(ID)
    assert found is not None
    assert found.output == output


async def test_an_id_nobody_has_put_gives_nothing(store: Store) -> None:
    assert await store.cache.get(ID) is None


async def test_the_last_output_counts(store: Store) -> None:
    await asyncio.gather(*(put(store, number) for number in range(8)))
    await put(store, "last")
    found = await store.cache.get(ID)
    assert found is not None
    assert found.output == "last"


async def test_an_output_is_gone_when_its_time_is_over_and_only_then_purged(store: Store) -> None:
    await put(store, "short", ttl=3)
    await put(store, "long", cache_id("flow", "a/b", "other"), ttl=3600)
    await put(store, "ever", cache_id("flow", "a/b", "third"), ttl=1e15)
    assert await store.cache.get(ID) is not None
    assert await store.cache.purge() == 0
    while await store.cache.get(ID) is not None:
        await asyncio.sleep(0.1)
    assert await store.cache.purge() == 1
    assert await store.cache.get(cache_id("flow", "a/b", "other")) is not None
    assert await store.cache.get(cache_id("flow", "a/b", "third")) is not None


async def test_a_new_output_has_its_own_time(store: Store) -> None:
    await put(store, "old", ttl=0)
    assert await store.cache.get(ID) is None
    await put(store, "new")
    assert (await store.cache.get(ID)) is not None
    assert await store.cache.purge() == 0


def test_what_tells_two_keys_apart_cannot_be_written_into_one_of_them() -> None:
    parts = [("flow", "a", "b"), ("flow", "a b", ""), ("flow", "", "a b"), ("flowa", "", "b"), ("flow", "a", "\ud800")]
    assert len({cache_id(*part) for part in parts}) == len(parts)


def test_a_key_may_be_any_json_and_its_members_have_no_order() -> None:
    assert cache_id("flow", "a", {"x": 1, "y": [2]}) == cache_id("flow", "a", {"y": [2], "x": 1})
    keys = ["1", 1, True, [1], {"x": 1}, '{"x": 1}', "[1]"]
    assert len({cache_id("flow", "a", key) for key in keys}) == len(keys)
